"""Print figures as a table in a terminal."""

from collections.abc import Sequence

from rich.table import Table

from edgeai.training.pinn.figures import Figure


def figures_table(figures: Sequence[Figure]) -> Table:
    """Return a table with one row per figure."""
    table = Table(box=None, pad_edge=False)
    for heading in ("problem", "figure", "published", "measured", "unit", "target", "", "note"):
        right = heading in {"published", "measured"}
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    for figure in figures:
        published = "" if figure.published is None else f"{figure.published:.4g}"
        table.add_row(
            figure.problem,
            figure.name,
            published,
            f"{figure.measured:.4g}",
            figure.unit,
            _target(figure),
            _verdict(figure),
            figure.note,
        )
    return table


def _target(figure: Figure) -> str:
    if figure.low is not None and figure.high is not None:
        return f"{figure.low:.4g} to {figure.high:.4g}"
    if figure.high is not None:
        return f"<= {figure.high:.3g}"
    return "" if figure.low is None else f">= {figure.low:.3g}"


def _verdict(figure: Figure) -> str:
    if not figure.judged:
        return ""
    if not figure.met:
        return "MISSED"
    return "stretch" if figure.stretch and figure.measured <= figure.stretch else "met"
