"""Write the model card, README.md, from the recipe and the measured figures."""

from collections.abc import Mapping
from typing import Any

from edgeai.training.recipe import Recipe


def model_card(recipe: Recipe, draft: Mapping[str, Any]) -> str:
    """Return the model card as Markdown.

    Args:
        recipe: The recipe of the model.
        draft: The manifest without hashes, with `training.figures`.
    """
    figures = draft["training"]["figures"]
    window, rate = draft["window"], draft["sample_rate_hz"]
    threshold, alarm = draft["threshold"], draft["alarm"]
    test = figures["false_alarms"]
    seconds, every = window["length"] / rate, window["hop"] / rate
    versions = ", ".join(f"{name} {text}" for name, text in draft["training"]["versions"].items())
    sampling = (
        f"Sample rate {rate:g} Hz; a window of {window['length']} samples ({seconds:g} s) is "
        f"scored every {every:g} s."
    )
    if "cycle" in draft:
        sampling = (
            f"Sample rate {rate:g} Hz; each cycle of the machine is scored when it has ended, "
            f"brought to {window['length']} samples (`fit: {draft['cycle']['fit']}`)."
        )
    calibration = (
        f"Threshold {threshold['value']:g}, deadband {alarm['deadband']:g}, on delay "
        f"{alarm['on_delay_seconds']:g} s, off delay {alarm['off_delay_seconds']:g} s. "
        f"{_sentence(threshold['method'])}."
    )
    false_alarms = (
        f"On healthy operation, not used for fit or calibration: {test['statement']}. The "
        f"threshold was set for {test['promised_per_day']:g} a day."
    )
    reproduction = (
        "On the same computer with the same versions, training writes identical files. On another "
        "computer the scores of the golden windows agree with the shipped ones within "
        f"{recipe.retrain_rtol:g} of the larger of score and threshold. Versions: {versions}."
    )
    lines = [
        f"# {draft['name']} {draft['version']}",
        draft["description"],
        "## What it watches",
        recipe.card.watches,
        _signal_table(draft["signals"]),
        sampling,
        "## Data",
        f"{draft['training']['data']}.",
        "## Method",
        f"{_sentence(draft['training']['method'])}.",
        "The graph takes engineering units; all scaling is inside the graph.",
        calibration,
        "## Measured",
        false_alarms,
        _detection_table(figures["detection"]),
        "## Limits of use",
        "\n".join(f"- {limit}" for limit in recipe.card.limits),
        "## Training",
        f"`edgeai train models/{draft['name']}/train.yaml` trains it again.",
        reproduction,
    ]
    return "\n\n".join(lines) + "\n"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _signal_table(signals: list[dict[str, Any]]) -> str:
    lines = ["| signal | unit | valid range | meaning |", "|---|---|---|---|"]
    for signal in signals:
        low_high = signal.get("range")
        span = f"{low_high[0]:g} to {low_high[1]:g}" if low_high else ""
        meaning = signal.get("meaning", "")
        lines.append(f"| {signal['name']} | {signal['unit']} | {span} | {meaning} |")
    return "\n".join(lines)


def _detection_table(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "The recipe has no faulty recordings, so detection is not measured."
    lines = [
        "| fault | severity | runs | detected | delay, median | delay, longest |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        delays = [row.get(f"delay_{name}_seconds") for name in ("median", "worst")]
        cells = ["-" if delay is None else f"{delay:g} s" for delay in delays]
        lines.append(
            f"| {row['fault']} | {row['severity']:g} | {row['runs']} | {row['detected']:.0%} "
            f"| {cells[0]} | {cells[1]} |"
        )
    lines += ["", "Delay: time from the start of the fault, which then grows, to the alarm."]
    return "\n".join(lines)
