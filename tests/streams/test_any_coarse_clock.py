"""Any sender whose clock has steps, with anything that happens to its samples on their way.

The value of each sample is its number, so a window tells which samples it holds.
"""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgeai.messages import SECOND_NS
from edgeai.streams.clock_steps import MILLISECOND_NS, RESOLUTIONS_NS, TICK_NS
from tests.streams.test_time import Line

START_NS = 1_763_719_200 * SECOND_NS  # a whole minute


class Sender(NamedTuple):
    """A sender, and what happens to its samples."""

    step_ns: int
    per_step: float
    """Samples in a step of the clock, by the model's rate."""
    speed: float = 1.0
    """Its rate, as a part of the model's."""
    phase: float = 0.0
    """When its first sample is measured, in steps after one begins."""
    jitter: float = 0.0
    """How far samples are from an even pace, in periods."""
    is_declared: bool = False
    lost: float = 0.0
    """Share of the samples that are lost."""
    again: float = 0.0
    """Share that comes twice; 1: all do, also the first ones."""
    delay: float = 0.01
    """How much later it comes again, in periods."""
    swapped: float = 0.0
    """Share that comes after the next one."""
    block: int = 1
    """So many samples arrive together."""
    gap: int = 0
    """So many samples are not sent in the middle."""
    seed: int = 0
    samples: int = 120

    @property
    def period_ns(self) -> int:
        return max(1, round(self.step_ns / self.per_step))

    def stamp_of(self, time_ns: int) -> int:
        if self.step_ns != TICK_NS:
            return time_ns // self.step_ns * self.step_ns
        begin_ns = 7_654_321  # it runs since the machine was started; senders write milliseconds
        stamp_ns = (time_ns - begin_ns) // self.step_ns * self.step_ns + begin_ns
        return stamp_ns // MILLISECOND_NS * MILLISECOND_NS


class Sample(NamedTuple):
    number: int
    true_ns: int
    stamp_ns: int
    arrived_ns: int


def samples_of(sender: Sender) -> list[Sample]:
    """Return what arrives, in this order."""
    draw = random.Random(sender.seed)
    period_ns = sender.period_ns
    sent = []
    for number in range(sender.samples):
        at = (number + draw.uniform(-1, 1) * sender.jitter / 2) / sender.speed * period_ns
        true_ns = START_NS + round(sender.phase * sender.step_ns + at)
        if sender.gap and number >= sender.samples // 2:
            true_ns += sender.gap * period_ns
        stamp_ns = sender.stamp_of(true_ns)
        sent.append(Sample(number, true_ns, stamp_ns, true_ns + period_ns // 100))
    if sender.block > 1:
        for begin in range(0, len(sent), sender.block):
            part = slice(begin, begin + sender.block)
            last_ns = sent[part][-1].arrived_ns
            sent[part] = [
                one._replace(arrived_ns=last_ns + index * period_ns // 1000)
                for index, one in enumerate(sent[part])
            ]
    came: list[Sample] = []
    first = 4 if sender.is_declared else 40  # samples are lost when the clock is known
    for one in sent:
        if draw.random() < sender.lost and one.number >= first:
            continue
        came.append(one)
        if draw.random() < sender.again:
            delay_ns = round(sender.delay * period_ns)
            came.append(one._replace(arrived_ns=one.arrived_ns + delay_ns))
    if sender.again:
        came.sort(key=lambda one: one.arrived_ns)
    for index in range(first, len(came)):
        is_other = came[index].stamp_ns != came[index - 1].stamp_ns  # else nothing can tell
        if draw.random() < sender.swapped and is_other:
            first, second = came[index - 1 : index + 1]
            came[index - 1 : index + 1] = [
                second, first._replace(arrived_ns=second.arrived_ns + period_ns // 100)
            ]  # fmt: skip
    return came


def play(
    sender: Sender, length: int, *, once: bool = False, **changes: Any
) -> tuple[Line, list[Sample]]:
    """Return a stream that has taken the samples; `once`: those that come twice only once."""
    line = Line(
        length=length, period_ns=sender.period_ns, max_gap_ns=5 * sender.period_ns,
        resolution_ns=sender.step_ns if sender.is_declared else None, is_undated=True, **changes,
    )  # fmt: skip
    came = samples_of(sender)
    if once:
        first = {one.number: one for one in reversed(came)}
        came = [one for one in came if first[one.number] is one]
    for one in came:
        row = [float(one.number)]
        if line.stream.push_one(one.stamp_ns, row):
            line.stream.ring.arrived_ns = one.arrived_ns
        else:
            rows = np.array([row], np.float32)
            line.stream.push_rows([one.stamp_ns], rows, None, None, [one.arrived_ns])
    line.stream.flush()
    return line, came


def faults(sender: Sender) -> list[str]:
    """Return which rules are broken."""
    found = []
    line, came = play(sender, 1)
    taken = len(line.windows)
    told = line.told()
    # What is dropped later as ahead has left a window of one sample.
    if not 0 <= taken + line.drops.total() - len(came) <= line.drops["implausible_time"]:
        found.append(f"{len(came)} came, {taken} windows, {told}")
    times = [window.time_ns for window in line.windows]
    # After a gap, some samples may come before older ones: their windows leave as they come.
    is_moved = sender.swapped and sender.gap
    if any(after <= before for before, after in pairwise(times)) and not is_moved:
        found.append(f"times do not rise {told}")
    true = {one.number: one.true_ns for one in came}
    numbers = [int(content[0]) for content in line.contents]
    if max(Counter(numbers).values(), default=1) > 1:
        found.append(f"taken twice: {[n for n, c in Counter(numbers).items() if c > 1]} {told}")
    allowed = sender.step_ns + sender.period_ns
    off = [
        (number, (time_ns - true[number]) / sender.step_ns)
        for number, time_ns in zip(numbers, times, strict=True)
        if abs(time_ns - true[number]) > allowed
    ]
    if off:
        found.append(f"off by more than a step: {off[:5]} of {len(off)} {told}")
    is_whole = not (sender.lost or sender.again or sender.swapped)
    if is_whole and sender.speed <= 1 and line.drops.total():
        found.append(f"dropped {told}")
    line, came = play(sender, 4)
    told = line.told()
    wrong = [
        content
        for content, window in zip(line.contents, line.windows, strict=True)
        if not window.uncertain
        and not window.substituted
        and content != [content[0] + place for place in range(4)]
    ]
    if len(wrong) > told.get("misplaced", 0):
        found.append(f"good windows of other samples: {wrong[:5]} of {len(wrong)} {told}")
    times = [window.time_ns for window in line.windows]
    if max(Counter(times).values(), default=1) > 1:
        found.append("an id names two windows")
    if sender.again:
        for length in (1, 4):
            twice, once = (play(sender, length, once=one)[0].windows for one in (False, True))
            if twice != once:
                found.append(f"copies change windows of {length} samples")
    return found


troubles = st.sampled_from(
    [
        {}, {"lost": 0.02}, {"lost": 0.1}, {"again": 0.05}, {"again": 1.0, "lost": 0.02},
        {"again": 0.05, "delay": 0.4}, {"again": 1.0, "delay": 0.9}, {"again": 1.0, "delay": 3.5},
        {"again": 1.0, "block": 5}, {"swapped": 0.05}, {"block": 5},
        {"block": 30}, {"jitter": 0.3}, {"jitter": 0.02, "lost": 0.02},
        {"speed": 0.99, "lost": 0.02}, {"speed": 1.01, "again": 0.05},
        {"speed": 0.999, "swapped": 0.05}, {"gap": 3, "lost": 0.02}, {"gap": 30, "swapped": 0.05},
        {"gap": 500, "again": 0.05},
    ]
)  # fmt: skip


@st.composite
def senders(draw: st.DrawFn) -> Sender:
    """Any clock and rate, and one kind of trouble, or two that do not hide each other."""
    fields: dict[str, Any] = {"speed": draw(st.sampled_from([1.0, 0.99, 0.999, 1.001, 1.02]))}
    per_step = st.one_of(st.sampled_from([1.5, 2.0, 2.5, 10.0]), st.integers(11, 600))
    step_ns = draw(st.sampled_from([*RESOLUTIONS_NS, TICK_NS]))
    return Sender(
        step_ns=step_ns,
        per_step=draw(per_step.map(lambda one: one if isinstance(one, float) else one / 10)),
        phase=draw(st.integers(0, 99)) / 100,
        is_declared=step_ns == TICK_NS or draw(st.booleans()),
        seed=draw(st.integers(0, 10**6)),
        **fields | draw(troubles),
    )


def kept(step_s: float, per_step: float, **fields: Any) -> Any:
    return example(sender=Sender(round(step_s * SECOND_NS), per_step, **fields))


@settings(deadline=None, max_examples=25)
@given(sender=senders())
# A repeat of a slow clock, of the first stamp, and after a gap:
@kept(0.5, 1.5, phase=0.69, is_declared=True, again=0.05, seed=840775)
@kept(30, 60, phase=0.01, is_declared=True, again=0.05, seed=261681)
@kept(60, 1.5, phase=0.52, is_declared=True, again=0.05, gap=30, seed=818721)
# A loss in the first stamp, and where a step has room for one sample and a half:
@kept(0.005, 60, phase=0.1, is_declared=True, lost=0.1, seed=549187)
@kept(0.1, 1.5, phase=0.48, is_declared=True, lost=0.1)
# A sample that comes after the first one of the next stamp, also after a gap:
@kept(10, 1.5, phase=0.58, is_declared=True, swapped=0.05, seed=4)
@kept(60, 10, phase=0.2, is_declared=True, swapped=0.05, gap=30, seed=25)
# More samples in a step than by the rate:
@kept(60, 34.4, speed=1.02, block=5)
def test_whatever_the_sender_does(sender: Sender) -> None:
    assert faults(sender) == []
