"""Which provider serves: the policies on verdicts, and the whole way with a backend that fails."""

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
    """A verdict; `ratios` are the latencies to the CPU's by batch size."""
    cpu = {batch: Latency(1e-5 * (batch + 1), 1e-4) for batch in range(len(ratios))}
    own = {batch: Latency(one * cpu[batch].p50, 1e-4) for batch, one in enumerate(ratios)}
    return Verdict(name, found=True, proven=not reason, reason=reason, latency=own, cpu_latency=cpu)


# ---------------------------------------------------------------------------------------- policies


def test_slowness_is_the_geometric_mean_over_the_batch_sizes() -> None:
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
def test_fastest_takes_the_fastest_and_the_cpu_on_a_tie(
    ratios: list[float], wanted: int | None
) -> None:
    verdicts = [verdict(str(index), ratios=(one,)) for index, one in enumerate(ratios)]
    assert POLICIES["fastest"](verdicts) == (wanted, "")


def test_fastest_passes_over_what_is_not_proven() -> None:
    verdicts = [verdict("npu", ratios=(0.1,), reason="wrong"), verdict("gpu", ratios=(0.5,))]
    assert POLICIES["fastest"](verdicts) == (1, "")


def test_fastest_with_nothing_to_measure_says_why() -> None:
    verdicts = [verdict("npu", reason="no device"), verdict("gpu", reason="wrong")]
    assert POLICIES["fastest"](verdicts) == (None, "npu: no device; gpu: wrong")


def test_prefer_takes_the_first_that_is_proven_and_says_why_not_the_others() -> None:
    verdicts = [
        verdict("npu", reason="no device"),
        verdict("gpu", ratios=(9.0,)),
        verdict("x", ratios=(0.1,)),
    ]
    assert POLICIES["prefer"](verdicts) == (1, "npu: no device")
    assert POLICIES["prefer"](verdicts[:1]) == (None, "npu: no device")
    assert POLICIES["prefer"]([]) == (None, "")


def test_fixed_takes_its_one_or_none() -> None:
    assert POLICIES["fixed"]([verdict("npu")]) == (0, "")
    assert POLICIES["fixed"]([verdict("npu", reason="no device")]) == (None, "npu: no device")
    assert POLICIES["fixed"]([]) == (None, "")


# ------------------------------------------------------------------------------------ the whole way


class Place:
    """A package, and devices whose candidates compute as told."""

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
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("PYTHONPATH", str(install(tmp_path / "site")))
    return Place(tmp_path)


def test_without_candidates_the_cpu_serves_and_nothing_is_started(place: Place) -> None:
    choice = place.choose(place.device(candidates=[{"provider": "cpu"}]))
    assert (choice.candidate, choice.provider, choice.requested) == (None, "cpu", "cpu")
    assert choice.reason == ""
    assert place.proofs == []
    assert not place.state.exists()


def test_the_preferred_is_chosen_with_what_its_child_is_to_load(place: Place) -> None:
    choice = place.choose(place.device("a"))
    assert choice.provider == choice.requested == "compiled:faulty"
    assert choice.reason == ""
    assert choice.spec is not None
    assert choice.spec.graph == str(place.package.graph)


def test_one_that_is_wrong_ends_on_the_cpu_with_the_reason(place: Place) -> None:
    place.break_by("slightly wrong")
    choice = place.choose(place.device("a"))
    assert (choice.candidate, choice.provider) == (None, "cpu")
    assert choice.requested == "compiled:faulty"
    assert choice.reason.startswith("compiled:faulty: golden output `score` must be ")


def test_the_next_in_order_is_tried_and_those_after_it_are_not(place: Place) -> None:
    place.break_by("load abort", "a")
    choice = place.choose(place.device("a", "b", "c"))
    assert choice.index == 1
    assert [one.proven for one in choice.verdicts] == [False, True]
    assert "SIGABRT" in choice.reason


def test_a_tiny_model_stays_on_the_cpu_by_measurement(place: Place) -> None:
    """The child computes what the CPU session does, and the way to it comes on top."""
    choice = place.choose(place.device("a", policy="fastest"))
    assert choice.verdicts[0].proven
    assert latency_ratio(choice.verdicts[0]) > 1
    assert (choice.candidate, choice.provider, choice.requested) == (None, "cpu", "cpu")
    assert choice.reason == ""


def test_a_measurement_that_could_not_take_place_is_no_choice_of_the_cpu(place: Place) -> None:
    """Else an accelerator that is gone would be missed by nobody."""
    place.break_by("load raise")
    choice = place.choose(place.device("a", policy="fastest"))
    assert (choice.provider, choice.requested) == ("cpu", "compiled:faulty")
    assert "the device is taken" in choice.reason


def test_fixed_refuses_to_start_when_its_candidate_fails(place: Place) -> None:
    place.break_by("load raise")
    with pytest.raises(ConfigError) as caught:
        place.choose(place.device("a", policy="fixed"), profile="line.yaml")
    (line,) = str(caught.value).splitlines()
    assert line.startswith("line.yaml: candidates.0: cannot serve mean, and the policy `fixed` ")
    assert "compiled:faulty: " in line
    assert "the device is taken" in line


def test_fixed_serves_on_the_cpu_when_told_so(place: Place) -> None:
    place.break_by("load raise")
    choice = place.choose(place.device("a", policy="fixed", on_failure="cpu"))
    assert (choice.provider, choice.requested) == ("cpu", "compiled:faulty")
    assert "the device is taken" in choice.reason


def test_what_was_proven_is_not_proven_again(place: Place) -> None:
    device = place.device("a")
    first = place.choose(device)
    assert len(place.proofs) == 1
    assert place.choose(device).verdicts == first.verdicts
    assert len(place.proofs) == 1
    place.choose(device, fresh=True)
    assert len(place.proofs) == 2


def test_those_who_start_together_prove_once(place: Place) -> None:
    device = place.device("a")
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: place.choose(device).provider, range(2)))
    assert found == ["compiled:faulty"] * 2
    assert len(place.proofs) == 1


def test_another_option_is_another_proof(place: Place) -> None:
    place.choose(place.device("a"))
    place.choose(place.device("b"))
    place.choose(place.device("a", measure_batches=[1]))
    assert len(place.proofs) == 3


def test_a_spoilt_verdict_is_made_anew(place: Place) -> None:
    device = place.device("a")
    place.choose(device)
    (path,) = place.state.rglob("verdicts/*.json")
    path.write_bytes(b"\x00garbage")
    assert place.choose(device).provider == "compiled:faulty"
    assert len(place.proofs) == 2
    place.choose(device)
    assert len(place.proofs) == 2


def test_what_is_plainly_not_there_costs_no_child(place: Place) -> None:
    device = place.device(
        candidates=[
            {"provider": "cuda"},
            {"provider": "openvino", "python": "no/such/python"},
            {"provider": "openvino", "library": "no_such_plugin"},
            {"provider": "openvino", "library": "no.such..name"},
            {"provider": "qnn", "fp16": True, "library": "lib/no_such.so"},
        ]
    )
    choice = place.choose(device)
    assert place.proofs == []
    reasons = [one.reason for one in choice.verdicts]
    assert "has no CUDAExecutionProvider" in reasons[0]
    assert reasons[1] == f"no such interpreter: {place.folder}/no/such/python"
    assert reasons[2] == "the plugin no-such-plugin is not installed in edgeai's environment"
    assert reasons[3] == "the plugin no.such..name is not installed in edgeai's environment"
    assert reasons[4] == f"no such library: {place.folder}/lib/no_such.so"


def test_a_variant_that_the_package_lacks_is_a_reason(place: Place) -> None:
    python = place.folder / "python"
    python.write_text("")
    choice = place.choose(
        place.device(candidates=[{"provider": "openvino", "variant": "int8", "python": "python"}])
    )
    assert choice.provider == "cpu"
    assert "holds no model.int8.onnx" in choice.reason
