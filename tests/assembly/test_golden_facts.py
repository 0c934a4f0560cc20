"""What the golden windows say beyond their outputs: measured once, kept by content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from edgeai.assembly import golden_facts as module
from edgeai.assembly.golden_facts import golden_facts
from edgeai.model.held_values import TooSlowError
from edgeai.model.package import Package, load_package
from edgeai.model.threshold_spec import HeldValuesSpec
from edgeai.providers.cpu import CpuSession
from tests.support.packages import manifest_of, rehash, write_package

STATED = {"good": 3, "bad": 5}


def package_of(folder: Path, **manifest: Any) -> Package:
    """Write a package of windows that are clearly normal or clearly abnormal."""
    windows = np.full((40, 10, 2), 1.0, np.float32)
    windows[20:] = 9.0
    rng = np.random.default_rng(0)
    windows += rng.normal(0, 0.1, windows.shape).astype(np.float32)
    written = write_package(folder, length=10, windows=windows, threshold=10.0)
    content = manifest_of(written)
    del content["held_values"]
    (written / "model.yaml").write_text(yaml.safe_dump(content))
    return load_package(rehash(written, **manifest))


def session_of(package: Package) -> CpuSession:
    session = CpuSession(package.graph, [output.name for output in package.manifest.outputs])
    session.prove(package, 64)
    return session


def test_what_the_manifest_states_is_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = package_of(tmp_path / "p", held_values=STATED)
    monkeypatch.setattr(module, "measure_held_values", None)
    found = golden_facts(package, session_of(package), tmp_path / "state")
    assert found.held_values == HeldValuesSpec(**STATED)
    assert not (tmp_path / "state").exists()


def test_the_measurement_is_kept_by_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state"
    package = package_of(tmp_path / "p")
    session = session_of(package)
    first = golden_facts(package, session, state).held_values
    assert first == HeldValuesSpec(good=5), "a quarter of 20 values, far from the threshold"
    measure = module.measure_held_values
    monkeypatch.setattr(module, "measure_held_values", None)
    assert golden_facts(package, session, state).held_values == first
    same = package_of(tmp_path / "again", name="again")
    assert golden_facts(same, session, state).held_values == first
    (cache,) = (state / "held-values").iterdir()
    cache.write_text('{"good": -1')
    monkeypatch.setattr(module, "measure_held_values", measure)
    assert golden_facts(package, session, state).held_values == first
    assert HeldValuesSpec.model_validate_json(cache.read_text()) == first
    threshold = {"value": 2.05, "method": "m", "data": "d"}
    near = package_of(tmp_path / "near", threshold=threshold)
    assert golden_facts(near, session_of(near), state).held_values != first


def test_a_state_folder_that_cannot_be_written_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file, not a folder")
    package = package_of(tmp_path / "p")
    found = golden_facts(package, session_of(package), tmp_path / "state")
    assert found.held_values.good == 5


def test_a_model_that_is_too_slow_bears_none_and_is_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    package = package_of(tmp_path / "p")
    session = session_of(package)

    def give_up(*_arguments: object, **_options: object) -> HeldValuesSpec:
        raise TooSlowError

    with monkeypatch.context() as patch:
        patch.setattr(module, "measure_held_values", give_up)
        assert golden_facts(package, session, tmp_path / "state").held_values.good == 0
    assert "state `held_values` in model.yaml" in caplog.text
    assert golden_facts(package, session, tmp_path / "state").held_values.good == 5
