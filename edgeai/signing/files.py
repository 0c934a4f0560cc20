"""The files of a package folder that a signature covers: their names and their SHA-256.

The rules are constant: every plain file counts, at any depth, except those under an ignored path;
a link or a special file is refused, because what it leads to may change after it was signed.
"""

import hashlib
import os
import stat
from collections.abc import Collection
from pathlib import Path

from edgeai.errors import ModelError, printable
from edgeai.paths import reason_of

SIGNATURE = "model.sig"
"""Name of the signature in a package folder."""
ALWAYS_IGNORED = (".git", ".gitattributes", ".github", ".gitignore", SIGNATURE)
"""Paths that no signature covers. edgeai reads nothing from them but the signature."""
MAX_FILES = 10_000  # folders counted too
MAX_PACKAGE_BYTES = 16 * 1024**3
_CHUNK_BYTES = 1024 * 1024
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def is_plain_name(name: str) -> bool:
    """Whether a name is a relative path with `/` and without `.`, `..` and empty parts."""
    return "\0" not in name and all(part not in {"", ".", ".."} for part in name.split("/"))


def is_ignored(name: str, ignored: Collection[str]) -> bool:
    """Whether a name is one of the ignored paths, or below one."""
    return any(name == one or name.startswith(f"{one}/") for one in ignored)


def list_files(folder: Path, ignored: Collection[str]) -> list[str]:
    """Return the names of the files of a folder in the order in which they are signed.

    Args:
        folder: The package folder.
        ignored: Relative paths to leave out, with all below them.

    Raises:
        ModelError: A link, a special file, a name that is not UTF-8, or more than `MAX_FILES`
            entries or `MAX_PACKAGE_BYTES` bytes.
    """
    found: list[str] = []
    waiting, entries, size = [""], 0, 0
    while waiting:
        parent = waiting.pop()
        try:
            with os.scandir(folder / parent) as scanned:
                for entry in scanned:
                    name = f"{parent}/{entry.name}" if parent else entry.name
                    if is_ignored(name, ignored):
                        continue
                    entries += 1
                    if entries > MAX_FILES:
                        rule = f"must not hold more than {MAX_FILES} files and folders"
                        raise ModelError(str(folder), rule)
                    status = entry.stat(follow_symlinks=False)
                    _check_entry(folder, name, status.st_mode)
                    if stat.S_ISDIR(status.st_mode):
                        waiting.append(name)
                        continue
                    found.append(name)
                    size += status.st_size
        except OSError as error:
            where = shown(folder, parent) if parent else str(folder)
            raise ModelError(where, f"cannot be read: {reason_of(error)}") from error
    if size > MAX_PACKAGE_BYTES:
        rule = f"must not hold more than {MAX_PACKAGE_BYTES} bytes"
        raise ModelError(str(folder), rule, size)
    return sorted(found, key=lambda name: name.split("/"))


def _check_entry(folder: Path, name: str, mode: int) -> None:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ModelError(shown(folder, name), "the name of a file must be UTF-8") from error
    if stat.S_ISLNK(mode):
        rule = "is a link: a signed package holds plain files only; put the file in its place"
        raise ModelError(shown(folder, name), rule)
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ModelError(shown(folder, name), "must be a plain file")


def shown(folder: Path, name: str) -> str:
    """Return the path of a file for an error, on one line."""
    return printable(f"{folder}/{name}")


def digest_of(folder: Path, name: str) -> str:
    """Return the SHA-256 of a file of the folder, hexadecimal.

    Raises:
        ModelError: The file cannot be read, is no plain file, or grows without end.
    """
    digest, left = hashlib.sha256(), MAX_PACKAGE_BYTES
    try:
        descriptor = os.open(folder / name, _OPEN_FLAGS)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ModelError(shown(folder, name), "must be a plain file")
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                left -= len(chunk)
                if left < 0:
                    rule = f"must not be larger than {MAX_PACKAGE_BYTES} bytes"
                    raise ModelError(shown(folder, name), rule)
    except OSError as error:
        raise ModelError(shown(folder, name), f"cannot be read: {reason_of(error)}") from error
    return digest.hexdigest()
