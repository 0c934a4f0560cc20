"""Every file that edgeai reads or writes, damaged in every way: an error that names the file."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeai.config.node import load_config
from edgeai.model.package import read_arrays
from edgeai.paths import secret_file_warning
from tests.support.commands import Outcome, run_command
from tests.support.packages import rehash, saved, write_config, write_package
from tests.support.permissions import obeying_permissions
from tests.support.recipes import FILES, recipe_file
from tests.support.shared import made_once

SOURCE = {"topic": "factory/{asset}/sensors", "time": {"path": "t", "unit": "s"}}
TOKEN = "a-token-of-more-than-sixteen-characters"
WINDOWS = np.arange(40 * 4 * 2, dtype=np.float32).reshape(40, 4, 2)
JSONL = '{"topic": "factory/m/sensors", "payload": {"t": 1, "a": 1, "b": 2}, "received_ns": 1}\n'
REPORT_LINE = '{"payload": {"timestamp": 1000, "values": {"a": 1, "b": 2}}}\n'
PRESET = "preset: 1\ntitle: a test\norigin: this file\nverified: true\nsource: {layout: row}\n"
OWN = """
import torch
NETWORK = torch.nn.Linear(2, 1)
COORDINATES, FIELDS = {"x": "m", "t": "s"}, {"u": "1"}
RESIDUAL = {"unit": "1", "scale": 1.0}
PROBE = torch.rand(8, 2)
def equation(fields, where, parameters):
    return fields["u"].d("t")
"""


def make_files(folder: Path) -> None:
    """Write one of each file that edgeai reads, all of them good."""
    write_package(folder / "mean")
    (folder / "device.yaml").write_text("description: a test\ncandidates: [{provider: cpu}]\n")
    (folder / "preset.yaml").write_text(PRESET)
    (folder / "secret").write_text("correct horse battery staple")
    (folder / "token").write_text(TOKEN)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=a",
         "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=folder, capture_output=True, check=True,
    )  # fmt: skip
    shutil.copy(folder / "cert.pem", folder / "ca.pem")
    tls = {"ca_file": "ca.pem", "cert_file": "cert.pem", "key_file": "key.pem"}
    path = write_config(
        folder / "line.yaml",
        1883,
        {"p": {"model": "mean", "source": {**SOURCE, "preset": "preset.yaml"}}},
        device="device.yaml",
        http={"token": {"file": "token"}, "metrics_token": {"file": "token"}},
    )
    config = yaml.safe_load(path.read_text())
    config["broker"] |= {"username": "u", "password": {"file": "secret"}, "tls": tls}
    path.write_text(yaml.safe_dump(config))
    rows = [{"t": t, "a": t % 5, "b": 1} for t in range(1, 40)]
    lines = ["t,a,b", *(f"{row['t']},{row['a']},{row['b']}" for row in rows)]
    (folder / "rows.csv").write_text("\n".join(lines))
    (folder / "rows.jsonl").write_text(JSONL * 20)
    (folder / "report.jsonl").write_text(REPORT_LINE * 20)
    (folder / "windows.npz").write_bytes(saved(window=WINDOWS))
    (folder / "own.py").write_text(OWN)
    values = np.random.default_rng(0).normal(size=(4000, 2))
    lines = ["A;b", *(f"{a:.4f};{b:.4f}" for a, b in values)]
    (folder / "data.csv").write_text("\n".join(lines))
    calibration = {"false_alarms_per_day": 24.0, "tail_share": 0.2}
    recipe_file(folder, FILES, calibration=calibration)
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        return
    parquet.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet")


@pytest.fixture
def files(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with good files of every kind."""
    good = made_once(tmp_path_factory, "files-of-every-kind", make_files)
    shutil.copytree(good, tmp_path / "files")
    return tmp_path / "files"


Run = Callable[..., Outcome]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, files: Path) -> Run:
    """Run a command in the folder, in this process."""
    monkeypatch.chdir(files)
    return lambda *arguments: run_command(capsys, monkeypatch, *arguments)


# ------------------------------------------------------------------------------------- what is read

CHECK = ("check", "line.yaml")
REPLAY = ("replay", "line.yaml", "--output", "out", "--input")
REPORT = ("report", "mean", "--time-column", "t", "--input")


@dataclass(frozen=True)
class Read:
    """A file and the command that reads it."""

    command: tuple[str, ...]
    named: str = ""
    """Part of the error that names the file; by default the file's name."""
    may_be: tuple[str, ...] = ()
    """Damages that may leave a file that can be used."""
    needs: str = ""
    """Library without which the command is refused anyway."""
    is_slow: bool = False
    """Whether only two damages are tried."""


READ = {
    "line.yaml": Read(CHECK),
    "device.yaml": Read(CHECK),
    "preset.yaml": Read(CHECK),
    "secret": Read(CHECK, may_be=("truncated",)),
    "token": Read(CHECK, may_be=("truncated",)),
    "ca.pem": Read(CHECK),
    "cert.pem": Read(CHECK),
    "key.pem": Read(CHECK),
    "mean/model.yaml": Read(CHECK),
    "mean/model.onnx": Read(CHECK),
    "mean/golden.npz": Read(CHECK),
    "rows.csv": Read((*REPLAY, "rows.csv"), may_be=("truncated",)),
    "rows.jsonl": Read((*REPLAY, "rows.jsonl"), may_be=("empty",)),
    "rows.parquet": Read((*REPLAY, "rows.parquet"), needs="pyarrow"),
    "windows.npz": Read(("quantize", "mean", "--windows", "windows.npz")),
    "train.yaml": Read(
        ("train", "train.yaml", "--output", "trained"), needs="pyarrow", is_slow=True
    ),
    "data.csv": Read(("train", "train.yaml", "--output", "trained"), needs="pyarrow", is_slow=True),
    "own.py": Read(("export", "own.py", "--output", "own.onnx"), needs="torch"),
    "report.jsonl": Read(("report", "mean", "--input", "report.jsonl")),
    "report of rows.csv": Read((*REPORT, "rows.csv"), "rows.csv", may_be=("truncated",)),
    "report of rows.parquet": Read((*REPORT, "rows.parquet"), "rows.parquet", needs="pyarrow"),
}

HASHED = ("mean/model.onnx", "mean/golden.npz")

DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(
        path.read_bytes()[: path.stat().st_size * 3 // 5 - 7]
    ),
    "binary": lambda path: path.write_bytes(bytes(range(256)) * 40),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "missing": lambda path: path.unlink(),
    "unreadable": lambda path: path.chmod(0),
}


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        (name, damage)
        for name, case in READ.items()
        for damage in (("binary", "unreadable") if case.is_slow else DAMAGES)
    ],
)
def test_an_unusable_file_is_named(name: str, damage: str, files: Path, run: Run) -> None:
    case = READ[name]
    if case.needs:
        pytest.importorskip(case.needs)
    named = case.named or name
    path = files / named
    DAMAGES[damage](path)
    if name in HASHED and path.is_file() and damage != "unreadable":
        rehash(files / "mean")  # otherwise the hash alone refuses it
    with obeying_permissions():
        outcome = run(*case.command)
    if damage in case.may_be:
        assert outcome.code in {0, 2}
        return
    assert outcome.code == 2, outcome.out
    told = [line for line in outcome.err.splitlines() if line.startswith("edgeai: ")]
    assert any(Path(named).name in line for line in told), outcome.err


@settings(max_examples=150, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.integers(0, 3000),
)
def test_a_damaged_npz_file_is_refused_or_read(
    changes: list[tuple[int, int]], cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.npz"
    content = bytearray(saved(window=WINDOWS, score=np.arange(40, dtype=np.float32)))
    for place, value in changes:
        content[place % len(content)] = value
    path.write_bytes(content[: len(content) - cut])
    with contextlib.suppress(ValueError):  # any other error fails the test
        assert all(isinstance(array, np.ndarray) for array in read_arrays(path).values())


def test_an_impossible_name_is_refused_by_its_key(files: Path, run: Run) -> None:
    config = yaml.safe_load((files / "line.yaml").read_text())
    config["broker"]["password"] = {"file": "a\0b"}
    config["broker"]["tls"]["ca_file"] = ""
    config["state_folder"] = "\ud800"
    # The C library of YAML writes no surrogates, the escape does.
    text = yaml.safe_dump(config).replace("'\ud800'", '"\\ud800"')
    (files / "line.yaml").write_text(text, encoding="utf-8", errors="surrogatepass")
    outcome = run(*CHECK)
    assert outcome.code == 2
    assert "internal" not in outcome.err


@pytest.mark.parametrize("name", ["device.yaml", "model"])
def test_impossible_names_of_packages_and_devices(name: str, files: Path, run: Run) -> None:
    config = yaml.safe_load((files / "line.yaml").read_text())
    if name == "model":
        config["pipelines"]["p"]["model"] = "a\0b"
    else:
        config["device"] = "a\0b.yaml"
    (files / "line.yaml").write_text(yaml.safe_dump(config))
    assert run(*CHECK).code == 2


# --------------------------------------------------------------------------------------- the caches


@pytest.mark.parametrize("content", [b'{"inputs": 5}', None])
def test_a_damaged_cache_is_made_anew(
    content: bytes | None, files: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a cache whose text is good JSON with wrong facts, as after a damaged disk."""
    monkeypatch.setenv("EDGEAI_STATE_DIR", str(files / "state"))
    assert run(*CHECK).code == 0
    (cache,) = (files / "state" / "inspection").iterdir()
    good = cache.read_bytes()
    if content is None:
        cache.write_bytes(good.replace(b"float32", b"float64"))
    else:
        cache.write_bytes(content)
    assert run(*CHECK).code == 0
    assert cache.read_bytes() == good


@pytest.mark.parametrize("place", ["state", "state/inspection"])
def test_a_file_in_place_of_the_state_folder_does_no_harm(
    place: str, files: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEAI_STATE_DIR", str(files / "state"))
    (files / place).parent.mkdir(exist_ok=True)
    (files / place).touch()
    outcome = run(*CHECK)
    assert outcome.code == 0
    assert ("nothing is kept for the next start" in outcome.out) == (place == "state")


# ---------------------------------------------------------------------------------- what is written

WRITTEN = {
    "replay": ("replay", "line.yaml", "--input", "rows.csv", "--output"),
    "replay alarms": (
        "replay", "line.yaml", "--input", "rows.csv", "--output", "out", "--alarms",
    ),
    "export": ("export", "own.py", "--output"),
    "report": ("report", "mean", "--input", "rows.csv", "--time-column", "t", "--output"),
    "quantize": ("quantize", "mean", "--to", "fp16", "--output"),
    "train": ("train", "train.yaml", "--output"),
}  # fmt: skip
NEEDS = {"export": "torch", "train": "pyarrow"}


TARGETS = ("/dev/full", "locked/out", "rows.csv/out", "mean")


@pytest.mark.parametrize(
    ("name", "target"),
    [
        (name, target)
        for name in WRITTEN
        # No alarm is written here; training is slow.
        for target in {"replay alarms": TARGETS[1:], "train": TARGETS[1:2]}.get(name, TARGETS)
    ],
)
def test_an_output_that_cannot_be_written_is_named(
    name: str, target: str, files: Path, run: Run
) -> None:
    """A full disk, a folder without permission, a file in place of a folder, a folder."""
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    (files / "locked").mkdir(mode=0o500)
    with obeying_permissions():
        outcome = run(*WRITTEN[name], target)
    assert outcome.code == 2, outcome.err
    told = [line for line in outcome.err.splitlines() if line.startswith("edgeai: ")]
    assert len(told) == 1
    assert told[0].startswith(f"edgeai: {target}: ")


def test_a_full_disk_during_a_replay_is_named(files: Path, run: Run) -> None:
    """The file is opened, and a later write fails."""
    rows = ["t,a,b", *(f"{t},{t % 5},1" for t in range(1, 400))]
    (files / "rows.csv").write_text("\n".join(rows))
    outcome = run(*REPLAY[:3], "/dev/full", "--input", "rows.csv")
    assert outcome.code == 2
    assert "edgeai: /dev/full: cannot be written: No space left on device" in outcome.err


# ------------------------------------------------------------------------------------------ secrets


@pytest.mark.parametrize(("mode", "is_told"), [(0o600, False), (0o640, False), (0o644, True)])
def test_a_secret_that_everybody_may_read_is_told(
    mode: int, is_told: bool, files: Path, run: Run
) -> None:
    for name in ("secret", "token", "key.pem"):
        (files / name).chmod(0o600)
    for name in ("secret", "token", "key.pem"):
        (files / name).chmod(mode)
        outcome = run(*CHECK)
        assert outcome.code == 0
        told = [line for line in outcome.out.splitlines() if "every user of this machine" in line]
        assert bool(told) == is_told
        if is_told:
            assert f"(chmod o-rwx {name})" in told[0]
        (files / name).chmod(0o600)


def test_secrets_that_cannot_be_tokens_are_refused(files: Path, run: Run) -> None:
    for text, rule in [
        ("\n", "http.token: the secret is empty"),
        ("short", "http.token: must be at least 16 printable ASCII characters"),
        ("a token with spaces", "http.token: must be at least 16 printable ASCII characters"),
        ("Ein Schlüssel mit Umlaut", "http.token: must be at least 16 printable ASCII characters"),
        ("two-lines-of-text\nin-one-file", "http.token: must be at least 16 printable ASCII"),
        ("x" * 70_000, "http.token: must not be larger than 65536 bytes"),
    ]:
        (files / "token").write_text(text)
        outcome = run(*CHECK)
        assert outcome.code == 2
        assert rule in outcome.err
        assert text not in outcome.err or not text.strip()


def test_files_of_secrets_are_relative_to_the_config(files: Path) -> None:
    config = load_config(files / "line.yaml")
    assert config.http.token is not None
    assert config.http.token.file == str(files / "token")
    assert config.http.tokens() == (TOKEN, TOKEN)
    assert secret_file_warning(files / "absent") is None


def test_hashes_are_of_the_files(files: Path) -> None:
    """The damages above are found by their readers, and not by the hash."""
    manifest = yaml.safe_load((files / "mean" / "model.yaml").read_text())
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((files / "mean" / name).read_bytes()).hexdigest() == digest
