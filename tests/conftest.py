"""Shared fixtures: model packages made on the spot, a real broker on a free loopback port."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.brokers import RunningBroker, start_mosquitto
from tests.support.paths import DATA


@pytest.fixture(autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep verdict caches of tests out of the user's home, shared within one run for speed."""
    folder = tmp_path_factory.getbasetemp() / "state"
    monkeypatch.setenv("EDGEAI_STATE_DIR", str(folder))


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RunningBroker]:
    """A real mosquitto on a free loopback port."""
    with start_mosquitto(tmp_path / "broker") as running:
        yield running


@pytest.fixture(scope="session")
def data() -> Path:
    """The test store of real data, which is not part of the repository."""
    if not DATA.is_dir():
        pytest.skip("../shared/data is absent: it is a test store outside the repository")
    return DATA
