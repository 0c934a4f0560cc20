"""Fixtures of all tests, and how tests are spread over the workers of pytest-xdist."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.support.brokers import RunningBroker, start_mosquitto
from tests.support.live import PATIENCE
from tests.support.paths import DATA, REPOSITORY
from tests.support.shared import shared_folder

TIMING_GROUP = "timing"
TIMING_FILES = (
    "tests/end_to_end/test_bad_input.py",
    "tests/end_to_end/test_failover.py",
    "tests/end_to_end/test_node.py",
    "tests/mqtt/test_connection.py",
    "tests/mqtt/test_link.py",
    "tests/mqtt/test_read_pacing.py",
    "tests/providers/test_child_accelerator.py",
    "tests/providers/test_failover.py",
    "tests/workers/test_workers.py",
)
"""These measure time limits. They run one after another on one worker, not against each other."""

LONG_FILES = (
    "tests/system/test_container.py",
    "tests/end_to_end/test_skab.py",
    "tests/training/pinn/test_moulding.py",
    "tests/system/test_privacy.py",
    "tests/system/test_wheel.py",
    "tests/system/test_docs.py",
    "tests/system/test_page.py",
    "tests/system/test_deploy.py",
    "tests/plant/test_day.py",
    "tests/training/pinn/test_evaluate.py",
    "tests/training/pinn/test_fit.py",
    "tests/training/pinn/test_export.py",
    "tests/end_to_end/test_broker_behaviour.py",
    "tests/end_to_end/test_telling.py",
    "tests/engine/test_engine.py",
    "tests/training/test_package.py",
    "tests/cli/test_unusable_files.py",
    "tests/quantize/test_quantize.py",
    "tests/plant/test_machines.py",
    "tests/node/test_http_server.py",
)
"""These take longest, of the fast tests or of the system's. They start first, after the group of
`TIMING_FILES`, so that all workers end together."""

EXAMPLES = os.environ.get("EDGEAI_TEST_EXAMPLES")
"""Examples of each property test; set by tests/long."""


@pytest.hookimpl(tryfirst=True)  # before `-m` looks at the markers
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Scale time limits, set the number of examples, and group the tests by file."""
    for item in items:
        if PATIENCE != 1:
            marker = item.get_closest_marker("timeout")
            seconds = marker.args[0] if marker else float(config.getini("timeout"))
            item.add_marker(pytest.mark.timeout(seconds * PATIENCE), append=False)
        if EXAMPLES:
            _set_examples(item, int(EXAMPLES))
        if item.nodeid.startswith("tests/system/"):
            item.add_marker(pytest.mark.system)
    order = {group: number for number, group in enumerate((TIMING_GROUP, *LONG_FILES))}
    items.sort(key=lambda item: order.get(_group_of(item.nodeid), len(order)))


def _group_of(nodeid: str) -> str:
    """Return the name of the tests that stay on one worker: fixtures of a module are made once."""
    file = nodeid.partition("::")[0]
    return TIMING_GROUP if file in TIMING_FILES else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep a group on one worker. (`--dist loadgroup` of xdist 3.8 fails with pytest 9.2.)"""
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group_of(nodeid)

    return ByGroup(config, log)


def _set_examples(item: pytest.Item, count: int) -> None:
    """Replace `max_examples` of a property test; Hypothesis has no public way to do it."""
    function = getattr(item, "obj", None)
    name = "_hypothesis_internal_use_settings"
    if hasattr(function, name):
        setattr(function, name, settings(getattr(function, name), max_examples=count))


def pytest_configure() -> None:
    # Many tests start `edgeai`. Without bytecode, every start compiles all of its modules again.
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    missing = [name for name in (*TIMING_FILES, *LONG_FILES) if not (REPOSITORY / name).is_file()]
    if missing:
        raise pytest.UsageError(f"tests/conftest.py: it names files that do not exist: {missing}")


def pytest_collection_finish() -> None:
    """Take what the tests import out of garbage collection, which otherwise looks at it often."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep verdict caches of tests out of the user's home; one for all workers, for speed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEAI_STATE_DIR", str(shared_folder(tmp_path_factory) / "state"))
        yield


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


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder with a short path: a Unix socket's may have 107 bytes, and xdist makes long ones."""
    with tempfile.TemporaryDirectory(prefix="edgeai-") as name:
        yield Path(name)
