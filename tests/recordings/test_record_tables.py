"""A table is replayed through the very shape that its pipeline reads live."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgeai.assembly.plan import check
from edgeai.config.presets import load_preset, preset_files
from edgeai.errors import ConfigError
from edgeai.recordings.tables import TableOptions
from edgeai.replay.run import replay_files
from edgeai.testing import build_package, write_config

ROWS = "t,a,b\n1763719200,20,5\n1763719201,21,5\n1763719202,,5\n1763719203,22,5\n"
READABLE = [
    one.stem
    for one in preset_files()
    if (source := load_preset(one).source).get("layout") != "frame"
    and source.get("format", "json") == "json"
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    build_package(folder / "two", signals=["a", "b"], length=1, threshold=100.0)
    (folder / "l1_m.csv").write_text(ROWS)
    return folder


def replayed(folder: Path, source: dict[str, Any], stream: dict[str, Any]) -> list[Any]:
    pipeline = {"model": "two", "source": source, "stream": stream}
    config = write_config(folder / "line.yaml", {"p": pipeline})
    options = TableOptions(asset="m", time_column="t", time_unit="s")
    replay_files(check(config), [folder / "l1_m.csv"], folder / "out.jsonl", options=options)
    found = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    return [
        (one["asset"], one["timestamp"] // 10**9 - 1_763_719_200, one["score"]) for one in found
    ]


@pytest.mark.parametrize("preset", READABLE)
def test_a_table_goes_through_every_preset(folder: Path, preset: str) -> None:
    source = {"preset": preset, "names": None, **_topic(preset)}
    if preset == "tasmota":
        source |= {"time": {"zone": "UTC"}, "signals": {"a": "S.A", "b": "S.B"}}
    found = replayed(folder, source, {"alignment": "hold", "max_age_seconds": 60})
    scores = {at: score for _, at, score in found}
    assert {asset for asset, *_ in found} == {"m"}
    assert scores[1] == 26.0
    assert scores[3] == 27.0


def _topic(preset: str) -> dict[str, str]:
    source = load_preset(next(one for one in preset_files() if one.stem == preset)).source
    has_topic = "topic" in source or "asset_paths" in source
    if "asset_paths" in source:
        return {"topic": "gateway"}
    return {} if has_topic else {"topic": "gw/{asset}"}


def test_levels_of_the_asset_are_shared_among_topic_and_message(folder: Path) -> None:
    source = {
        "topic": "gw/{line}", "items": "halls.{hall}.x.*.v", "asset_paths": ["$.k", "^.id"],
        "time": {"path": "^.t", "unit": "s"}, "quality": {"path": "^.q", "codes": "opc_da"},
    }  # fmt: skip
    pipeline = {"model": "two", "source": source}
    config = write_config(folder / "line.yaml", {"p": pipeline})
    options = TableOptions(asset="l1/h2/k3/m4", time_column="t")
    with pytest.raises(ConfigError, match="`items`"):
        check(
            write_config(
                folder / "bad.yaml", {"p": {**pipeline, "source": {**source, "items": "^"}}}
            )
        )
    replay_files(check(config), [folder / "l1_m.csv"], folder / "out.jsonl", options=options)
    found = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    assert {one["asset"] for one in found} == {"l1/h2/k3/m4"}


@pytest.mark.parametrize(
    ("keys", "why"),
    [({"format": {"type": "csv", "header": True}, "items": "*"}, "not plain JSON"),
     ({"compression": "gzip"}, "not plain"),
     ({"layout": "tag", "name_path": "n", "items": "*", "names": {"topic": "n", "items": "*",
       "id_path": "i", "name_path": "n"}}, "names from messages")],
)  # fmt: skip
def test_what_a_table_cannot_be_is_said(folder: Path, keys: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        replayed(folder, {"topic": "gw/{asset}", **keys}, {})
