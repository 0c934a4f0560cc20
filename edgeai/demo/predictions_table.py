"""The table of predictions that the demo shows in the terminal."""

from typing import Any

from rich import box
from rich.table import Table

from edgeai.demo.watcher import Watcher

ALARM_STYLES = {"normal": "green", "active": "bold red", "latched": "yellow"}
IDENTIFIED = "coolant_coefficient"  # parameter of the mould's model that the table shows


def predictions_table(watcher: Watcher) -> Table:
    """Return the table of the last predictions, sorted by machine."""
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for name in ("asset, pipeline", "alarm", "score / limit", "on"):
        table.add_column(name, no_wrap=True)
    table.add_column("cause")
    table.add_column("simulated fault", style="dim")
    for (pipeline, asset), last in sorted(watcher.last.items(), key=lambda item: item[0][::-1]):
        score = last["score"]
        alarm = last["alarm"]
        table.add_row(
            f"{asset} {pipeline}",
            f"[{ALARM_STYLES[alarm]}]{alarm}[/]",
            "not finite" if score is None else f"{score:5.3g} / {last['threshold']:.3g}",
            last["provider"],
            _reason(last) if alarm != "normal" else _identified(last["outputs"]),
            ", ".join(watcher.faults.get(asset, [])),
        )
    return table


def _identified(outputs: dict[str, Any]) -> str:
    """Return the identified cooling parameter of the mould as short text."""
    found = outputs.get(IDENTIFIED)
    return f"h {found['value']:,.0f} {found['unit']}" if found else ""


def _reason(last: dict[str, Any]) -> str:
    """Return the cause of an alarm as short text."""
    if diagnosis := last.get("diagnosis"):
        return f"{diagnosis['kind']}, {_identified(last['outputs'])}"
    return str(last["top"][0][0]) if last["top"] else _identified(last["outputs"])
