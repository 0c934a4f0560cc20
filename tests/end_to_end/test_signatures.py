"""A node with trusted keys: it says who signed its models, and serves no other package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgeai.signing.files import SIGNATURE
from edgeai.signing.keys import read_private_key
from edgeai.signing.trust import sign_folder
from tests.support.brokers import RunningBroker
from tests.support.live import Edge, patient, peer, running, wait_for
from tests.support.packages import write_config, write_package
from tests.support.signing import write_keys

pytestmark = [pytest.mark.broker, pytest.mark.system]

SOURCE = {"topic": "factory/{asset}/sensors", "time": {"path": "t", "unit": "s"}}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_signed_package_is_served_and_a_changed_one_is_not(
    tmp_path: Path, broker: RunningBroker, workers: int
) -> None:
    private, public = write_keys(tmp_path)
    package = write_package(tmp_path / "mean")
    key = read_private_key(private)
    sign_folder(package, key)
    config = write_config(
        tmp_path / "line.yaml",
        broker.port,
        {"p": {"model": "mean", "source": SOURCE}},
        models={"trusted_keys": [public.name]},
        http={"enabled": True, "port": 0},
        workers=workers,
    )
    with peer(broker.port, "edgeai/#") as other, running(config) as process:
        status = wait_for(
            lambda: [
                one
                for one in other.topics("edgeai/test/status")
                if one["state"] == "online" and one["pipelines"]
            ],
            "the node to be online",
        )[-1]
        assert status["signed_by"] == {"p": key.id}
        edge = Edge(process)
        labels = {"pipeline": "p", "model": "mean", "key": key.id[:16]}
        assert edge.metric("edgeai_model_signed", **labels) == 1
        assert f"p: mean 1.0.0 is signed by key {key.id[:16]} ({public})" in process.log
        for t in range(1, 10):
            other.publish("factory/press-1/sensors", {"t": t, "a": t, "b": 1}, 0)
        wait_for(lambda: other.topics("edgeai/test/predictions/"), "predictions")
        assert process.stop() == 0

    (package / "model.yaml").write_text((package / "model.yaml").read_text() + "\n")
    with peer(broker.port, "edgeai/#") as other:
        assert ended(config).startswith("2 ")
        assert f"{package}/model.yaml: is not what was signed" in ended(config)
        (package / SIGNATURE).unlink()
        assert "no such file, but models.require_signature asks for" in ended(config)
        states = [one["state"] for one in other.topics("edgeai/test/status")]
        assert states == ["offline"], "it was never connected again"


def ended(config: Path) -> str:
    """Return the exit code of `edgeai run` and what it says."""
    command = [sys.executable, "-m", "edgeai", "run", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=patient(30))
    assert "Traceback" not in done.stderr
    return f"{done.returncode} {done.stderr}"
