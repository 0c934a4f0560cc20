"""Doctor on every case folder: a right set-up is not failed, whatever its messages look like."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgeai.assembly.pipelines import build_pipelines
from edgeai.assembly.plan import check
from edgeai.doctor.arrivals import check_arrivals
from edgeai.doctor.findings import Findings
from edgeai.doctor.models import with_any_time
from edgeai.messages import RETAINED, Message, with_properties
from edgeai.metrics.definitions import Metrics
from tests.support.cases import Case, cases, write_case

OTHER_RATE = {
    "base-time-and-offset", "io-link", "json-lines", "s7-struct", "unpack-columns-with-offsets",
}  # fmt: skip
"""Cases whose samples do not have the rate of their model, which doctor tells."""
GOOD = [one for one in cases() if one.expected_error() is None and not one.expected_dropped()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models of all cases."""
    return tmp_path_factory.mktemp("cases")


@pytest.mark.system
@pytest.mark.parametrize("case", GOOD, ids=[one.name for one in GOOD])
def test_a_case_that_loses_nothing(case: Case, folder: Path) -> None:
    file, _ = write_case(case, folder)
    plan = check(file, state_folder=folder / "state")
    pipelines = {name: with_any_time(one) for name, one in plan.config.pipelines.items()}
    plan = replace(plan, config=plan.config.model_copy(update={"pipelines": pipelines}))
    messages: list[Message] = [
        (
            one.topic,
            with_properties(one.payload, one.properties),
            one.received_ns,
            RETAINED if one.flags.get("retain") else 0,
        )
        for one in case.messages()
    ]
    findings = Findings()
    check_arrivals(plan.config, build_pipelines(plan, Metrics()), messages, findings)
    found = findings.in_order()
    failed = {one.check for one in found if one.status == "fail"} - {"sender clock"}
    assert failed <= ({"sample rate"} if case.name in OTHER_RATE else set())
    rates = {one.status for one in found if one.check == "sample rate"}
    assert bool(rates & {"warn", "fail"}) == (case.name in OTHER_RATE)
