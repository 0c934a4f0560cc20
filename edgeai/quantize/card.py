"""The section on variants in a model card, written from the manifest."""

from typing import Any

from edgeai.model.manifest import GRAPHS

TITLE = "## Variants"


def card_with_variants(text: str, content: dict[str, Any]) -> str:
    """Return a model card with the section on variants that the manifest's content asks for."""
    variants = content["training"]["variants"]
    lines = [
        TITLE,
        "Made from `model.onnx`, which stays for the CPU; inputs and outputs are float32.",
    ]
    for precision, made in variants.items():
        tolerance = content["tolerance"][precision]
        kept = ", ".join(made["float32_layers"])
        flips, windows = made["given_flips"]
        given = f", {flips} of {windows} windows of {made['calibration']}" if windows else ""
        rows = [
            f"| {name} | {error['largest']:g} | {error['relative']:.2%} |"
            for name, error in made["errors"].items()
        ]
        lines += [
            f"`{GRAPHS[precision]}`: {made['weights']:.0%} of the weights in {precision}, by "
            f"{made['made_with']}, calibrated on {made['calibration']}. Tolerance rtol "
            f"{tolerance['rtol']:g}, atol {tolerance['atol']:g}. Decisions that change: 0 of "
            f"{made['golden_flips'][1]} golden windows{given}."
            + (f" In float32 stayed: {kept}." if kept else ""),
            "\n".join(["| output | largest error | relative |", "|---|---|---|", *rows]),
        ]
    section = "\n\n".join(lines) + "\n"
    before, found, after = text.partition(f"{TITLE}\n")
    if found:
        rest = after.partition("\n## ")
        after = f"\n## {rest[2]}" if rest[1] else ""
        return f"{before}{section}{after}"
    return f"{text.rstrip()}\n\n{section}" if text.strip() else section
