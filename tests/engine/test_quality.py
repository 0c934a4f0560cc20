"""The quality of a window by the number of held values that its model bears."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeai.testing import MemoryNode, build_package, write_config

SOURCE = {"topic": "factory/{asset}/sensors", "time": {"path": "t", "unit": "s"}}


@pytest.mark.parametrize("together", [True, False], ids=["together", "one by one"])
def test_a_window_is_good_up_to_what_its_model_bears(tmp_path: Path, together: bool) -> None:
    """Of 8 values of a window, 2 may be held; from 4 on the decisions change."""
    build_package(tmp_path / "mean", manifest_changes={"held_values": {"good": 2, "bad": 4}})
    stream = {"max_invalid_ratio": 0.9}
    pipeline = {"model": "mean", "source": SOURCE, "stream": stream}
    config = write_config(tmp_path / "c.yaml", {"p": pipeline})
    missing = [0, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0]  # values missing in each sample
    rows = []
    for number, count in enumerate(missing, 1):
        values = {"a": 1.0, "b": None if count else 1.0}
        payload = json.dumps({"t": number, **values}).encode()
        rows.append(("factory/m/sensors", payload))
    with MemoryNode(config) as node:
        for turn in [rows] if together else [[row] for row in rows]:
            node.turn(*turn)
        found = [json.loads(one.payload)["quality"] for one in node.sink.publications[:10]]
    held = [sum(missing[end - 4 : end]) for end in range(4, 14)]
    assert held == [0, 1, 2, 3, 4, 4, 3, 2, 1, 0]
    names = {0: "good", 1: "good", 2: "good", 3: "uncertain", 4: "bad"}
    assert found == [names[count] for count in held]
