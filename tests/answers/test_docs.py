"""docs/answers.md has every value; the examples of docs/howto/controllers.md are what it says."""

from __future__ import annotations

import json
import re
import struct
from typing import Any

import pytest

from edgeai.answers.answer import compile_answer, compile_beat
from edgeai.answers.facts import Beat
from edgeai.answers.values import Names
from edgeai.assembly.answer_report import EXAMPLE_NS, describe_answers, example_facts
from edgeai.assembly.pipelines import build_pipelines, close_sessions
from edgeai.assembly.plan import check
from edgeai.config.answer_values import (
    BEAT_VALUES,
    FILLERS,
    NOT_JUDGED_CODES,
    PATTERNS,
    REASON_CODES,
    VALUES,
)
from edgeai.metrics.definitions import Metrics
from edgeai.metrics.table import ANSWER_FAULTS
from tests.support.pages import blocks
from tests.support.paths import REPOSITORY

PAGE = (REPOSITORY / "docs/answers.md").read_text()
HOWTO = (REPOSITORY / "docs/howto/controllers.md").read_text()


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def first_cells(text: str) -> list[str]:
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])]


def test_the_table_of_values_is_complete() -> None:
    names = first_cells(section("Values"))
    assert sorted(names) == sorted([*VALUES, *PATTERNS, *FILLERS])


def test_the_table_says_which_values_stay_and_which_codes_they_have() -> None:
    for row in section("Values").splitlines():
        for name in first_cells(row):
            info = VALUES.get(name) or PATTERNS.get(name)
            if info is None:
                continue
            _, _, kind, stays, meaning, _ = row.split("|")
            assert info.kind in kind, name
            assert (stays.strip() == "yes") == info.stays, name
            if info.codes and name not in {"alarm", "reason"}:
                for text, code in info.codes.items():
                    shown = f"`{text}` {code}" if text else f"empty {code}"
                    assert shown in meaning, (name, shown)


def test_the_tables_of_reasons_faults_and_beats_are_complete() -> None:
    found: dict[str, int] = {"": 0}
    for row in section("When an answer is not live").splitlines():
        names = first_cells(row)
        if names and row.split("|")[2].strip()[:1].isdigit():
            found |= dict(zip(names, map(int, row.split("|")[2].split(",")), strict=True))
    assert found == REASON_CODES
    assert first_cells(section("Values that cannot be written")) == [
        "missing", "not_finite", "out_of_range", "too_long", "not_encodable", "no_code"
    ] == list(ANSWER_FAULTS)  # fmt: skip
    assert sorted(first_cells(section("Heartbeat"))) == sorted(BEAT_VALUES)
    assert set(NOT_JUDGED_CODES.values()) == set(range(6))


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The plan of the page's configuration, its pipeline, and the facts of the example."""
    [text] = [one.text for one in blocks(HOWTO) if one.text.startswith("# controllers.yaml")]
    path = tmp_path_factory.mktemp("controllers") / "controllers.yaml"
    path.write_text(text)
    plan = check(path)
    [pipeline] = build_pipelines(plan, Metrics())
    facts = example_facts(pipeline, plan.packages["moulding"], "moulding-1")
    yield plan, pipeline, facts
    close_sessions([pipeline])


def written(example: Any, name: str) -> Any:
    _, pipeline, facts = example
    outputs = [output for output, _ in pipeline.published]
    answer = compile_answer(
        pipeline.config.publish.answers[name].format,
        Names("line1", "moulding", outputs, pipeline.signals),
    )
    wires = answer.write(facts).wires
    return wires if answer.compose is None else answer.compose(wires)


def test_the_s7_example_decodes(example: Any) -> None:
    facts = example[2]
    record = written(example, "s7")
    assert "compare the number of bytes received with 54" in HOWTO
    assert len(record) == 54
    found = struct.unpack(">HBBffhhHBBBBBBIBB24s", record)
    sequence, quality, bits, score, advice, cause, reason = found[:7]
    year, month, day, _, hour, minute, second, nanos, room, length, text = found[7:]
    assert (sequence, quality, bits, cause, reason, room) == (1, 192, 0b111, 1, 0, 24)
    assert score == struct.unpack("f", struct.pack("f", facts.score))[0]
    wanted = facts.outputs["cooling_time_correction"]["value"]
    assert advice == struct.unpack("f", struct.pack("f", wanted))[0]
    assert (year, month, day, hour, minute, second, nanos) == (2026, 1, 15, 17, 0, 0, 0), "in Seoul"
    assert text[:length] == b"near_thermocouple_drift"
    offsets = dict(re.findall(r"^\| ([\w, ]+?) \| [^|]+ \| ([\d., ]+) \|$", HOWTO, re.MULTILINE))
    assert offsets["timestamp"] == "16.0"
    assert offsets["diagnosis"] == "28.0"


def test_the_twincat_example_is_a_structure_of_a_c_compiler(example: Any) -> None:
    facts = example[2]
    record = written(example, "twincat")
    assert "`edgeai check` prints (48 here)" in HOWTO
    native = struct.Struct("@??Idf21s0d")
    assert native.size == len(record) == 48
    valid, alarm, sequence, score, advice, name = native.unpack(record)
    assert (valid, alarm, sequence, score) == (True, True, 1, facts.score)
    wanted = facts.outputs["cooling_time_correction"]["value"]
    assert advice == struct.unpack("f", struct.pack("f", wanted))[0]
    assert name.split(b"\0")[0] == b"moulding-1"


def test_the_hmi_example_is_plain_text(example: Any) -> None:
    facts = example[2]
    texts = [wire.decode() for wire in written(example, "hmi")]
    temperature = facts.outputs["ejection_temperature"]["value"]
    assert texts == [f"{facts.score:.1f}", "1", "1", f"{temperature:.1f}"]


def test_the_heartbeat_example_decodes(example: Any) -> None:
    heartbeat = example[0].config.heartbeat
    answer = compile_beat(heartbeat.format, Names("line1"))
    assert answer.compose is not None
    beats = [Beat(is_live=True, count=n, is_ready=True, now_ns=EXAMPLE_NS) for n in (1, 65536)]
    beats.append(Beat(is_live=False))
    found = [struct.unpack(">HH", answer.compose(answer.write(one).wires)) for one in beats]
    assert found == [(1, 1), (1, 1), (0, 0)], "after 65535 comes 1, which is no 0 of a last will"


def test_check_prints_the_bytes(example: Any) -> None:
    plan, pipeline, _ = example
    lines = list(describe_answers(pipeline, plan.packages["moulding"], plan.config))
    shown = next(one for one in lines if one.startswith("answer s7: for example"))
    topic, *digits = shown.removeprefix("answer s7: for example: ").split()
    assert topic == "plant1/asset-1/edgeai/db"
    assert bytes.fromhex("".join(digits)) == written(example, "s7")
    assert any("not live: plant1/asset-1/edgeai/alarm '0'" in one for one in lines)
    assert json.dumps(lines)
