"""The model card, README.md, made from recipe, physics and figures."""

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
    """Return the model card in Markdown.

    Args:
        recipe: The recipe.
        draft: The manifest with `training.figures` and `training.physics`.
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
        "## Outputs",
        _table(
            ("output", "unit", "role", "meaning"),
            [(one["name"], one["unit"], one["role"], one["meaning"]) for one in draft["outputs"]],
        ),
        ("If the score of a window is above the threshold, the diagnosis is the kind with the "
        "largest evidence:"),
        _table(
            ("kind", "cause", "meaning"),
            [(one["kind"], one["cause"], one["meaning"]) for one in draft["diagnosis"]],
        ),
        _outside(draft),
        "## Physics and assumptions",
        ("The following is enough to rebuild the simulator. Units are in the names; temperatures "
        "are in degC."),
        _physics(physics),
        ("The model has one dimension: the row of cooling channels is replaced by a plane with the "
        "wetted area of the channels. Material properties are constant; the polymer's heat "
        "capacity includes crystallisation. The modelled section is near the gate, so melt touches "
        "it from the start of filling. Radiation and the platens are neglected."),
        ("The simulator, `edgeai/plant/mouldcycles.py`, uses finite volumes with 58 cells, "
        "implicit and of second order, with steps of 0.02 s. Its tests compare it with a closed "
        "form, its heat balance and finer meshes: the error is 0.2 K in the core in the first "
        "tenths of a second, 0.06 K later, and 0.02 K in the steel."),
        "## Method",
        f"Data: {training['data']}.",
        (f"{_sentence(training['method'])}. The networks have {figures['parameters']:,} weights. "
        "The trunk consists of polynomials in depth and in the square root of the time in each "
        "phase. Their derivatives are exact, and so is the residual, which the graph computes at "
        "collocation points."),
        (f"Intervals: split conformal prediction, locally weighted, on {recipe.calibrate_runs} "
        f"runs that are used for nothing else. Threshold {draft['threshold']['value']:g}: "
        f"{draft['threshold']['method']}."),
        "## Figures",
        _accuracy(figures["accuracy"]),
        _faults(figures, draft["threshold"]["false_alarms"]),
        "### Comparison with a network without physics",
        ("Relative L2 error of the hidden field on runs that were not used for any fit. This "
        "network uses none of the labelled runs. The network without physics has the same features "
        "and sizes; its trunk is fitted to the labels too."),
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
        "## Training",
        f"`edgeai train models/{draft['name']}/train.yaml` trains it again.",
        f"Versions: {versions}. Seed {training['seed']}.",
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _outside(draft: Mapping[str, Any]) -> str:
    domain = next(one for one in draft["outputs"] if one["role"] == "domain")
    delay = draft["alarm"]["outside_domain_seconds"]
    return (
        f"Where `domain` is above {domain['edge']:g}, the diagnosis is `outside_domain` whatever "
        "the evidence, and no advice is given. The same holds after it for as long as it lasted, "
        f"at most {domain['settle_seconds']:g} s. After {delay:g} s outside, an alarm of low "
        "priority says so."
    )


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
        f"{found['runs']} simulated runs, each with its own conditions; {found['windows']} "
        f"windows; {found['noise']:.0%} sensor noise:"
    )
    names = {
        "field_relative_l2": "hidden field in degC, relative L2 error over all windows",
        "field_relative_l2_median": "the same, median window",
        "field_relative_l2_p95": "the same, 95th percentile",
        "part_relative_l2_median": "part only, median window",
        "steel_relative_l2_median": "steel only, median window",
        "core_rms_k": "part core, root mean square error, K",
        "wall_rms_k": "cavity wall, root mean square error, K",
        "ejection_rms_k": "ejection temperature, root mean square error, K",
        "coolant_error_median": "coolant coefficient, median relative error",
        "coolant_error_p95": "the same, 95th percentile",
        "contact_error_median": "contact coefficient, median relative error",
        "coverage_ejection": "coverage of the interval of the ejection temperature",
        "coverage_coolant": "coverage of the interval of the coolant coefficient",
        "coverage_contact": "coverage of the interval of the contact coefficient",
    }
    rows = [(text, found[name]) for name, text in names.items()]
    return head + "\n\n" + _table(("figure", "measured"), rows)


def _faults(figures: Mapping[str, Any], false_alarms: Mapping[str, Any]) -> str:
    rows = [
        (
            row["fault"], row["runs"], f"{row['detected']:.1%}", f"{row['kind_right']:.1%}",
            row.get("delay_median_seconds", "-"), row.get("delay_worst_seconds", "-"),
        )
        for row in figures["faults"]
    ]  # fmt: skip
    return (
        "On healthy operation that was used for nothing else: "
        f"{false_alarms['statement']}.\n\n"
        + _table(
            ("fault", "runs", "detected", "correct kind", "median delay, s", "longest delay, s"),
            rows,
        )
    )
