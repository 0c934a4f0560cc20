"""Write the section on variants of a model card from the manifest."""

from typing import Any

from edgeai.model.manifest import GRAPHS

TITLE = "## Variants"


def card_with_variants(text: str, content: dict[str, Any]) -> str:
    """Return a model card with its section on variants replaced or added.

    Args:
        text: The model card.
        content: Content of the manifest.
    """
    variants = content["training"]["variants"]
    lines = [
        TITLE,
        "Made from `model.onnx`, which the CPU still uses. Inputs and outputs are float32.",
    ]
    for precision, facts in variants.items():
        tolerance = content["tolerance"][precision]
        kept = ", ".join(facts["float32_layers"])
        flips, windows = facts["given_flips"]
        given = f", {flips} of {windows} windows of {facts['calibration']}" if windows else ""
        rows = [
            f"| {name} | {error['largest']:g} | {error['relative']:.2%} |"
            for name, error in facts["errors"].items()
        ]
        lines += [
            f"`{GRAPHS[precision]}`: {facts['weights']:.0%} of the weights in {precision}, by "
            f"{facts['made_with']}, calibrated on {facts['calibration']}. Tolerance rtol "
            f"{tolerance['rtol']:g}, atol {tolerance['atol']:g}. Decisions that change: 0 of "
            f"{facts['golden_flips'][1]} golden windows{given}."
            + (f" Kept in float32: {kept}." if kept else ""),
            "\n".join(
                [
                    "| output | largest error | relative to the largest value |",
                    "|---|---|---|",
                    *rows,
                ]
            ),
        ]
    section = "\n\n".join(lines) + "\n"
    before, found, after = text.partition(f"{TITLE}\n")
    if found:
        rest = after.partition("\n## ")
        after = f"\n## {rest[2]}" if rest[1] else ""
        return f"{before}{section}{after}"
    return f"{text.rstrip()}\n\n{section}" if text.strip() else section
