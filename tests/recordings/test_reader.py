"""Recordings as messages: where each stands, text encodings, rows without a time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeai.config.source import SourceConfig
from edgeai.errors import ConfigError
from edgeai.recordings.reader import RecordingReader
from edgeai.recordings.tables import TableMapping, TableOptions, is_encoding
from edgeai.recordings.times import readable

SOURCE = SourceConfig.model_validate(
    {"topic": "f/{asset}", "time": {"path": "t", "unit": "s"}, "signals": {"pressure": "압력"}}
)
TEXT = "t,압력\n1,10\n\n2,20\n"


def read(path: Path, source: SourceConfig = SOURCE, **options):
    mapping = TableMapping("p", source, ["pressure"], "m")
    return list(RecordingReader([path], {"p": mapping}, TableOptions(**options)).messages())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "euc-kr"])
def test_text_encodings(tmp_path, encoding):
    path = tmp_path / "press.csv"
    path.write_bytes(TEXT.encode(encoding))
    found = read(path, encoding=encoding)
    assert [json.loads(one.message[1]) for one in found] == [
        {"t": 1, "압력": 10},
        {"t": 2, "압력": 20},
    ]
    assert [one.number for one in found] == [2, 4]


def test_another_encoding_names_the_option(tmp_path):
    path = tmp_path / "press.csv"
    path.write_bytes(TEXT.encode("cp949"))
    with pytest.raises(ConfigError, match=r"press.csv: line 1: is not utf-8 text \(option `encod"):
        read(path)


@pytest.mark.parametrize(
    ("name", "usable"),
    [("utf-8", True), ("cp949", True), ("latin-1", True), ("utf-16", False), ("rot13", False)],
)
def test_only_encodings_that_can_be_read_by_line(name, usable):
    assert is_encoding(name) is usable


def test_rows_without_a_time_are_evenly_spaced(tmp_path):
    path = tmp_path / "press.csv"
    path.write_text("압력\n10\n20\n30\n", encoding="utf-8")
    source = SourceConfig.model_validate({"topic": "f/{asset}", "signals": {"pressure": "압력"}})
    found = read(path, source, evenly_spaced_ns=500)
    assert [one.message[2] for one in found] == [500, 1000, 1500]


def test_the_declared_column_comes_before_one_of_the_signals_name(tmp_path):
    path = tmp_path / "press.csv"
    path.write_text("t,pressure,압력\n1,99,10\n", encoding="utf-8")
    assert json.loads(read(path)[0].message[1])["압력"] == 10


def test_a_signal_without_a_column_is_named(tmp_path):
    path = tmp_path / "press.csv"
    path.write_text("t,x\n1,99\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="has no column of a signal of m"):
        read(path)
    mapping = TableMapping("p", SOURCE, ["pressure", "x"], "m")
    options = TableOptions(every_signal=True)
    with pytest.raises(ConfigError, match="has no column of the signals pressure"):
        list(RecordingReader([path], {"p": mapping}, options).messages())


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("%Y/%m/%d %H:%M", "1970/01/01 9:01"),
        ("%d.%m.%Y %H:%M:%S", "01.01.1970 09:01:00"),
        ("%m%d%Y%H%M", "010119700901"),  # a number with a leading zero, and a text
        ("%Y-%m-%dT%H:%M%z", "1970-01-01T00:01+0000"),
    ],
)
def test_times_of_another_form(tmp_path, form, text):
    path = tmp_path / "press.csv"
    path.write_text(f"t,압력\n{text},10\n", encoding="utf-8")
    (found,) = read(path, time_format=form, time_zone="Asia/Seoul")
    assert json.loads(found.message[1])["t"] == 60
    assert found.message[2] == 60 * 10**9


@pytest.mark.parametrize(
    ("time_ns", "zone", "text"),
    [
        (0, None, "1970-01-01 00:00:00+00:00"),
        (1_500_000_000, "Asia/Seoul", "1970-01-01 09:00:01.5+09:00"),
        (1, "UTC", "1970-01-01 00:00:00.000000001+00:00"),
    ],
)
def test_times_for_people(time_ns, zone, text):
    assert readable(time_ns, zone) == text
