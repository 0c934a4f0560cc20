"""The choice of a provider: the policies, and real proofs of a backend that fails on demand."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgeai.config.device import Device, load_device
from edgeai.errors import ConfigError
from edgeai.model.package import load_package
from edgeai.providers.cpu import CpuSession
from edgeai.providers.selection.choose import POLICIES, Choice, choose, latency_ratio
from edgeai.providers.selection.verdicts import Latency, Verdict
from tests.support.faulty import ENTRY_POINT, install
from tests.support.packages import write_package


def verdict(name: str, *, ratios: tuple[float, ...] = (1.0,), reason: str = "") -> Verdict:
    """A verdict; `ratios` are its latencies relative to the CPU's, by batch size."""
    cpu = {batch: Latency(1e-5 * (batch + 1), 1e-4) for batch in range(len(ratios))}
    own = {batch: Latency(one * cpu[batch].p50, 1e-4) for batch, one in enumerate(ratios)}
    return Verdict(name, found=True, proven=not reason, reason=reason, latency=own, cpu_latency=cpu)


# ---------------------------------------------------------------------------------------- policies


def test_latency_ratio_is_the_geometric_mean_over_the_batch_sizes() -> None:
    assert latency_ratio(verdict("a", ratios=(4.0, 0.25))) == pytest.approx(1.0)
    assert latency_ratio(verdict("a", ratios=(2.0, 8.0))) == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("ratios", "wanted"),
    [
        ([0.5], 0),
        ([2.0], None),
        ([0.95], None),  # a tie goes to the CPU
        ([0.8, 0.3], 1),
        ([], None),
    ],
)
def test_fastest_chooses_the_fastest_and_the_cpu_on_a_tie(
    ratios: list[float], wanted: int | None
) -> None:
    verdicts = [verdict(str(index), ratios=(one,)) for index, one in enumerate(ratios)]
    assert POLICIES["fastest"](verdicts) == (wanted, "")


def test_fastest_ignores_candidates_that_are_not_proven() -> None:
    verdicts = [verdict("npu", ratios=(0.1,), reason="wrong"), verdict("gpu", ratios=(0.5,))]
    assert POLICIES["fastest"](verdicts) == (1, "")


def test_fastest_without_a_proven_candidate_gives_the_reasons() -> None:
    verdicts = [verdict("npu", reason="no device"), verdict("gpu", reason="wrong")]
    assert POLICIES["fastest"](verdicts) == (None, "npu: no device; gpu: wrong")


def test_prefer_chooses_the_first_proven_and_gives_reasons_for_the_others() -> None:
    verdicts = [
        verdict("npu", reason="no device"),
        verdict("gpu", ratios=(9.0,)),
        verdict("x", ratios=(0.1,)),
    ]
    assert POLICIES["prefer"](verdicts) == (1, "npu: no device")
    assert POLICIES["prefer"](verdicts[:1]) == (None, "npu: no device")
    assert POLICIES["prefer"]([]) == (None, "")


def test_fixed_chooses_its_candidate_or_none() -> None:
    assert POLICIES["fixed"]([verdict("npu")]) == (0, "")
    assert POLICIES["fixed"]([verdict("npu", reason="no device")]) == (None, "npu: no device")
    assert POLICIES["fixed"]([]) == (None, "")


# ------------------------------------------------------------------------------------ the whole way


class Workspace:
    """A package, and devices whose candidates fail on demand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.package = load_package(write_package(folder / "mean"))
        self.cpu = CpuSession(self.package.graph, ["score", "contribution"])
        self.cpu.prove(self.package, 64)
        self.proofs: list[str] = []

    def break_by(self, fault: str, name: str = "a") -> None:
        (self.folder / name).write_text(fault)

    def device(self, *names: str, **more: Any) -> Device:
        path = self.folder / "device.yaml"
        candidates = [
            {
                "provider": "compiled",
                "backend": ENTRY_POINT,
                "source": "graph",
                "batch_sizes": [1, 8],
                "backend_options": {"control": str(self.folder / name)},
            }
            for name in names
        ]
        path.write_text(yaml.safe_dump({"description": "x", "candidates": candidates} | more))
        return load_device(path)

    def choose(self, device: Device, **more: Any) -> Choice:
        return choose(
            device, self.package, self.cpu, self.state, report_progress=self.proofs.append, **more
        )


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("PYTHONPATH", str(install(tmp_path / "site")))
    return Workspace(tmp_path)


def test_without_candidates_the_cpu_serves_and_no_child_starts(workspace: Workspace) -> None:
    choice = workspace.choose(workspace.device(candidates=[{"provider": "cpu"}]))
    assert (choice.candidate, choice.provider, choice.requested) == (None, "cpu", "cpu")
    assert choice.reason == ""
    assert workspace.proofs == []
    assert not workspace.state.exists()


def test_the_preferred_candidate_is_chosen_with_its_spec(workspace: Workspace) -> None:
    choice = workspace.choose(workspace.device("a"))
    assert choice.provider == choice.requested == "compiled:faulty"
    assert choice.reason == ""
    assert choice.spec is not None
    assert choice.spec.graph == str(workspace.package.graph)


def test_wrong_outputs_lead_to_the_cpu_with_the_reason(workspace: Workspace) -> None:
    workspace.break_by("slightly wrong")
    choice = workspace.choose(workspace.device("a"))
    assert (choice.candidate, choice.provider) == (None, "cpu")
    assert choice.requested == "compiled:faulty"
    assert choice.reason.startswith("compiled:faulty: golden output `score` must be ")


def test_after_a_failure_the_next_candidate_is_proven_but_not_later_ones(
    workspace: Workspace,
) -> None:
    workspace.break_by("load abort", "a")
    choice = workspace.choose(workspace.device("a", "b", "c"))
    assert choice.index == 1
    assert [one.proven for one in choice.verdicts] == [False, True]
    assert "SIGABRT" in choice.reason


def test_the_measurement_keeps_a_tiny_model_on_the_cpu(workspace: Workspace) -> None:
    """The child computes with the same runtime as the CPU session, and adds its round trip."""
    choice = workspace.choose(workspace.device("a", policy="fastest"))
    assert choice.verdicts[0].proven
    assert latency_ratio(choice.verdicts[0]) > 1
    assert (choice.candidate, choice.provider, choice.requested) == (None, "cpu", "cpu")
    assert choice.reason == ""


def test_without_a_measurement_the_cpu_is_not_the_requested_provider(workspace: Workspace) -> None:
    """Otherwise a missing accelerator would go unnoticed."""
    workspace.break_by("load raise")
    choice = workspace.choose(workspace.device("a", policy="fastest"))
    assert (choice.provider, choice.requested) == ("cpu", "compiled:faulty")
    assert "the device is taken" in choice.reason


def test_fixed_refuses_to_start_when_its_candidate_fails(workspace: Workspace) -> None:
    workspace.break_by("load raise")
    with pytest.raises(ConfigError) as caught:
        workspace.choose(workspace.device("a", policy="fixed"), profile="line.yaml")
    (line,) = str(caught.value).splitlines()
    assert line.startswith("line.yaml: candidates.0: cannot serve mean, and the policy `fixed` ")
    assert "compiled:faulty: " in line
    assert "the device is taken" in line


def test_fixed_serves_on_the_cpu_with_on_failure_cpu(workspace: Workspace) -> None:
    workspace.break_by("load raise")
    choice = workspace.choose(workspace.device("a", policy="fixed", on_failure="cpu"))
    assert (choice.provider, choice.requested) == ("cpu", "compiled:faulty")
    assert "the device is taken" in choice.reason


def test_a_stored_verdict_is_not_proven_again(workspace: Workspace) -> None:
    device = workspace.device("a")
    first = workspace.choose(device)
    assert len(workspace.proofs) == 1
    assert workspace.choose(device).verdicts == first.verdicts
    assert len(workspace.proofs) == 1
    workspace.choose(device, fresh=True)
    assert len(workspace.proofs) == 2


def test_processes_that_start_together_prove_once(workspace: Workspace) -> None:
    device = workspace.device("a")
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: workspace.choose(device).provider, range(2)))
    assert found == ["compiled:faulty"] * 2
    assert len(workspace.proofs) == 1


def test_another_option_needs_another_proof(workspace: Workspace) -> None:
    workspace.choose(workspace.device("a"))
    workspace.choose(workspace.device("b"))
    workspace.choose(workspace.device("a", measure_batches=[1]))
    assert len(workspace.proofs) == 3


def test_a_damaged_verdict_is_proven_again(workspace: Workspace) -> None:
    device = workspace.device("a")
    workspace.choose(device)
    (path,) = workspace.state.rglob("verdicts/*.json")
    path.write_bytes(b"\x00garbage")
    assert workspace.choose(device).provider == "compiled:faulty"
    assert len(workspace.proofs) == 2
    workspace.choose(device)
    assert len(workspace.proofs) == 2


def test_a_missing_runtime_starts_no_child(workspace: Workspace) -> None:
    device = workspace.device(
        candidates=[
            {"provider": "cuda"},
            {"provider": "openvino", "python": "no/such/python"},
            {"provider": "openvino", "library": "no_such_plugin"},
            {"provider": "openvino", "library": "no.such..name"},
            {"provider": "qnn", "fp16": True, "library": "lib/no_such.so"},
        ]
    )
    choice = workspace.choose(device)
    assert workspace.proofs == []
    reasons = [one.reason for one in choice.verdicts]
    assert "has no CUDAExecutionProvider" in reasons[0]
    assert reasons[1] == f"no such interpreter: {workspace.folder}/no/such/python"
    assert reasons[2] == "the plugin no-such-plugin is not installed in edgeai's environment"
    assert reasons[3] == "the plugin no.such..name is not installed in edgeai's environment"
    assert reasons[4] == f"no such library: {workspace.folder}/lib/no_such.so"


def test_a_missing_variant_is_a_reason(workspace: Workspace) -> None:
    python = workspace.folder / "python"
    python.write_text("")
    choice = workspace.choose(
        workspace.device(
            candidates=[{"provider": "openvino", "variant": "int8", "python": "python"}]
        )
    )
    assert choice.provider == "cpu"
    assert "holds no model.int8.onnx" in choice.reason
