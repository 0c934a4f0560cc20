"""The model card of the moulding package: written from recipe, physics and figures."""

from collections.abc import Mapping
from typing import Any

from .recipe import Recipe

SOURCES = (
    "Finite volumes: S. V. Patankar, Numerical Heat Transfer and Fluid Flow (1980).",
    (
        "Cooling of mouldings, channels: G. Menges, W. Michaeli, P. Mohren, How to Make "
        "Injection Molds, 3rd ed., chapter 8."
    ),
    "Polymer: T. A. Osswald, J. P. Hernandez-Ortiz, Polymer Processing (2006), chapter 2.",
    (
        "Contact: D. Delaunay et al., Polymer Engineering and Science 40 (2000) 1682; values as "
        "Autodesk Moldflow's defaults."
    ),
    "Water in channels: F. P. Incropera et al., Fundamentals of Heat and Mass Transfer, eq. 8.62.",
    "Least-squares collocation: J. P. Boyd, Chebyshev and Fourier Spectral Methods (2001), 3.1.",
    (
        "Operators with a trunk: L. Lu et al., Nature Machine Intelligence 3 (2021) 218; "
        "learning from physics alone: S. Wang, H. Wang, P. Perdikaris, Science Advances 7 (2021) "
        "eabi8605."
    ),
    "Intervals: J. Lei et al., Journal of the American Statistical Association 113 (2018) 1094.",
)


def model_card(recipe: Recipe, draft: Mapping[str, Any]) -> str:
    """Markdown of the model card.

    Args:
        recipe: What was asked for.
        draft: The manifest without hashes, with `training.figures` and `training.physics`.
    """
    training = draft["training"]
    figures, physics = training["figures"], training["physics"]
    versions = ", ".join(f"{name} {text}" for name, text in training["versions"].items())
    parts = [
        f"# {draft['name']} {draft['version']}",
        draft["description"],
        "## What it watches",
        recipe.card.watches.strip(),
        _table(
            ("signal", "unit", "meaning"),
            [(one["name"], one["unit"], one["meaning"]) for one in draft["signals"]],
        ),
        (f"Sample rate {draft['sample_rate_hz']:g} Hz; a window holds {draft['window']['length']} "
        f"samples, one every {draft['window']['hop']}."),
        "## What it gives",
        _table(
            ("output", "unit", "role", "meaning"),
            [(one["name"], one["unit"], one["role"], one["meaning"]) for one in draft["outputs"]],
        ),
        ("A window whose score is above the threshold is diagnosed as the kind with the largest "
        "evidence:"),
        _table(
            ("kind", "cause", "meaning"),
            [(one["kind"], one["cause"], one["meaning"]) for one in draft["diagnosis"]],
        ),
        "## Physics and assumptions",
        "Everything to rebuild the simulator from. Units are in the names; temperatures in degC.",
        _physics(physics),
        ("One dimension: the row of cooling channels acts as a plane with the wetted area of the "
        "channels. Constant properties; the polymer's heat capacity includes crystallisation. "
        "The section watched lies near the gate, so melt touches it from the start of filling. "
        "Radiation and the platens are neglected."),
        ("Simulator: `edgeai/plant/mouldcycles.py`, finite volumes with 58 cells, implicit and of "
        "second order, steps of 0.02 s; `tests/plant/test_mouldcycles.py` holds it to a closed "
        "form, its heat balance and finer meshes (core 0.2 K in the first tenths of a second, "
        "0.06 K later, steel 0.02 K)."),
        "## Method",
        f"Data: {training['data']}.",
        (f"{_sentence(training['method'])}. {figures['parameters']:,} weights. The trunk is "
        "polynomials in depth and in the root of the time of each phase, so its derivatives are "
        "exact, and so is the residual, which the graph computes at collocation points."),
        (f"Intervals: split conformal, locally weighted, on {recipe.calibrate_runs} runs kept from "
        f"everything else. Threshold {draft['threshold']['value']:g}: "
        f"{draft['threshold']['method']}."),
        "## Measured",
        _accuracy(figures["accuracy"]),
        _faults(figures),
        "### Labels",
        ("Relative L2 of the hidden field on runs that nobody saw. This network uses none of the "
        "labelled runs; the rival has the same features and sizes, a free trunk and no physics."),
        _table(
            ("labelled runs", "without physics", "this network", "ratio"),
            [
                (row["labels"], f"{row['without_physics']:.4f}", f"{row['with_physics']:.4f}",
                 row["ratio"])
                for row in figures["learning_curve"]
            ],
        ),
        "## Limits of use",
        "\n".join(f"- {' '.join(limit.split())}" for limit in recipe.card.limits),
        "## Sources",
        "\n".join(f"- {source}" for source in SOURCES),
        "## Train it again",
        f"    edgeai train models/{draft['name']}/train.yaml",
        f"Versions: {versions}. Seed {training['seed']}.",
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines += [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines)


def _physics(physics: Mapping[str, Any]) -> str:
    lines: list[str] = []

    def add(name: str, value: Any, depth: int) -> None:
        indent = "  " * depth
        if isinstance(value, Mapping):
            lines.append(f"{indent}- {name}:")
            for inner, item in value.items():
                add(inner, item, depth + 1)
        elif isinstance(value, list) and value and isinstance(value[0], str):
            lines.append(f"{indent}- {name}:")
            lines.extend(f"{indent}  - {item}" for item in value)
        elif isinstance(value, list):
            lines.append(f"{indent}- {name}: {value[0]:g} to {value[1]:g}")
        else:
            text = f"{value:g}" if isinstance(value, float) else value
            lines.append(f"{indent}- {name}: {text}")

    for name, value in physics.items():
        add(name, value, 0)
    return "\n".join(lines)


def _accuracy(found: Mapping[str, Any]) -> str:
    head = (
        f"{found['runs']} simulated runs with conditions of their own, {found['windows']} windows, "
        f"{found['noise']:.0%} sensor noise:"
    )
    names = {
        "field_relative_l2": "hidden field, relative L2 over all windows (degC)",
        "field_relative_l2_median": "the same, median window",
        "field_relative_l2_p95": "the same, 95 % of windows",
        "part_relative_l2_median": "part alone, median window",
        "steel_relative_l2_median": "steel alone, median window",
        "core_rms_k": "part core, root mean square, K",
        "wall_rms_k": "cavity wall, root mean square, K",
        "ejection_rms_k": "ejection temperature, root mean square, K",
        "coolant_error_median": "coolant coefficient, median relative error",
        "coolant_error_p95": "the same, 95 % of windows",
        "contact_error_median": "contact coefficient, median relative error",
        "coverage_ejection": "coverage of the interval of the ejection temperature",
        "coverage_coolant": "coverage of the interval of the coolant coefficient",
        "coverage_contact": "coverage of the interval of the contact coefficient",
    }
    rows = [(text, found[name]) for name, text in names.items()]
    return head + "\n\n" + _table(("figure", "measured"), rows)


def _faults(figures: Mapping[str, Any]) -> str:
    healthy = figures["healthy"]
    rows = [
        (
            row["fault"], row["runs"], f"{row['detected']:.1%}", f"{row['kind_right']:.1%}",
            row.get("delay_median_seconds", "-"), row.get("delay_worst_seconds", "-"),
        )
        for row in figures["faults"]
    ]  # fmt: skip
    return (
        f"False alarms: {healthy['alarms']} in {healthy['hours']:g} h of healthy running that was "
        f"used for nothing else ({healthy['alarms_per_day']:g} a day).\n\n"
        + _table(("fault", "runs", "detected", "kind right", "delay median, s", "longest, s"), rows)
    )
