"""Forms of times: a text is read back as the moment that was written, or not at all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from edgeai.config.records import MessageTime
from edgeai.config.time_format import TimeFormat

MOMENTS = st.datetimes(
    datetime.fromisoformat("2001-01-01"), datetime.fromisoformat("2068-12-31")
).map(lambda moment: moment.replace(microsecond=0))
FORMS = [
    "%Y-%m-%d %H:%M:%S", "%Y/%m/%d %H:%M:%S", "%d.%m.%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p",
    "%Y%m%d%H%M%S", "%y%m%d %H%M%S", "%a, %d %b %Y %H:%M:%S", "%Y-%j %H:%M:%S",
    "%Y년 %m월 %d일 %H시 %M분 %S초",
    "%B %d, %Y %H:%M:%S", "[%S] %M_%H %d%m%Y", "%p %I:%M:%S %Y. %m. %d.",
]  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(MOMENTS, st.sampled_from(FORMS))
def test_what_strftime_writes_is_read(moment: datetime, form: str) -> None:
    text = moment.strftime(form)
    assert TimeFormat(form).read(f" {text}\n") == (moment, 0)
    loose = text.replace(" 0", " ")
    assert TimeFormat(form).read(loose) in {(moment, 0), None}  # never another moment
    assert datetime.strptime(text, form) == moment  # noqa: DTZ007  as Python reads it
    korean = text.replace("AM", "오전").replace("PM", "오후")
    assert TimeFormat(form).read(korean) == (moment, 0)


@settings(max_examples=25, deadline=None)
@given(MOMENTS, st.sampled_from(FORMS), st.text("0123456789 :-/.월AMP오후", max_size=30))
def test_another_text_is_none_or_a_moment(moment: datetime, form: str, text: str) -> None:
    for one in (text, moment.strftime(form)[:-2], moment.strftime(form) + text):
        found = TimeFormat(form).read(one)
        assert found is None or (found.date.tzinfo is None and 0 <= found.nanoseconds < 10**9)


@pytest.mark.parametrize(
    ("form", "text", "wanted"),
    [
        ("%Y-%m-%d %H:%M:%S.%f", "2025-11-21 19:00:00.25", ("2025-11-21T19:00:00", 250_000_000)),
        ("%Y-%m-%d %H:%M:%S.%f", "2025-11-21 19:00:00", ("2025-11-21T19:00:00", 0)),
        ("%Y%m%d%H%M%S%f", "20251121190000123", ("2025-11-21T19:00:00", 123_000_000)),
        ("%Y-%m-%d %p %I:%M", "2025-11-21 오전 12:30", ("2025-11-21T00:30:00", 0)),
        ("%Y-%m-%d %p %I:%M", "2025-11-21 오후 12:30", ("2025-11-21T12:30:00", 0)),
        ("%Y-%m-%d %p %I:%M", "2025-11-21 오후 13:30", None),
        ("%m/%d/%Y, %I:%M:%S %p", "11/21/2025, 7:00:00\u202fPM", ("2025-11-21T19:00:00", 0)),
        ("%a %b %d %H:%M:%S KST %Y", "금 Nov 21 19:00:00 KST 2025", ("2025-11-21T19:00:00", 0)),
        ("%d-%b-%y %H:%M", "21-nov-25 19:00", ("2025-11-21T19:00:00", 0)),
        ("%Y-%m-%d", "2025-02-30", None),
        ("%Y-%m-%d", "2025-13-01", None),
        ("%Y-%j", "2025-366", None),
        ("%Y%m%d", "2025112", None),
        ("100%% %Y-%m-%d", "100% 2025-11-21", ("2025-11-21T00:00:00", 0)),
    ],
)
def test_texts(form: str, text: str, wanted: Any) -> None:
    found = TimeFormat(form).read(text)
    assert (found and (found.date.isoformat(), found.nanoseconds)) == wanted


@pytest.mark.parametrize(
    ("form", "text", "seconds"),
    [
        ("%Y-%m-%d %H:%M %z", "2025-11-21 19:00 +0900", 1_763_719_200),
        ("%Y-%m-%d %H:%M%z", "2025-11-21 19:00+09:00", 1_763_719_200),
        ("%Y-%m-%d %H:%M%z", "2025-11-21 19:00+9", None),
        ("%Y-%m-%d %H:%M %z", "2025-11-21 10:00 UTC", 1_763_719_200),
        ("%Y-%m-%d %H:%M%z", "2025-11-21 10:00Z", 1_763_719_200),
        ("%Y-%m-%d %H:%M%z[Asia/Seoul]", "2025-11-21 19:00+09[Asia/Seoul]", 1_763_719_200),
        ("/Date(%Q)/", "/Date(1763719200250)/", 1_763_719_200),
        ("%s.%f", "1763719200.25", 1_763_719_200),
    ],
)
def test_texts_that_name_a_moment(form: str, text: str, seconds: int | None) -> None:
    read = TimeFormat(form)
    assert read.has_offset
    found = read.read(text)
    assert (found and found.date) == (seconds and datetime.fromtimestamp(seconds, UTC))


@pytest.mark.parametrize(
    ("form", "rule"),
    [
        ("%H:%M:%S", "holds no year"),
        ("%Y %H", "holds no day"),
        ("%Y-%m-%d %I:%M", "but no %p"),
        ("%Y-%m-%d %M", "holds no hour"),
        ("%Y-%m-%d %Y", "holds %Y twice"),
        ("%Y-%m-%d %U", "unknown sign %U; known: %Y"),
        ("%Y-%m-%d %", "ends with a single %"),
        ("yyyy-MM-dd", "holds no year"),
    ],
)
def test_forms_that_are_refused(form: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        TimeFormat(form)
    with pytest.raises(ValidationError, match=rule):
        MessageTime.model_validate({"path": "t", "unit": "iso", "format": form, "zone": "UTC"})


@pytest.mark.parametrize(
    ("keys", "rule"),
    [
        ({"unit": "iso", "format": "%Y-%m-%d"}, "holds no offset"),
        ({"unit": "s", "format": "%s"}, "belongs to the unit `iso`"),
        ({"unit": "excel"}, "`zone` is required"),
        ({"unit": "filetime", "zone": "Asia/Seoul"}, "which is UTC"),
        ({"unit": "s", "zone": "Asia/Atlantis"}, "unknown time zone"),
        ({"unit": "s", "more_paths": ["c"]}, "belong to the unit `iso`"),
        ({"unit": "s", "zone": "UTC", "relative_below_seconds": 9}, "it has a `zone`"),
        ({"unit": "excel", "zone": "UTC", "relative_below_seconds": 9}, "needs a number"),
    ],
)
def test_keys_of_a_time_that_do_not_fit(keys: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValidationError, match=rule):
        MessageTime.model_validate({"path": "t", **keys})


def test_an_example_has_the_form() -> None:
    for form in [*FORMS, "%Y-%m-%dT%H:%M:%S.%f%z", "/Date(%Q)/", "100%% %s"]:
        read = TimeFormat(form)
        found = read.read(read.example)
        assert found is not None
        zone = timezone(timedelta(hours=9))
        assert (
            abs(found.date.replace(tzinfo=found.date.tzinfo or zone).timestamp() - 1763719509) < 1
        )
