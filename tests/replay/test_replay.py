"""`edgeai replay` on tables and recordings, good and bad."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.brokers import start_mosquitto
from tests.support.commands import Outcome, run_command
from tests.support.live import patient, peer, wait_for
from tests.support.packages import write_config, write_package

SOURCE: dict[str, Any] = {"topic": "factory/{asset}/sensors", "time": {"path": "t", "unit": "s"}}
TAGS: dict[str, Any] = {
    "topic": "factory/{asset}/{signal}", "layout": "tag", "time": {"path": "t", "unit": "s"},
}  # fmt: skip


class Replay:
    """One config, run on files."""

    def __init__(self, folder: Path, command: Callable[..., Outcome]) -> None:
        self.folder = folder
        self.command = command
        self.output = folder / "out.jsonl"
        write_package(folder / "mean")
        self.configure(SOURCE)

    def configure(self, source: dict[str, Any], **more: Any) -> None:
        config = {"model": "mean", "source": source} | more
        self.config = write_config(self.folder / "config.yaml", 1883, {"p": config})

    def file(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def run(self, *inputs: Path, options: tuple[str, ...] = ()) -> Outcome:
        files = [part for path in inputs for part in ("--input", path)]
        return self.command("replay", self.config, *files, "--output", self.output, *options)

    def predictions(self, *inputs: Path, options: tuple[str, ...] = ()) -> list[Any]:
        outcome = self.run(*inputs, options=options)
        assert outcome.code == 0, outcome.err
        self.said = outcome.err.splitlines()
        return [json.loads(line) for line in self.output.read_text().splitlines()]

    def refusal(self, *inputs: Path, options: tuple[str, ...] = ()) -> str:
        outcome = self.run(*inputs, options=options)
        assert outcome.code == 2
        (line,) = outcome.complaints
        return line.removeprefix(f"{self.folder}/")


@pytest.fixture
def replay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Replay:
    return Replay(tmp_path, lambda *arguments: run_command(capsys, monkeypatch, *arguments))


def table(rows: int = 6, separator: str = ",") -> str:
    lines = [["t", "a", "b"]] + [[str(t), str(t), "1"] for t in range(1, rows + 1)]
    return "".join(separator.join(line) + "\n" for line in lines)


# --------------------------------------------------------------------------------------- tables


UNTIMED: dict[str, Any] = {"topic": "factory/{asset}/sensors"}


@pytest.mark.parametrize("source", [SOURCE, UNTIMED], ids=["timed", "at arrival"])
def test_rows_that_give_no_message_are_left_out_and_counted(
    replay: Replay, source: dict[str, Any]
) -> None:
    """As the same rows as messages would be: a logger writes its header again, or is cut off."""
    replay.configure(source)
    lines = table(9).splitlines()
    lines.insert(4, ",Value,")
    lines.insert(7, "t,a,b")
    lines.append("10")
    options = ("--time-column", "t", "--time-unit", "s")
    found = replay.predictions(replay.file("press.csv", "\n".join(lines)), options=options)
    assert [p["timestamp"] // 10**9 for p in found] == [4, 5, 6, 7, 8, 9]
    said = " ".join(replay.said)
    assert "1 row not used; the first:" in said
    assert "must have 3 columns, as the first line (found 1)" in said
    if source is UNTIMED:
        assert "2 rows not used; the first:" in said
        assert "row 5: must hold a time in the declared unit (found None)" in said
    else:
        assert "p: 1 dropped, no_time" in said or "p: 2 dropped, invalid_time" in said


def test_a_table_of_which_no_row_can_be_used_is_refused(replay: Replay) -> None:
    replay.configure(UNTIMED)
    rule = replay.refusal(
        replay.file("press.csv", "t,a,b\nx,1,2\ny,1,2\n"),
        options=("--time-column", "t", "--time-unit", "s"),
    )
    assert rule == "press.csv: row 2: must hold a time in the declared unit (found 'x')"


def test_a_column_without_a_name_may_be_the_time(replay: Replay) -> None:
    rows = table().replace("t,a,b", ",a,b")
    found = replay.predictions(replay.file("press.csv", rows), options=("--time-column", ""))
    assert [p["timestamp"] // 10**9 for p in found] == [4, 5, 6]


def test_a_table(replay: Replay) -> None:
    found = replay.predictions(replay.file("press.csv", table()))
    assert [p["timestamp"] for p in found] == [4 * 10**9, 5 * 10**9, 6 * 10**9]
    assert [p["score"] for p in found] == [3.5, 4.5, 5.5]
    assert {p["asset"] for p in found} == {"press"}
    assert replay.said == [f"6 messages, 3 predictions in {replay.output}"]


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_delimiters(replay: Replay, separator: str) -> None:
    file = replay.file("press.csv", table(separator=separator))
    assert len(replay.predictions(file, options=("--delimiter", separator))) == 3
    assert replay.refusal(file).startswith("press.csv: has no column of a signal of mean; it has: ")


def test_what_spreadsheets_write(replay: Replay) -> None:
    """A byte order mark, carriage returns, quotes, a blank line at the end."""
    text = "\ufeff" + table().replace("\n", "\r\n").replace("a", '"a"') + "\r\n"
    assert len(replay.predictions(replay.file("press.csv", text))) == 3


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("", "press.csv: has no column of a signal of mean; it has: none"),
        ("t,x,y\n1,2,3\n", "press.csv: has no column of a signal of mean; it has: "),
        (
            "time,a,b\n1,2,3\n",
            ("press.csv: has no time column `t` (see --time-column); it has: "
            "time, a, b"),
        ),
        (
            "t,a,b\n1,1,1\n2,2\n",
            "press.csv: row 3: must have 3 columns, as the first line (found 2)",
        ),
        ("t,a,b\n1,1,1,1\n", "press.csv: row 2: must have 3 columns, as the first line (found 4)"),
        (b"t,a,b\n1,1,\xff\n", "press.csv: line "),
        (table().encode("utf-16"), "press.csv: line "),
        ("t,a,b\n1,1," + "9" * 200_000 + "\n", "press.csv: line "),
        ("t,t,a,b\n1,1,1,1\n", "press.csv: the column `t` stands twice"),
    ],
)  # fmt: skip
def test_tables_that_are_none(replay: Replay, content: str | bytes, wanted: str) -> None:
    assert replay.refusal(replay.file("press.csv", content)).startswith(wanted)


def test_values_that_are_no_numbers(replay: Replay) -> None:
    """They are counted and held, as they are live."""
    rows = "t,a,b\n1,1,1\n2,2,1\n3,Bad,1\n4,4,\n5,nan,1\n6,inf,1\n7,1e999,1\n8,8,1\n9,,\n"
    found = replay.predictions(replay.file("press.csv", rows))
    assert [p["timestamp"] // 10**9 for p in found] == [4, 5, 6, 7, 8, 9]
    assert {p["quality"] for p in found} <= {"uncertain", "bad"}
    assert "p: 3 invalid values, not_a_number" in replay.said
    assert "p: 4 invalid values, missing" in replay.said


def test_numbers_json_has_no_room_for(replay: Replay) -> None:
    big = "1" + "0" * 30
    rows = f"t,a,b\n1,1,1\n2,{big},1\n3,3,1\n4,-{big},1\n5,5,1\n"
    assert len(replay.predictions(replay.file("press.csv", rows))) == 2


def test_digits_with_underscores_are_no_number(replay: Replay) -> None:
    rows = "t,a,b\n1,1,1\n2,1_0,1\n3,3,1\n4,4,1\n"
    replay.predictions(replay.file("press.csv", rows))
    assert "p: 1 invalid values, not_a_number" in replay.said


def test_times_that_are_none_are_counted(replay: Replay) -> None:
    rows = "t,a,b\n1,1,1\nnever,1,1\n,1,1\n-5,1,1\n2,2,1\n3,3,1\n4,4,1\n"
    assert len(replay.predictions(replay.file("press.csv", rows))) == 1
    assert "p: 3 dropped, invalid_time" in replay.said


@pytest.mark.parametrize(
    ("unit", "times"),
    [
        ("ms", ["1000", "2000", "3000", "4000"]),
        ("us", ["1000000", "2000000", "3000000", "4000000"]),
        ("ns", ["1000000000", "2000000000", "3000000000", "4000000000"]),
        ("iso", [f"1970-01-01 00:00:0{n}Z" for n in (1, 2, 3, 4)]),
    ],
)
@pytest.mark.parametrize("declared", ["s", "ms", "ns", "iso", None])
def test_time_units(replay: Replay, unit: str, times: list[str], declared: str | None) -> None:
    """The file's unit may be another than the messages': the predictions' time is the same."""
    if declared is None:
        replay.configure({"topic": SOURCE["topic"]})
    else:
        replay.configure({**SOURCE, "time": {"path": "t", "unit": declared}})
    rows = "when,a,b\n" + "".join(f"{at},1,1\n" for at in times)
    options = ("--time-column", "when", "--time-unit", unit)
    (found,) = replay.predictions(replay.file("press.csv", rows), options=options)
    assert found["timestamp"] == 4 * 10**9


def test_a_time_that_cannot_be_converted_names_its_row(replay: Replay) -> None:
    file = replay.file("press.csv", "t,a,b\n2024-01-01T00:00:00,1,1\nx,1,1\n")
    assert replay.refusal(file, options=("--time-unit", "iso")) == (
        "press.csv: row 3: must hold a time in the declared unit (found 'x')"
    )


def test_an_asset_column(replay: Replay) -> None:
    rows = "t,a,b,machine\n" + "".join(
        f"{t},{t},1,{name}\n" for t in range(1, 6) for name in ("007", "press-2")
    )
    found = replay.predictions(replay.file("x.csv", rows), options=("--asset-column", "machine"))
    assert sorted(p["asset"] for p in found) == ["007", "007", "press-2", "press-2"]
    assert replay.refusal(
        replay.file("x.csv", rows), options=("--asset-column", "nothing")
    ).startswith("x.csv: has no asset column `nothing`")


def test_a_row_without_an_asset(replay: Replay) -> None:
    rows = "t,a,b,machine\n1,1,1,m\n2,1,1,\n"
    assert replay.refusal(
        replay.file("x.csv", rows), options=("--asset-column", "machine")
    ).startswith("x.csv: row 3: must name an asset")


def test_the_asset_of_a_file(replay: Replay) -> None:
    file = replay.file("x.csv", table())
    assert {p["asset"] for p in replay.predictions(file, options=("--asset", "m-1"))} == {"m-1"}


def test_the_layout_tag(replay: Replay) -> None:
    replay.configure(TAGS | {"signals": {"a": {"tag": "PLC.A"}}}, stream={"alignment": "hold"})
    rows = "t,PLC.A,b\n" + "".join(f"{t},{t},1\n" for t in range(1, 8))
    found = replay.predictions(replay.file("press.csv", rows))
    assert [p["score"] for p in found] == [3.5, 4.5, 5.5, 6.5]
    assert {p["asset"] for p in found} == {"press"}


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("absent.csv", "absent.csv: no such file"),
        ("a.xlsx", "a.xlsx: must end in one of .csv, .jsonl, .parquet (found '.xlsx')"),
        ("none", "none: must end in one of .csv, .jsonl, .parquet (found '')"),
    ],
)
def test_files_that_are_not_read(replay: Replay, name: str, wanted: str) -> None:
    if not name.startswith("absent"):
        replay.file(name, "x")
    assert replay.refusal(replay.folder / name) == wanted


def test_parquet_without_pyarrow(replay: Replay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    file = replay.file("press.parquet", b"PAR1")
    assert replay.refusal(file) == (
        "press.parquet: Parquet needs pyarrow; install edgeai with its extra `train`: "
        "in a checkout, pip install '.[train]'"
    )


def test_the_input_is_never_the_output(replay: Replay) -> None:
    replay.output = replay.file("press.jsonl", "precious\n")
    link = replay.folder / "link.jsonl"
    link.symlink_to(replay.output)
    for same in (replay.output, link, replay.folder / "mean" / ".." / "press.jsonl"):
        assert replay.refusal(same) == "press.jsonl: the output must not be an input"
    assert replay.output.read_text() == "precious\n"


def test_an_output_that_cannot_be_written(replay: Replay) -> None:
    file = replay.file("press.csv", table())
    replay.output = replay.folder / "no" / "such" / "out.jsonl"
    assert replay.refusal(file) == "no/such/out.jsonl: cannot be written: No such file or directory"


def test_which_pipeline_reads_a_table(replay: Replay) -> None:
    pipelines = {name: {"model": "mean", "source": SOURCE} for name in ("one", "two")}
    replay.config = write_config(replay.folder / "config.yaml", 1883, pipelines)
    file = replay.file("press.csv", table())
    wanted = "command line: --pipeline: a table needs one pipeline, chosen from: one, two"
    assert replay.refusal(file) == wanted
    found = replay.refusal(file, options=("--pipeline", "three"))
    assert found == "command line: --pipeline: must be one of one, two (found 'three')"


@pytest.mark.parametrize(
    "options", [("--time-unit", "min"), ("--delimiter", ",,"), ("--log-level", "loud")]
)
def test_options(replay: Replay, options: tuple[str, str]) -> None:
    assert replay.run(replay.file("press.csv", table()), options=options).code == 2


# ------------------------------------------------------------------------------------ recordings


def line(t: float, *, topic: str = "factory/m/sensors", payload: Any = None) -> str:
    body = {"t": t, "a": t, "b": 1} if payload is None else payload
    return json.dumps({"topic": topic, "payload": body, "received_ns": int(t * 1e9)}) + "\n"


def test_a_recording(replay: Replay) -> None:
    text = "\n".join(line(t) for t in range(1, 7))  # with blank lines between
    found = replay.predictions(replay.file("r.jsonl", text))
    assert [p["score"] for p in found] == [3.5, 4.5, 5.5]


def test_a_recording_of_bad_messages(replay: Replay) -> None:
    """What is bad live is bad here, is counted alike, and stops nothing."""
    deep = "[" * 3000 + "]" * 3000
    texts = [line(t) for t in range(1, 4)]
    texts.append(line(3.1, payload="not json"))
    texts.append(line(3.2, payload=[1, 2]))
    texts.append(line(3.3, payload=deep))
    texts.append(line(3.4, payload='{"t": 3.4, "a": 1' + "0" * 2_000_000 + "}"))
    texts.append(line(3.5, topic="elsewhere"))
    texts.append(line(3.6, payload={"a": 1, "b": 1}))
    texts.append(line(3.7, payload={"t": 3.7}))
    texts.append(line(4))
    found = replay.predictions(replay.file("r.jsonl", "".join(texts)))
    assert [p["score"] for p in found] == [3.5]
    assert sorted(replay.said[1:]) == [
        "no pipeline: 1 dropped, too_large",
        "no pipeline: 1 dropped, unexpected_topic",
        "p: 1 dropped, invalid_json",
        "p: 1 dropped, no_signal",
        "p: 1 dropped, no_time",
        "p: 1 dropped, not_an_object",
        "p: 1 dropped, too_deep",
    ]


@pytest.mark.parametrize(
    "bad",
    [
        "not json\n", "[]\n", "{}\n", '{"topic": "a", "payload": 1}\n',
        '{"topic": 1, "payload": 1, "received_ns": 1}\n',
        '{"topic": "a", "payload": 1, "tst": "yesterday"}\n',
        '{"topic": "a", "payload": 1, "received_ns": 1', '\x00\n',
        '{"topic": "a", "payload": 1, "received_ns": -1}\n',
        '{"topic": "a", "payload": 1, "received_ns": 99999999999999999999}\n',
    ],
)  # fmt: skip
def test_a_line_that_is_no_message(replay: Replay, bad: str) -> None:
    found = replay.refusal(replay.file("r.jsonl", line(1) + bad))
    assert found.startswith("r.jsonl: line 2: must be a message with topic, payload and tst: ")


@pytest.mark.broker
def test_what_mosquitto_sub_recorded(replay: Replay, tmp_path: Path) -> None:
    """Messages through a real broker, recorded by its own client, replayed."""
    if shutil.which("mosquitto_sub") is None:
        pytest.skip("mosquitto_sub is not installed (Debian: mosquitto-clients)")
    recording = tmp_path / "recording.jsonl"
    with start_mosquitto(tmp_path / "broker") as broker, recording.open("wb") as file:
        command = ["mosquitto_sub", "-p", str(broker.port), "-t", "factory/#", "-F", "%J"]
        recorder = subprocess.Popen(command, stdout=file, stderr=subprocess.DEVNULL)
        try:
            with peer(broker.port) as other:

                def recorded() -> bool:
                    other.publish("factory/warm/up", {"t": 0})
                    time.sleep(0.05)
                    return recording.stat().st_size > 0

                wait_for(recorded, "the recorder")
                for t in range(1, 7):
                    other.publish(
                        "factory/m-ü/sensors", {"t": t + 0.1, "a": t + 0.123456789012345, "b": 1}
                    )
                wait_for(lambda: recording.read_bytes().count(b"sensors") == 6, "the recording")
        finally:
            recorder.terminate()
            recorder.wait(patient(5))
    found = replay.predictions(recording)
    assert [p["asset"] for p in found] == ["m-ü"] * 3
    assert [p["timestamp"] for p in found] == [t * 10**9 + 10**8 for t in (4, 5, 6)]
    assert found[0]["score"] == pytest.approx(2.5 + 0.123456789012345 + 1, rel=1e-6)


def test_a_defect_costs_its_message_in_a_replay_too(
    replay: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeai.decoding.rows import RowDecoder

    real = RowDecoder.__init__

    def init(self: Any, *arguments: Any) -> None:
        real(self, *arguments)
        one, many = self.decode, self.decode_many

        def decode(payload: bytes) -> Any:
            if b"boom" in payload:
                raise ZeroDivisionError("planted")
            return one(payload)

        self.decode = decode
        self.decode_many = lambda messages: [decode(one[1]) for one in messages] and many(messages)

    monkeypatch.setattr(RowDecoder, "__init__", init)
    texts = [line(t) for t in range(1, 7)]
    texts.insert(3, line(3.5, payload={"t": 3.5, "a": "boom"}))
    found = replay.predictions(replay.file("r.jsonl", "".join(texts)))
    assert [p["score"] for p in found] == [3.5, 4.5, 5.5]
    assert "p: 1 dropped, internal_error" in replay.said
