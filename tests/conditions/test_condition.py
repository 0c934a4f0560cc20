"""Conditions: three-valued, one sample at a time or many, compared with a naive evaluation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeai.conditions.condition import (
    FALSE,
    TRUE,
    UNKNOWN,
    compile_condition,
    needs_sample_before,
    signals_of,
)
from edgeai.config.conditions import MAX_DEPTH, ConditionConfig
from edgeai.config.yaml_file import validate
from edgeai.errors import ConfigError

COLUMNS = {"a": 0, "b": 2}
VALUES = (0.0, 0.1, 1.0, 2.0, 3.0, math.nan)
NAMES = {True: TRUE, False: FALSE, None: UNKNOWN}


# ------------------------------------------------------------------ the naive evaluation, by hand


class Naive:
    """Evaluates a condition sample by sample; True, False, or None where it is not known."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        parts = spec.get("all") or spec.get("any") or ([spec["not"]] if "not" in spec else [])
        self.parts = [Naive(part) for part in parts]
        self.level: bool | None = None
        self.known_level: bool | None = None
        self.known_value: float | None = None

    def at(self, sample: dict[str, float]) -> bool | None:
        spec = self.spec
        found = [part.at(sample) for part in self.parts]
        if "not" in spec:
            return None if found[0] is None else not found[0]
        if "all" in spec:
            return False if False in found else None if None in found else True
        if "any" in spec:
            return True if True in found else None if None in found else False
        value = np.float32(sample[spec["signal"]])
        return self.of_value(None if np.isnan(value) else value)

    def of_value(self, value: Any) -> bool | None:
        spec = self.spec
        for name in ("rises_above", "falls_below"):
            if name in spec:
                return self.crossing(
                    "above" if name == "rises_above" else "below", spec[name], value
                )
        for name in ("above", "below"):
            if name in spec:
                return self.leveled(name, spec[name], value)
        before, self.known_value = self.known_value, self.known_value if value is None else value
        if value is None:
            return None
        if "between" in spec:
            low, high = map(np.float32, spec["between"])
            return bool(low <= value <= high)
        if "equals" in spec:
            return bool(value == np.float32(spec["equals"]))
        if "not_equals" in spec:
            return bool(value != np.float32(spec["not_equals"]))
        if "one_of" in spec:
            return any(value == np.float32(one) for one in spec["one_of"])
        if before is None:
            return None
        if "increases" in spec:
            return bool(value > before)
        return bool(value < before) if "decreases" in spec else bool(value != before)

    def leveled(self, name: str, limit: float, value: Any) -> bool | None:
        width = self.spec.get("hysteresis", 0.0)
        sign = 1 if name == "above" else -1
        if value is None:
            self.level = None
        elif sign * value > sign * np.float32(limit):
            self.level = True
        elif sign * value <= sign * np.float32(limit - sign * width):
            self.level = False
        return self.level

    def crossing(self, name: str, limit: float, value: Any) -> bool | None:
        level, before = self.leveled(name, limit, value), self.known_level
        if level is not None:
            self.known_level = level
        if level is None:
            return None
        if not level:
            return False
        return None if before is None else not before


def numbers() -> st.SearchStrategy[float]:
    return st.sampled_from(VALUES[:-1])


def single() -> st.SearchStrategy[dict[str, Any]]:
    signal = st.sampled_from(list(COLUMNS))
    limits = ["above", "below", "rises_above", "falls_below"]
    return st.one_of(
        st.builds(
            lambda s, name, x, h: {"signal": s, name: x} | ({"hysteresis": h} if h else {}),
            signal, st.sampled_from(limits), numbers(), st.sampled_from([0.0, 0.5, 1.0, 2.0]),
        ),
        st.builds(lambda s, x, y: {"signal": s, "between": sorted([x, y])},
                  signal, numbers(), numbers()),
        st.builds(lambda s, n, x: {"signal": s, n: x}, signal,
                  st.sampled_from(["equals", "not_equals"]), numbers()),
        st.builds(lambda s, x: {"signal": s, "one_of": x}, signal,
                  st.lists(numbers(), min_size=1, max_size=3)),
        st.builds(lambda s, n: {"signal": s, n: True}, signal,
                  st.sampled_from(["changes", "increases", "decreases"])),
    )  # fmt: skip


def conditions() -> st.SearchStrategy[dict[str, Any]]:
    return st.recursive(
        single(),
        lambda inner: st.one_of(
            st.builds(lambda part: {"not": part}, inner),
            st.builds(
                lambda name, parts: {name: parts},
                st.sampled_from(["all", "any"]),
                st.lists(inner, min_size=1, max_size=3),
            ),
        ),
        max_leaves=5,
    )


@given(
    conditions(),
    st.lists(st.tuples(st.sampled_from(VALUES), st.sampled_from(VALUES)), max_size=12),
    st.lists(st.integers(1, 5), min_size=1, max_size=4),
)
def test_a_condition_is_what_a_naive_evaluation_says_however_samples_are_split(
    spec: dict[str, Any], samples: list[tuple[float, float]], steps: list[int]
) -> None:
    assert validate(ConditionConfig, spec, "f").spec() == spec
    naive = Naive(spec)
    wanted = [NAMES[naive.at({"a": a, "b": b})] for a, b in samples]
    rows = np.array([[a, 7.0, b] for a, b in samples], np.float32).reshape(-1, 3)
    evaluation = compile_condition(spec, COLUMNS).start()
    found: list[int] = []
    begin = 0
    while begin < len(rows):
        size = steps[len(found) % len(steps)]
        found += evaluation.step(rows[begin : begin + size]).tolist()
        begin += size
    assert found == wanted
    evaluation.restart()
    assert evaluation.step(rows).tolist() == wanted


@pytest.mark.parametrize(
    ("spec", "values", "wanted"),
    [
        ({"above": 10}, [10, 11, math.nan, 11], "ft?t"),
        ({"above": 10, "hysteresis": 2}, [9, 11, 9, 8, 9, 11], "?ttfft"),
        ({"above": 10, "hysteresis": 2}, [11, math.nan, 9, 8], "t??f"),
        ({"below": 10, "hysteresis": 2}, [9, 11, 12, 11, 9], "ttfft"),
        ({"rises_above": 10, "hysteresis": 2}, [8, 11, 9, 11, 8, 11], "ftfFft"),
        ({"rises_above": 10}, [11, 9, 11], "?ft"),
        ({"rises_above": 10}, [9, math.nan, 11], "f?t"),
        ({"falls_below": 10}, [11, 9, 9], "ftf"),
        ({"changes": True}, [1, 1, 2, math.nan, 2, math.nan, 3], "?ft?f?t"),
        ({"increases": True}, [1, 2, 2, 1], "?tff"),
        ({"decreases": True}, [1, 2, 2, 1], "?fft"),
        ({"equals": 0.1}, [0.1, 0.2], "tf"),
        ({"equals": True}, [1, 0], "tf"),
        ({"one_of": [1, True, 3]}, [1, 2, 3], "tft"),
        ({"between": [1, 2]}, [1, 2, 2.1], "ttf"),
    ],
)
def test_operators(spec: dict[str, Any], values: list[float], wanted: str) -> None:
    rows = np.array(values, np.float32).reshape(-1, 1)
    found = compile_condition({"signal": "a", **spec}, {"a": 0}).start().step(rows)
    assert "".join("f?t"[code] for code in found) == wanted.lower()


def test_a_value_that_is_not_known_decides_nothing_that_others_do_not_decide() -> None:
    off = {"signal": "a", "equals": 0.0}
    unknown = np.array([[math.nan, 1.0], [0.0, math.nan]], np.float32)
    both = {"all": [off, {"signal": "b", "equals": 1.0}]}
    columns = {"a": 0, "b": 1}
    assert compile_condition(both, columns).start().step(unknown).tolist() == [UNKNOWN] * 2
    assert compile_condition({"not": both}, columns).start().step(unknown).tolist() == [UNKNOWN] * 2
    known = np.array([[math.nan, 2.0]], np.float32)
    assert compile_condition(both, columns).start().step(known).tolist() == [FALSE]


def test_signals_and_changes_are_found_in_every_depth() -> None:
    spec = {
        "all": [{"signal": "x", "above": 1}, {"not": {"any": [{"signal": "y", "changes": True}]}}]
    }
    assert list(signals_of(spec)) == ["x", "y"]
    assert needs_sample_before(spec)
    assert not needs_sample_before({"not": {"signal": "x", "above": 1}})
    with pytest.raises(KeyError):
        compile_condition(spec, {"x": 0})


def deep(depth: int) -> dict[str, Any]:
    spec: dict[str, Any] = {"signal": "a", "above": 1}
    for _ in range(depth - 1):
        spec = {"not": spec}
    return spec


@pytest.mark.parametrize(
    ("spec", "rule"),
    [
        ({"signal": "a"}, "needs one of above, below"),
        ({"above": 1}, "`above` needs the key `signal`"),
        ({"signal": "a", "above": 1, "below": 0}, "takes one operator, but has above, below"),
        ({"signal": "a", "abov": 1}, "did you mean `above`?"),
        ({"signal": "a", "equals": 1, "hysteresis": 1}, "`hysteresis` belongs to above, below"),
        ({"signal": "a", "above": 1, "hysteresis": -1}, "hysteresis"),
        ({"signal": "a", "between": [2, 1]}, "must not be above the second"),
        ({"signal": "a", "between": [2]}, "between"),
        ({"signal": "a", "one_of": []}, "one_of"),
        ({"signal": "a", "changes": False}, "changes"),
        ({"signal": "a", "equals": "AUTO"}, "gets its number by `value_map`"),
        ({"signal": "a", "above": math.inf}, "above"),
        ({"all": [], "signal": "a"}, "all"),
        ({"not": {"signal": "a", "above": 1}, "signal": "b"}, "`not` stands alone in its map"),
        (deep(MAX_DEPTH + 1), "nested more than 16 deep"),
        (deep(3000), "nest"),
    ],
)  # fmt: skip
def test_a_wrong_condition_is_refused_with_its_rule(spec: dict[str, Any], rule: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(ConditionConfig, spec, "line.yaml")
    assert rule in str(caught.value)


def test_the_deepest_condition_is_accepted() -> None:
    assert validate(ConditionConfig, deep(MAX_DEPTH), "line.yaml").signals == ["a"]
