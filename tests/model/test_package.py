"""Model packages with a wrong manifest, wrong files or wrong golden windows."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import yaml

from edgeai.errors import ConfigError, ModelError
from edgeai.model.inspection import inspect_packages
from edgeai.model.package import load_package
from edgeai.providers.cpu import CpuSession
from tests.support.packages import Arrays, golden, manifest_of, rehash, saved, write_package


def prove(folder: Path) -> None:
    package = load_package(folder)
    CpuSession(package.graph, [out.name for out in package.manifest.outputs]).prove(package, 8)


def refusal(folder: Path) -> str:
    """Return the error of a package up to its golden test, without the folder."""
    with pytest.raises((ModelError, ConfigError)) as caught:
        prove(folder)
    text = str(caught.value)
    assert text.startswith(f"{folder}/"), text
    return text.removeprefix(f"{folder}/")


def test_the_package_of_the_tests_is_good(tmp_path: Path) -> None:
    prove(write_package(tmp_path / "mean"))


# ------------------------------------------------------------------------------------- manifest

SIGNAL = {"name": "a", "unit": "1"}
SCORE = {"name": "score", "unit": "1", "meaning": "", "role": "score"}
HASH = "0" * 64

MANIFESTS: list[tuple[dict[str, Any], str]] = [
    ({"format": 2}, "format: must be 1 (found 2)"),
    ({"formt": 1}, "formt: unknown key; did you mean `format`? (found 1)"),
    ({"name": "Mean"}, "name: must be 1 to 64 of the small letters"),
    ({"name": "../x"}, "name: must be 1 to 64 of the small letters"),
    ({"version": "1.0"}, "version: must be three whole numbers with points, such as"),
    ({"version": 1.0}, "version: must be text (found 1.0)"),
    ({"signals": []}, "signals: must have at least 1 item"),
    ({"signals": [SIGNAL, SIGNAL]}, "`signals`: the name `a` occurs twice"),
    ({"signals": [SIGNAL | {"range": [1.0]}]}, "signals.0: `range` must be [low, high]"),
    (
        {"signals": [SIGNAL | {"range": [2.0, 1.0]}]},
        "signals.0: `range` must be [low, high] with low < high",
    ),
    (
        {"signals": [SIGNAL | {"range": [float("nan"), 1.0]}]},
        "signals.0.range.0: must be a finite number (found nan)",
    ),
    ({"sample_rate_hz": 0.0}, "sample_rate_hz: must be greater than or equal to "),
    ({"sample_rate_hz": float("inf")}, "sample_rate_hz: must be "),
    ({"sample_rate_hz": 1e12}, "sample_rate_hz: must be less than or equal to "),
    ({"sample_rate_hz": 1e-300}, "sample_rate_hz: must be greater than or equal to "),
    ({"window": {"length": 0, "hop": 1}}, "window.length: must be greater than or equal to 1"),
    ({"window": {"length": 4}}, "window.hop: is required"),
    ({"outputs": [SCORE | {"role": "value"}]}, "`outputs`: exactly one must have the role `score`"),
    ({"outputs": [SCORE, SCORE]}, "`outputs`: "),
    (
        {"outputs": [SCORE, SCORE | {"role": "value"}]}, "`outputs`: the name `score` occurs twice",
    ),
    ({"outputs": [SCORE | {"name": "window"}]}, "`outputs`: "),
    (
        {"threshold": {"value": float("nan"), "method": "", "data": ""}},
        "threshold.value: must be a finite number (found nan)",
    ),
    ({"tolerance": {"rtol": 0.5}}, "tolerance.rtol: must be less than or equal to 0.1 (found 0.5)"),
    (
        {"alarm": {"threshold": 1.0}},
        "the threshold belongs in `threshold.value`, not in `alarm.threshold`",
    ),
    ({"files": {"model.onnx": HASH}}, "`files` must hold the hash of golden.npz"),
    ({"files": {"model.onnx": "abc"}}, "files.model.onnx: must be a SHA-256: 64 of the digits"),
    (
        {"files": {"model.onnx": HASH, "golden.npz": HASH, "../x": HASH}},
        "files of a package are in its folder (found '../x')",
    ),
    (
        {"files": {"/etc/passwd": HASH, "model.onnx": HASH, "golden.npz": HASH}},
        "files of a package are in its folder (found '/etc/passwd')",
    ),
    (
        {"files": {"..": HASH, "model.onnx": HASH, "golden.npz": HASH}},
        "files of a package are in its folder (found '..')",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "wanted"), MANIFESTS, ids=[w[:50] for _, w in MANIFESTS])
def test_manifest(tmp_path: Path, changes: dict[str, Any], wanted: str) -> None:
    folder = write_package(tmp_path / "mean")
    manifest = manifest_of(folder)
    (folder / "model.yaml").write_text(yaml.safe_dump(manifest | changes))
    found = refusal(folder).removeprefix("model.yaml: ")
    assert found.startswith(wanted)
    assert len(found.splitlines()) == 1


# ---------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("name", ["model.onnx", "golden.npz"])
def test_files(tmp_path: Path, name: str) -> None:
    folder = write_package(tmp_path / "mean")
    original = (folder / name).read_bytes()
    wanted = hashlib.sha256(original).hexdigest()[:12]

    (folder / name).write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
    other = hashlib.sha256((folder / name).read_bytes()).hexdigest()[:12]
    rule = f"must have the SHA-256 that model.yaml states, {wanted}...: copy the package again"
    assert refusal(folder) == f"{name}: {rule} (found '{other}...')"

    (folder / name).unlink()
    assert refusal(folder) == f"{name}: no such file"

    (folder / name).mkdir()
    assert refusal(folder) == f"{name}: must be a plain file"
    (folder / name).rmdir()

    os.mkfifo(folder / name)  # would wait for ever
    assert refusal(folder) == f"{name}: must be a plain file"
    (folder / name).unlink()

    (folder / name).symlink_to(tmp_path / "elsewhere")
    assert refusal(folder).startswith(f"{name}: is a link to a file that does not exist (found '")


@pytest.mark.parametrize("layout", ["each file", "one folder", "as Kubernetes mounts it"])
def test_links_whose_targets_have_the_stated_hash_are_read(tmp_path: Path, layout: str) -> None:
    """git-annex and DVC link each file; a ConfigMap links it through a folder that is a link."""
    folder = write_package(tmp_path / "mean")
    store = tmp_path / "store"
    if layout == "one folder":
        folder.rename(store)
        folder.symlink_to(store)
    else:
        store.mkdir()
        through = store
        if layout != "each file":
            through = folder / "..data"
            through.symlink_to(store)
        for name in ("model.onnx", "golden.npz", "model.yaml"):
            (folder / name).rename(store / name)
            (folder / name).symlink_to(through / name)
    package = load_package(folder)
    assert inspect_packages([package], tmp_path / "state") == []
    assert len(package.golden()[0]) == 40
    graph = store / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"x")
    assert "model.onnx: must have the SHA-256 that model.yaml states" in refusal(folder)


def test_no_manifest(tmp_path: Path) -> None:
    folder = write_package(tmp_path / "mean")
    (folder / "model.yaml").unlink()
    assert refusal(folder) == "model.yaml: no such file"


# --------------------------------------------------------------------------------- golden windows


def few(arrays: Arrays) -> bytes:
    return saved(**{name: values[:31] for name, values in arrays.items()})


def spoil(name: str, value: float) -> Callable[[Arrays], bytes]:
    def change(arrays: Arrays) -> bytes:
        arrays[name].flat[7] = value
        return saved(**arrays)

    return change


def lying_header(arrays: Arrays) -> bytes:
    """An array that says it has 10^13 elements."""
    data = io.BytesIO()
    np.save(data, arrays["score"])
    text = data.getvalue().replace(b"(40,)", b"(10000000000000,)")
    length = int.from_bytes(text[8:10], "little")
    text = text[:8] + (length + 12).to_bytes(2, "little") + text[10:]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("score.npy", text)
        archive.writestr("window.npy", text)
        archive.writestr("contribution.npy", text)
    return file.getvalue()


def damaged(arrays: Arrays) -> bytes:
    data = bytearray(saved(**arrays))
    data[300] ^= 0xFF  # inside the first array's numbers: the archive's check sum is wrong
    return bytes(data)


OBJECTS = "its array `score` holds objects, not numbers: copy it again"
NOT_NPZ = "golden.npz: is not an .npz file of plain arrays: "
GOLDENS: dict[str, tuple[Callable[[Arrays], bytes], str]] = {
    "empty": (lambda _a: b"", NOT_NPZ),
    "garbage": (lambda _a: b"\x00\xffgarbage" * 50, NOT_NPZ),
    "text": (lambda _a: b"hello", NOT_NPZ),
    "truncated": (lambda a: saved(**a)[:500], NOT_NPZ),
    "start of a zip": (lambda _a: b"PK\x03\x04" + b"x" * 100, NOT_NPZ),
    "check sum": (damaged, NOT_NPZ),
    "single array": (lambda a: saved_single(a["window"]), NOT_NPZ),
    "pickled": (
        lambda a: saved(**a | {"score": np.array([{}] * 40, object)}), NOT_NPZ + OBJECTS,
    ),
    "lying header": (lying_header, NOT_NPZ),
    "text scores": (
        lambda a: saved(**a | {"score": np.array(["x"] * 40)}),
        "golden.npz: `score` must be finite numbers, one row a window (found '<U1 (40,)')",
    ),
    "no window": (
        lambda a: saved(score=a["score"], contribution=a["contribution"]),
        "golden.npz: must hold `window` and contribution, score (found ['contribution', 'score'])",
    ),
    "another array": (lambda a: saved(**a, more=a["score"]), "golden.npz: must hold `window` and "),
    "too few": (few, "golden.npz: must hold at least 32 windows (found 31)"),
    "other shape": (
        lambda a: saved(**a | {"window": a["window"][:, :3]}),
        "golden.npz: `window` must be float32 of shape (N, 4, 2) (found 'float32 (40, 3, 2)')",
    ),
    "other kind": (
        lambda a: saved(**a | {"window": a["window"].astype(float)}),
        "golden.npz: `window` must be float32 of shape (N, 4, 2) (found 'float64 (40, 4, 2)')",
    ),
    "NaN window": (spoil("window", np.nan), "golden.npz: `window` must be finite"),
    "infinite window": (spoil("window", np.inf), "golden.npz: `window` must be finite"),
    "NaN score": (
        spoil("score", np.nan),
        "golden.npz: `score` must be finite numbers, one row a window (found 'float32 (40,)')",
    ),
    "scores of other windows": (
        lambda a: saved(**a | {"score": a["score"][:39]}),
        "golden.npz: `score` must be finite numbers, one row a window (found 'float32 (39,)')",
    ),
    "score as column": (
        lambda a: saved(**a | {"score": a["score"][:, None]}),
        "model.onnx: golden output `score` must have the shape (40, 1) (found (40,))",
    ),
    "other score": (
        spoil("score", 99.0),
        "model.onnx: golden output `score` must be 99 within rtol 0.0001, atol 1e-05 (found ",
    ),
    "other contribution": (
        spoil("contribution", -5.0),
        "model.onnx: golden output `contribution` must be -5 within rtol 0.0001, atol 1e-05 (found",
    ),
}  # fmt: skip


def saved_single(values: npt.NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


@pytest.mark.parametrize("name", GOLDENS)
def test_golden(tmp_path: Path, name: str) -> None:
    change, wanted = GOLDENS[name]
    folder = write_package(tmp_path / "mean")
    content = change(golden(folder))
    (folder / "golden.npz").write_bytes(content)
    found = refusal(rehash(folder))
    assert found.startswith(wanted)
    assert len(found) < 300
    assert "\n" not in found


def test_a_decision_that_flips_is_refused_within_the_tolerance(tmp_path: Path) -> None:
    folder = write_package(tmp_path / "mean")
    arrays = golden(folder)
    score = float(arrays["score"][7])
    # Within 1e-4 of the model's answer, but on the other side of the threshold.
    threshold = score * (1 + 3e-5)
    arrays["score"][7] = score * (1 + 6e-5)
    (folder / "golden.npz").write_bytes(saved(**arrays))
    rehash(folder, threshold={"value": threshold, "method": "chosen", "data": "none"})
    assert refusal(folder) == (
        "model.onnx: golden windows must be on the same side of the threshold; flipped window "
        "(found 7)"
    )


def test_a_graph_that_runs_with_other_batches_only(tmp_path: Path) -> None:
    """The inspection ran two windows; the golden test runs more, which must not be a crash."""
    from onnx import numpy_helper

    from edgeai.testing import mean_graph

    model = mean_graph(4, 2)
    model.graph.initializer[2].CopyFrom(numpy_helper.from_array(np.array([2, 2]), "flat"))
    folder = write_package(tmp_path / "mean")
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    found = refusal(rehash(folder))
    assert found.startswith("model.onnx: does not run in ONNX Runtime with 40 windows: ")


INTERNALS = ("Traceback", "Error", "0x", "<", "multi-line", "ast", "allow_pickle", "dtype(")


def test_any_damage_of_the_golden_windows_is_told_in_plain_words(tmp_path: Path) -> None:
    """What is wrong, and what to do; never the words of numpy or zipfile."""
    package = load_package(write_package(tmp_path / "mean"))
    path = package.folder / "golden.npz"
    whole = path.read_bytes()
    random = np.random.default_rng(1)
    damages = [whole[:size] for size in range(len(whole))]
    for place in random.integers(0, len(whole), 200):
        damages.append(whole[:place] + bytes([whole[place] ^ 1 << random.integers(8)]))
        damages[-1] += whole[place + 1 :]
    # The start of an array's header, with a check sum that is right.
    arrays = golden(package.folder)
    for place in range(128):
        header = bytearray(_npy(arrays["window"]))
        header[place] ^= 1 << random.integers(8)
        damages.append(_zipped({"window.npy": bytes(header), "score.npy": _npy(arrays["score"])}))
    refused = 0
    for content in damages:
        path.write_bytes(content)
        error = ""
        try:
            package.labelled_golden()
        except ModelError as found:  # any other error fails the test
            error = str(found)
            refused += 1
        assert not error or error.startswith(f"{path}: "), "names the file"
        assert not error or "must " in error or "copy it again" in error, error
        assert not any(word in error for word in INTERNALS), error
    assert refused > len(whole), "almost all damages are found"


def _npy(values: npt.NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def _zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()
