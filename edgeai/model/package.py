"""A model package: a folder with model.yaml, model.onnx and golden.npz, checked before use.

Every error names the file, the rule and the value. The graph is read in a child process
(`edgeai.model.inspection`), because a model file is untrusted input.
"""

import hashlib
import io
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from edgeai.config.base import Precision
from edgeai.config.yaml_file import read_yaml, validate
from edgeai.errors import ModelError, listed, printable
from edgeai.model.manifest import (
    CONTEXT_NAME,
    GOLDEN,
    GRAPH,
    GRAPHS,
    INPUT_NAME,
    MANIFEST,
    WINDOW_LABEL,
    CompiledSpec,
    Manifest,
)
from edgeai.model.rows import join_rows
from edgeai.paths import reason_of
from edgeai.signing.trust import Trust, Verified

MIN_GOLDEN_WINDOWS = 32
MAX_GOLDEN_BYTES = 1024**3
MAX_SHOWN_NAME = 60  # characters
MAKE_AGAIN = "copy it again from where it was made, or make it again"
Windows = npt.NDArray[np.float32]
Outputs = dict[str, npt.NDArray[np.float32]]
Labels = npt.NDArray[np.int8]
HEALTHY, FAULTY, UNKNOWN = 0, 1, -1
"""Values of the optional array `window_label` of golden.npz, one a window."""


class _Golden(NamedTuple):
    """What golden.npz holds."""

    windows: Windows
    context: Windows | None
    outputs: Outputs
    labels: Labels


@dataclass(frozen=True)
class Package:
    """A model package whose manifest is valid and whose files have the hashes stated there."""

    folder: Path
    manifest: Manifest
    signature: Verified | None = None
    """Who has signed it; None: it has no signature, or nobody asked for one."""

    @property
    def graph(self) -> Path:
        """Path of the ONNX file model.onnx."""
        return self.folder / GRAPH

    @property
    def graph_hash(self) -> str:
        """SHA-256 of model.onnx, hexadecimal."""
        return self.manifest.files[GRAPH]

    @property
    def variants(self) -> list[Precision]:
        """The precisions for which the package holds a graph. It always holds fp32."""
        return [precision for precision, name in GRAPHS.items() if name in self.manifest.files]

    def variant(self, precision: Precision) -> Path:
        """Return the path of the graph of a precision.

        Raises:
            ModelError: The package holds no such graph.
        """
        name = GRAPHS[precision]
        if name not in self.manifest.files:
            rule = f"holds no {name} (edgeai quantize makes one); it has: {listed(self.variants)}"
            raise ModelError(str(self.folder / MANIFEST), rule)
        return self.folder / name

    def compiled(self, backend: str, device: str = "") -> CompiledSpec | None:
        """Return the compiled file for a backend and a device, or None if there is none.

        A file for exactly this device is preferred to a file for any device.
        """
        fitting = [item for item in self.manifest.compiled if item.backend == backend]
        for wanted in (device, ""):
            for item in fitting:
                if item.device.upper() == wanted.upper():
                    return item
        return None

    def golden(self) -> tuple[Windows, Outputs]:
        """Return the golden windows (N, W, C) float32 and their expected outputs, by name.

        Raises:
            ModelError: The file cannot be read, or its arrays do not match the manifest.
        """
        windows, outputs, _ = self.labelled_golden()
        return windows, outputs

    def labelled_golden(self) -> tuple[Windows, Outputs, Labels]:
        """Return the golden windows, their expected outputs, and (N,) which are healthy.

        A label is HEALTHY, FAULTY or UNKNOWN; all are UNKNOWN if the file has no labels.

        Raises:
            ModelError: As `golden`.
        """
        found = self._read_golden()
        return found.windows, found.outputs, found.labels

    def golden_context(self) -> Windows | None:
        """Return the context (N, K) float32 of the golden windows; None if the model has none.

        Raises:
            ModelError: As `golden`.
        """
        return self._read_golden().context

    def golden_rows(self) -> Windows:
        """Return the golden windows with their context, as `edgeai.model.rows` says.

        Raises:
            ModelError: As `golden`.
        """
        found = self._read_golden()
        return join_rows(found.windows, found.context)

    def _read_golden(self) -> "_Golden":
        path = self.folder / GOLDEN
        try:
            data = read_arrays(path)
        except ValueError as error:
            raise ModelError(str(path), f"is not an .npz file of plain arrays: {error}") from error
        names = {output.name for output in self.manifest.outputs}
        given = data.pop(WINDOW_LABEL, None)
        inputs = {INPUT_NAME, CONTEXT_NAME} if self.manifest.context else {INPUT_NAME}
        if set(data) != names | inputs:
            wanted = " and ".join(f"`{one}`" for one in sorted(inputs, reverse=True))
            rule = f"must hold {wanted} and {', '.join(sorted(names))}"
            raise ModelError(str(path), rule, sorted(data))
        windows = data.pop(INPUT_NAME)
        context = data.pop(CONTEXT_NAME) if self.manifest.context else None
        shape, dtype = self.manifest.input_shape, self.manifest.input_dtype
        if windows.shape[1:] != shape or windows.dtype != dtype:
            rule = f"`window` must be {dtype} of shape (N, {', '.join(map(str, shape))})"
            raise ModelError(str(path), rule, f"{windows.dtype} {windows.shape}")
        if not np.isfinite(windows).all():
            raise ModelError(str(path), "`window` must be finite")
        self._check_context(context, len(windows))
        if len(windows) < MIN_GOLDEN_WINDOWS:
            rule = f"must hold at least {MIN_GOLDEN_WINDOWS} windows"
            raise ModelError(str(path), rule, len(windows))
        for name, values in data.items():
            if (
                values.dtype.kind not in "fiu"
                or values.shape[:1] != windows.shape[:1]
                or not np.isfinite(values).all()
            ):
                rule = f"`{name}` must be finite numbers, one row a window"
                raise ModelError(str(path), rule, f"{values.dtype} {values.shape}")
        labels = np.full(len(windows), UNKNOWN, np.int8) if given is None else given
        if (
            labels.dtype.kind not in "biuf"
            or labels.shape != windows.shape[:1]
            or not np.isin(labels, (HEALTHY, FAULTY, UNKNOWN)).all()
        ):
            rule = (
                f"`{WINDOW_LABEL}` must be 0 (healthy), 1 (faulty) or -1 (unknown) for each window"
            )
            found = f"{labels.dtype} {labels.shape}, {np.unique(labels)[:4].tolist()}"
            raise ModelError(str(path), rule, found)
        return _Golden(windows, context, data, labels.astype(np.int8))

    def _check_context(self, context: npt.NDArray[Any] | None, count: int) -> None:
        if context is None:
            return
        wanted = count, len(self.manifest.context)
        if context.dtype != np.float32 or context.shape != wanted:
            rule = f"`{CONTEXT_NAME}` must be float32 of shape (N, {wanted[1]})"
            found = f"{context.dtype} {context.shape}"
            raise ModelError(str(self.folder / GOLDEN), rule, found)
        if not np.isfinite(context).all():
            raise ModelError(str(self.folder / GOLDEN), f"`{CONTEXT_NAME}` must be finite")


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of an .npz file by name.

    Raises:
        ValueError: The file cannot be read, or is not a valid .npz file. The text says what is
            wrong and what to do.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            size = sum(member.file_size for member in members)
            arrays: dict[str, npt.NDArray[Any]] = {}
            if size <= MAX_GOLDEN_BYTES:
                arrays = {_name_of(member): _read_array(archive, member) for member in members}
    except _DamagedFileError as error:
        raise ValueError(f"{error}: {MAKE_AGAIN}") from error
    except OSError as error:
        raise ValueError(reason_of(error)) from error
    except Exception as error:  # zipfile raises a dozen kinds on a damaged file
        cause = "it is cut short, damaged, or another kind of file"
        raise ValueError(f"{cause}: {MAKE_AGAIN}") from error
    if size > MAX_GOLDEN_BYTES:
        raise ValueError(f"its arrays are larger than {MAX_GOLDEN_BYTES} bytes: {MAKE_AGAIN}")
    return arrays


class _DamagedFileError(Exception):
    """What is wrong with an .npz file."""


def _name_of(member: zipfile.ZipInfo) -> str:
    return member.filename.removesuffix(".npy")


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> npt.NDArray[Any]:
    name = printable(_name_of(member))[:MAX_SHOWN_NAME]
    try:
        content = archive.read(member)  # compares its check sum
        with warnings.catch_warnings(action="ignore"):  # of a header that was damaged
            values = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    except Exception as error:  # numpy and zipfile raise a dozen kinds on a damaged member
        what = "holds objects, not numbers" if "Object arrays" in str(error) else "is damaged"
        raise _DamagedFileError(f"its array `{name}` {what}") from error
    return np.asarray(values)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal.

    Raises:
        ModelError: The file cannot be read, or is not a plain file.
    """
    if path.is_symlink() and not path.exists():
        raise ModelError(str(path), "is a link to a file that does not exist", str(path.readlink()))
    try:
        if path.exists() and not path.is_file():  # reading a named pipe would wait for ever
            raise ModelError(str(path), "must be a plain file")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise ModelError(str(path), "no such file") from error
    except (OSError, ValueError) as error:
        raise ModelError(str(path), f"cannot be read: {reason_of(error)}") from error


def load_package(folder: Path | str, trust: Trust | None = None) -> Package:
    """Read the manifest and verify the hash of every file it names.

    Args:
        folder: Folder of the package.
        trust: Whose signature the package must have; verified before anything else is read. None:
            a signature is not looked at.

    Raises:
        ConfigError: The manifest breaks a rule.
        ModelError: A file is missing, is outside the folder, or has another hash; or the signature
            is missing or wrong. A link is read like the file that it leads to, as the hash decides,
            but a signed package must not hold one.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from edgeai import load_package
        >>> from edgeai.testing import build_package
        >>> folder = build_package(Path(tempfile.mkdtemp()) / "mean", signals=["a", "b"], length=4)
        >>> package = load_package(folder)
        >>> package.manifest.score, [signal.name for signal in package.manifest.signals]
        ('score', ['a', 'b'])
        >>> windows, outputs = package.golden()
        >>> windows.shape, windows.dtype.name, sorted(outputs)
        ((40, 4, 2), 'float32', ['contribution', 'score'])
    """
    folder = Path(folder)
    manifest_path = folder / MANIFEST
    signature = None if trust is None else trust.verify(folder)
    if signature is not None:
        signature.check_covers(folder, MANIFEST)
    manifest = validate(Manifest, read_yaml(manifest_path), str(manifest_path))
    for name, expected in manifest.files.items():
        path = folder / name
        if Path(name).name != name or name in {"", ".."}:
            rule = "files of a package are in its folder"
            raise ModelError(str(manifest_path), rule, name)
        actual = sha256_of(path) if signature is None else signature.check_covers(folder, name)
        if actual != expected:
            rule = (
                f"must have the SHA-256 that {MANIFEST} states, {expected[:12]}...: "
                "copy the package again"
            )
            raise ModelError(str(path), rule, f"{actual[:12]}...")
    return Package(folder, manifest, signature)
