"""A day of the machine: no alarm from a change of state, and every fault found in each product."""

from __future__ import annotations

import os
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeai.plant.day import DAY_SIGNALS, PRODUCTION, DayMachine, plan_day
from edgeai.plant.injection import OPEN
from edgeai.plant.moulding import FAULTS, RATE_HZ, Moulding
from tests.support.day import faults_in_each_product, run_day

STATES = {
    "warming_up", "set_up", "stopped", "waiting", "producing_a", "producing_b", "transition",
}  # fmt: skip


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_a_day_has_every_fault_in_each_product_and_no_stop_within_one(
    seed: int, short: bool
) -> None:
    day = plan_day(seed, short=short)
    assert faults_in_each_product(day) == {one: set(FAULTS) for one in PRODUCTION}
    ends = [(fault.start_seconds, fault.duration_seconds) for fault in day.faults]
    for (start, length), (following, _) in pairwise(sorted(ends)):
        assert start + length < following
    for at, length in day.short_stops:
        assert all(at + length < start or at > start + lasts for start, lasts in ends)
    assert day.seconds < 24 * 3600


def test_the_controller_says_what_the_machine_does() -> None:
    day = plan_day(1, short=True)
    machine = DayMachine(day, 1)
    names = [signal.name for signal in DAY_SIGNALS]
    first = next(machine.readings())[1]
    assert first[names.index("operating_mode")] == day.parts[0].mode
    assert first[names.index("melt_temperature")] < 220, "in production it is about 230"
    assert first[names.index("phase")] == OPEN


def test_a_machine_that_is_held_finishes_its_cycle_and_waits_with_an_open_mould() -> None:
    machine = Moulding(3)
    machine.operate(is_held=True)
    waited = [machine.step() for _ in range(round(30 * RATE_HZ))]
    phases = [int(row[0]) for row in waited]
    assert phases[-200:] == [OPEN] * 200
    assert abs(waited[-1][10]) < 50  # the clamp has no force
    assert waited[-1][12] > 20  # seconds since the phase began
    machine.operate()
    after = [machine.step() for _ in range(round(7 * RATE_HZ))]
    assert {int(row[0]) for row in after} == {0, 1, 2, 3}


def test_a_machine_in_production_is_as_one_without_a_day() -> None:
    told, plain = Moulding(5), Moulding(5)
    for _ in range(60):
        told.operate()
        assert (told.step() == plain.step()).all()


@pytest.mark.system
def test_a_day_without_a_false_alarm_and_with_every_fault_found() -> None:
    """A day of two hours: the parts are shorter, the machine and its stops are as they are."""
    outcome = run_day(plan_day(1, short=True), 1)
    assert outcome.false_alarms() == []
    assert outcome.missed() == []
    assert set(outcome.states) == STATES
    assert len(outcome.changes) >= 12


@pytest.mark.skipif("EDGEAI_TEST_EXAMPLES" not in os.environ, reason="long tests only")
@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(more=st.integers(0, 10**6))
def test_whole_days_without_an_alarm_from_a_change_of_state(more: int) -> None:
    """Each example is one day of 24 h, each round has another seed.

    A false alarm far from any change is the model's own: it promises 0.1 a day.
    """
    seed = int(os.environ.get("EDGEAI_TEST_SEED", "0")) + more
    outcome = run_day(plan_day(seed), seed)
    false = outcome.false_alarms()
    print(f"seed {seed}: {len(outcome.changes)} changes of state, false alarms {false}")
    assert outcome.blamed_on_changes() == []
    assert outcome.missed() == []
    assert set(outcome.states) >= STATES - {"waiting"}
    assert len(false) <= 3
