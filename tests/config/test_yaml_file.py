"""Files that are not YAML, and harmful YAML."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgeai.config.node import Config, load_config
from edgeai.config.yaml_file import MAX_FILE_BYTES, read_yaml, validate
from edgeai.errors import ConfigError

GROWTH_MB = 200
SECONDS = 5


@contextmanager
def bounded() -> Iterator[None]:
    """Fail if the block takes long or needs much memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    yield
    assert time.monotonic() - started < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < GROWTH_MB * 1024


def complaint(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: "), text
    return text.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"", "must be a map of keys"),
        (b"# only a comment\n", "must be a map of keys"),
        (b"- a\n- b\n", "must be a map of keys"),
        (b"just text", "must be a map of keys"),
        (b"a: [1, 2\nb: 3\n", "line 2, column 2: is not YAML: "),
        (b"a: 1\n\tb: 2\n", "line 2, column 1: is not YAML: "),
        (b"a: {b: 1}}\n", "line 1, column 10: is not YAML: "),
        (b"node: x\nnode: y\n", "line 2, column 1: is not YAML: the key `node` occurs twice"),
        (
            b"broker:\n  host: a\n  port: 1\n  host: b\n",
            "line 4, column 3: is not YAML: the key `host` occurs twice",
        ),
        (b"a: !!python/object/apply:os.system ['true']\n", "line 1, column 4: is not YAML: "),
        (b"? [a, b]\n: c\n", "line 1, column 3: is not YAML: "),
        (b"a: *nowhere\n", "line 1, column 4: is not YAML: "),
        (b"a: 1\nnode: caf\xe9\n", "line 2: is not UTF-8 text"),
        (b"\xff\xfen\x00o\x00", "line 1: is not UTF-8 text"),
        (b"a: 1\nnode: a\x00b\n", "line 2: is not YAML: the character #x0000 is not allowed"),
        (b"a: 2026-13-45\n", "is not YAML: "),
        (b"a: " + b"9" * 5000 + b"\n", "is not YAML: "),
        (b"[" * 100_000, "is not YAML: "),
        (b"{a: " * 100_000, "is not YAML: "),
        (b"a: 1\n---\nb: 2\n", "line 2, column 1: is not YAML: "),
    ],
    ids=lambda value: repr(value[:30]),
)
def test_a_file_that_is_not_a_config(tmp_path: Path, content: bytes, wanted: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with bounded():
        found = complaint(path)
    assert found.startswith(wanted)
    assert len(found) < 300
    assert "\n" not in found, "one problem is one line"


def test_a_file_that_is_no_config_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "password.txt"
    path.write_text("hunter2")
    assert "hunter2" not in complaint(path)


def test_problems_of_files(tmp_path: Path) -> None:
    assert complaint(tmp_path / "absent.yaml") == "no such file"
    assert complaint(tmp_path) == "is a folder, not a file"
    assert complaint(Path("/dev/zero")).startswith("must not be larger than ")
    path = tmp_path / "large.yaml"
    path.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    assert complaint(path).startswith("must not be larger than 4194304 bytes")


def bomb(levels: int) -> str:
    """Return the billion laughs attack: each level refers to the one before ten times."""
    lines = ["l0: &l0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines) + "\n"


def merge_bomb(levels: int) -> str:
    """Return the same attack through merge keys, which copy."""
    lines = ["l0: &l0 {k: v}"]
    lines += [f"l{n}: &l{n}\n  <<: [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("text", [bomb(10), merge_bomb(10)], ids=["lists", "merges"])
def test_an_alias_bomb_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bomb.yaml"
    path.write_text(text)
    with bounded():
        found = complaint(path)
    assert found == "must not hold more than 1000000 values, aliases counted in full"


def test_a_bomb_in_place_of_a_value(tmp_path: Path) -> None:
    path = tmp_path / "bomb.yaml"
    path.write_text(bomb(10) + "node: *l9\nbroker: {host: *l9}\npipelines: *l9\n")
    with bounded():
        found = complaint(path)
    assert found == "must not hold more than 1000000 values, aliases counted in full"


def test_a_large_value_is_shown_short(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_text(bomb(4) + "node: *l3\nbroker: {host: *l3}\npipelines: *l3\n")
    with bounded():
        lines = complaint(path).splitlines()
    assert all(len(line.rpartition("(found ")[2]) < 100 for line in lines)
    assert any("node: must be text (found [[[['lol'" in line for line in lines)


def test_a_map_that_contains_itself(tmp_path: Path) -> None:
    path = tmp_path / "self.yaml"
    path.write_text("node: &n [*n]\nbroker: &b {host: *b}\npipelines: &p {p: *p}\n")
    with bounded():
        assert complaint(path)


def test_anchors_and_merges_of_normal_size_work(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\n")
    assert read_yaml(path) == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}}


@pytest.mark.parametrize("key", ["1", "true", "null", "2026-01-01", "1.5"])
def test_keys_that_are_no_text(tmp_path: Path, key: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"{key}: x\n")
    assert complaint(path)


def test_a_key_cannot_break_the_line_or_colour_the_terminal() -> None:
    with pytest.raises(ConfigError) as caught:
        validate(Config, {"no\nde\x1b[31m": 1}, "c.yaml")
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == len(caught.value.problems)
