"""Every case folder gives what it says, through a replay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgeai.assembly.plan import check
from edgeai.errors import ConfigError
from edgeai.replay.run import replay_files
from tests.support.cases import Case, cases, differences, pipeline_of, write_case

CASES = cases()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All cases are written here, so that each model is made once."""
    return tmp_path_factory.mktemp("cases")


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_case(case: Case, folder: Path) -> None:
    config, recording = write_case(case, folder)
    wanted = case.expected_error()
    if wanted is not None:
        with pytest.raises(ConfigError) as error:
            check(config)
        found = [str(one).removeprefix(f"{config}: ") for one in error.value.problems]
        assert found == wanted
        return
    predictions = folder / f"{case.name}-predictions.jsonl"
    summary = replay_files(check(config), [recording], predictions)
    found_lines: list[dict[str, Any]] = [
        {**one, "pipeline": pipeline_of(one)}
        for one in map(json.loads, predictions.read_text().splitlines())
    ]
    assert differences(case.expected(), found_lines) == []
    assert sorted(summary.dropped) == case.expected_dropped()
