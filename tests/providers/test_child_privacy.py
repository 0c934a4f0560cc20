"""The child of an accelerator keeps vendors' libraries from reporting to their makers."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeai.providers.serving.child_accelerator import ChildAccelerator
from tests.support.faulty import ENTRY_POINT, MODULE, faulty_spec, install
from tests.support.live import wait_for
from tests.support.packages import write_package

NOSY = """
import os
from pathlib import Path

try:
    import openvino_telemetry
except ImportError:
    reported = "nothing"
else:
    reported = openvino_telemetry.__name__
Path(os.environ["NOTED"]).write_text(f"{reported} {os.environ.get('ORT_DISABLE_TELEMETRY')}")
"""


def test_a_backend_cannot_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = install(tmp_path / "adapter")
    (adapter / "edgeai_backend_faulty.py").write_text(NOSY + MODULE)
    (adapter / "openvino_telemetry.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(adapter))
    monkeypatch.setenv("NOTED", str(tmp_path / "noted"))
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY")  # the child sets it again
    package = write_package(tmp_path / "mean")
    spec = faulty_spec(package, tmp_path / "control")
    assert spec.provider == ENTRY_POINT
    accelerator = ChildAccelerator(spec)
    try:
        accelerator.start_nonblocking()
        wait_for(accelerator.poll_ready, "the child to load")
    finally:
        accelerator.close()
    assert (tmp_path / "noted").read_text() == "nothing 1"


def test_importing_edgeai_silences_onnx_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib
    import os

    import edgeai

    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    importlib.reload(edgeai)
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
