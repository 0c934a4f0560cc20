"""Give a reader of payloads inputs that atheris changes so that they reach new lines of its code.

Run as a program: `python -m tests.support.fuzz_formats FOLDER -runs=1000 -seed=1` (arguments of
libFuzzer; FOLDER holds the first inputs). It ends with an error at the first input that a format
neither reads nor refuses with DecodeError, or that takes longer than -timeout.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["edgeai.decoding"], enable_loader_override=False):
    from tests.support.formats import READERS, check

NAMES = sorted(READERS)


def first_inputs(folder: Path) -> None:
    """Write a valid input for each format, so that changes of it get far into the reader."""
    from tests.support.formats import VALID

    for number, name in enumerate(NAMES):
        (folder / name.replace(" ", "_")).write_bytes(bytes([number]) + VALID[name])


def read_one(data: bytes) -> None:
    """Read an input: the first byte chooses the format."""
    if data:
        check(READERS[NAMES[data[0] % len(NAMES)]], data[1:])


def main() -> None:
    folder = Path(sys.argv[1])
    first_inputs(folder)
    atheris.Setup(sys.argv, read_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
