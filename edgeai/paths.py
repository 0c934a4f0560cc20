"""Paths of shipped files and of the state folder, and safe reading and writing of files."""

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from edgeai.errors import ConfigError, Problem

_PACKAGE = Path(__file__).parent
NO_STATE_FOLDER = Path(os.devnull) / "edgeai"
"""The state folder of a user without a home: it can never be created, so nothing is kept."""


def shipped(kind: str) -> Path:
    """Return the folder of shipped `models`, `devices` or `configs`.

    In an installed wheel they are inside the package, in a checkout beside it.
    """
    inside = _PACKAGE / "shipped" / kind
    return inside if inside.is_dir() else _PACKAGE.parent / kind


def is_file(path: Path) -> bool:
    """Whether `path` is a file that this user may look at. An impossible name is no file."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def default_state_folder() -> Path:
    """Return the folder for caches: $EDGEAI_STATE_DIR, or edgeai in the user's state folder.

    Return `NO_STATE_FOLDER` for a user without a home folder, as in many containers.
    """
    given = os.environ.get("EDGEAI_STATE_DIR")
    if given:
        return Path(given)
    base = os.environ.get("XDG_STATE_HOME")
    if not base:
        try:
            base = str(Path.home() / ".local" / "state")
        except RuntimeError:  # no HOME, and no entry in the user database
            return NO_STATE_FOLDER
    return Path(base) / "edgeai"


def state_folder_warning(folder: Path) -> str | None:
    """Create the state folder; return why nothing can be kept in it, or None if it can.

    Every command works without it, but repeats at each start what it would have kept.
    """
    if folder == NO_STATE_FOLDER:
        why = "this user has no home folder"
    else:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            why = f"{folder}: cannot be created: {reason_of(error)}"
        else:
            if os.access(folder, os.W_OK | os.X_OK):
                return None
            why = f"{folder}: cannot be written"
    remedy = "set `state_folder`, or EDGEAI_STATE_DIR, to a folder that can be written"
    return f"{why}; nothing is kept for the next start, also no alarm ({remedy})"


def secret_file_warning(path: Path) -> str | None:
    """Return a warning with the remedy if every user of the machine may read a file of a secret.

    Its group may read it: a service often gets its secret as `root:edgeai 0640`.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # the reader of the secret reports it
        return None
    if not mode & stat.S_IROTH:
        return None
    return f"{path}: every user of this machine may read this secret (chmod o-rwx {path})"


def reason_of(error: OSError | ValueError) -> str:
    """Return why a file cannot be used, in words and without its name."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, ValueError):  # a null byte, or a character that no file name can hold
        return "is not a possible file name"
    return str(error) or type(error).__name__


def refuse_overwriting(inputs: Sequence[Path], outputs: Sequence[Path | None]) -> None:
    """Refuse an output file that is also an input, or that is given twice.

    Opening an input for writing would empty a recording.

    Args:
        inputs: Files that will be read.
        outputs: Files that will be written. None stands for an output that is not wanted.

    Raises:
        ConfigError: An output is an input, or two outputs are the same file.
    """
    read = {path.resolve() for path in inputs}
    written: set[Path] = set()
    for path in outputs:
        if path is None:
            continue
        if path.resolve() in read:
            raise ConfigError([Problem(str(path), "", "the output must not be an input")])
        if path.resolve() in written:
            rule = "each output must be a file of its own"
            raise ConfigError([Problem(str(path), "", rule)])
        written.add(path.resolve())


@contextlib.contextmanager
def naming_failures(path: Path) -> Iterator[None]:
    """Turn a failure to write, as on a full disk, into an error that names the user's file.

    Raises:
        ConfigError: The block raised an OSError.
    """
    try:
        yield
    except OSError as error:
        rule = f"cannot be written: {reason_of(error)}"
        raise ConfigError([Problem(str(path), "", rule)]) from error


class OutputFile:
    """A file that a command writes. Every failure to write names the file."""

    def __init__(self, path: Path) -> None:
        """Create the file, or empty it.

        Raises:
            ConfigError: The file cannot be written.
        """
        self._path = path
        with naming_failures(path):
            self._file = path.open("wb")

    def write(self, data: bytes) -> None:
        """Append bytes; ConfigError if they cannot be written."""
        with naming_failures(self._path):
            self._file.write(data)

    def close(self) -> None:
        """Write what is still in memory, and close; ConfigError if that fails."""
        with naming_failures(self._path):
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
            return
        with contextlib.suppress(OSError):  # the first error is the one to report
            self._file.close()


def write_atomically(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a file completely or not at all, with these rights; create its folder.

    The temporary file is beside the target, because a rename does not cross a mount.

    Raises:
        OSError: The file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
