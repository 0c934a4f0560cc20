"""CSV: lines of values with a separator, each line one record."""

import csv
from collections.abc import Callable
from io import StringIO
from typing import Any

from edgeai.config.text_formats import CsvPayload
from edgeai.decoding.formats.texts import decode_text
from edgeai.errors import DecodeError


def compile_csv(form: CsvPayload, max_records: int) -> Callable[[bytes], Any]:
    """Return a function from a payload to a list with one map for each line.

    The values stay texts, as whether 007 is a number or a name is for the field that takes it. An
    empty value is None. Blank lines are skipped.

    Args:
        form: The declared format.
        max_records: Lines in one message; more are refused.
    """
    encoding, separator, skipped = form.encoding, form.separator, frozenset(form.skip_lines)

    def read(payload: bytes) -> list[dict[str, str | None]]:
        text = decode_text(payload, encoding)
        if skipped:  # they stay as blank lines, so that the others keep their numbers
            parts = text.split("\n")
            text = "\n".join("" if n in skipped else one for n, one in enumerate(parts, 1))
        lines = csv.reader(StringIO(text, newline=""), delimiter=separator, strict=True)
        names = form.columns
        found: list[dict[str, str | None]] = []
        try:
            if names is None:
                names = _header(next(filter(any, lines) if skipped else lines, []))
            for cells in lines:
                if not cells or cells == [""]:
                    continue
                if len(found) == max_records:
                    raise DecodeError("too_many_records")
                if len(cells) != len(names):
                    raise DecodeError(
                        "not_the_format",
                        detail=f"line {lines.line_num} has {len(cells)} values, but there are "
                        f"{len(names)} columns",
                    )
                found.append(dict(zip(names, map(_clean, cells), strict=True)))
        except csv.Error as error:  # a quotation mark too many, or a value that is too long
            raise DecodeError("not_the_format", detail=f"line {lines.line_num}: {error}") from error
        for one in found:
            one.pop("", None)
        return found

    return read


def _clean(cell: str) -> str | None:
    return cell.strip() or None


def _header(cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    named = [name for name in names if name]
    if not named or len(set(named)) < len(named):
        raise DecodeError(
            "not_the_format",
            detail="the first line names no column" if not named else "a column occurs twice",
        )
    return names
