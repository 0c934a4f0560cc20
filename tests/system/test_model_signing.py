"""What edgeai signs verifies with the reference tool `model-signing`, and the other way round."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from edgeai.errors import ModelError
from edgeai.signing.files import SIGNATURE
from edgeai.signing.keys import read_private_key, read_public_key
from edgeai.signing.trust import Trust, sign_folder
from tests.support.environments import clean_variables, environment
from tests.support.live import patient
from tests.support.signing import CURVES, FILES, write_folder, write_keys

# pyOpenSSL: 1.1.1 imports it without naming it among its requirements.
REQUIREMENTS = ["model-signing==1.1.1", "pyOpenSSL>=25"]


@pytest.fixture(scope="module")
def reference() -> Callable[..., tuple[int, str]]:
    """Run the reference tool with arguments; return its exit code and what it prints."""
    python = environment("model-signing", REQUIREMENTS)

    def run(*arguments: object) -> tuple[int, str]:
        command = [str(python), "-m", "model_signing", *map(str, arguments)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=clean_variables(),
            timeout=patient(60),
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    return run


Reference = Callable[..., tuple[int, str]]


class Pair(NamedTuple):
    """A folder that can be signed, and the files of a pair of keys."""

    folder: Path
    private: Path
    public: Path

    def sign(self) -> None:
        sign_folder(self.folder, read_private_key(self.private))

    def is_trusted(self) -> bool:
        try:
            return Trust([read_public_key(self.public)]).verify(self.folder) is not None
        except ModelError:
            return False

    def sign_by(self, reference: Reference) -> None:
        options = ["--private_key", self.private, "--signature", self.folder / SIGNATURE]
        code, said = reference("sign", "key", self.folder, *options)
        assert code == 0, said

    def is_trusted_by(self, reference: Reference) -> bool:
        options = ["--public_key", self.public, "--signature", self.folder / SIGNATURE]
        code, said = reference("verify", "key", self.folder, *options)
        assert (code == 0) == ("Verification succeeded" in said), said
        return code == 0


def make(folder: Path, curve: str = "P-256") -> Pair:
    private, public = write_keys(folder, curve=curve)
    files = {**FILES, ".gitignore": b"x", ".git/config": b"x", "a/b": b"1", "a-b": b"2", "a.b": b""}
    return Pair(write_folder(folder / "press", files), private, public)


@pytest.mark.system
@pytest.mark.parametrize("curve", CURVES)
def test_both_directions(tmp_path: Path, curve: str, reference: Reference) -> None:
    one = make(tmp_path, curve)
    one.sign()
    assert one.is_trusted_by(reference)
    (one.folder / SIGNATURE).unlink()
    one.sign_by(reference)
    assert one.is_trusted()


def change_a_byte(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(FILES["model.onnx"][:-1] + b"\0")


def add(folder: Path) -> None:
    (folder / "a" / "more").write_bytes(b"")


def remove(folder: Path) -> None:
    (folder / "a.b").unlink()


def link(folder: Path) -> None:
    (folder / "model.onnx").rename(folder.parent / "model.onnx")
    (folder / "model.onnx").symlink_to(folder.parent / "model.onnx")


def change_what_git_holds(folder: Path) -> None:
    (folder / ".git" / "config").write_bytes(b"y")


@pytest.mark.system
@pytest.mark.parametrize("change", [change_a_byte, add, remove, link, change_what_git_holds])
def test_both_refuse_the_same_changes(
    tmp_path: Path, change: Callable[[Path], None], reference: Reference
) -> None:
    one = make(tmp_path)
    one.sign()
    change(one.folder)
    taken = change is change_what_git_holds
    assert one.is_trusted() == taken
    assert one.is_trusted_by(reference) == taken


@pytest.mark.system
def test_both_refuse_another_key(tmp_path: Path, reference: Reference) -> None:
    one = make(tmp_path)
    one.sign()
    _, public = write_keys(tmp_path, "other")
    other = one._replace(public=public)
    assert not other.is_trusted()
    assert not other.is_trusted_by(reference)


@pytest.mark.system
def test_what_the_reference_is_told_to_ignore_is_ignored(
    tmp_path: Path, reference: Reference
) -> None:
    one = make(tmp_path)
    options = ["--private_key", one.private, "--signature", one.folder / SIGNATURE]
    code, said = reference("sign", "key", one.folder, *options, "--ignore-paths", one.folder / "a")
    assert code == 0, said
    (one.folder / "a" / "b").write_bytes(b"changed")
    assert one.is_trusted()
    (one.folder / "a-b").write_bytes(b"changed")
    assert not one.is_trusted()
