"""The report of `edgeai doctor`: lines for people, or JSON."""

from collections import Counter
from typing import Any

from edgeai.doctor.examine import Examination
from edgeai.doctor.findings import NEEDS_OTHER, Finding
from edgeai.errors import printable
from edgeai.version import __version__


def as_lines(done: Examination) -> list[tuple[str, str]]:
    """Return status and text of each line; the last one sums up.

    What another finding has made impossible stands in one line.
    """
    lines: list[tuple[str, str]] = []
    left = [one.check for one in done.findings if one.found == NEEDS_OTHER]
    for one in done.findings:
        if one.found == NEEDS_OTHER and len(left) > 1:
            continue
        lines.append((one.status, f"{one.status:<4}  {_label(one)}: {printable(one.found)}"))
        if one.advice:
            lines.append(("", f"      do: {printable(one.advice)}"))
    if len(left) > 1:
        lines.append(("skip", f"skip  {', '.join(left)}: {NEEDS_OTHER}"))
    counts = Counter[str](one.status for one in done.findings)
    words = (("fail", "failed"), ("warn", "to look at"), ("skip", "not checked"), ("ok", "ok"))
    shown = ", ".join(f"{counts[status]} {word}" for status, word in words if counts[status])
    lines.append((done.status, f"{printable(done.config)}: {shown}, in {done.seconds:.1f} s"))
    return lines


def as_json(done: Examination) -> dict[str, Any]:
    """Return the report as JSON values."""
    return {
        "edgeai": __version__,
        "config": done.config,
        "status": done.status,
        "seconds": round(done.seconds, 3),
        "findings": [
            {
                "check": one.check,
                "subject": one.subject,
                "status": one.status,
                "found": one.found,
                "advice": one.advice,
            }
            for one in done.findings
        ],
    }


def _label(one: Finding) -> str:
    return f"{one.check} ({printable(one.subject)})" if one.subject else one.check
