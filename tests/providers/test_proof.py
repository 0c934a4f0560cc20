"""Proofs in real child processes: ONNX Runtime, a backend and interpreters that fail."""

from __future__ import annotations

import dataclasses
import os
import stat
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeai.config.candidates import AnyAccelerator, Compiled, Cuda, OpenVino, TensorRt
from edgeai.config.device import load_device
from edgeai.model.package import Package, load_package
from edgeai.providers.child import ort_session
from edgeai.providers.child.ort_log import LogCapture
from edgeai.providers.child.spec import ChildSpec, Facts, LoadError
from edgeai.providers.cpu import CpuSession
from edgeai.providers.selection.proof import prove
from edgeai.providers.selection.request import child_spec
from edgeai.providers.selection.verdicts import Latency, Verdict, VerdictStore, verdict_key
from tests.support.faulty import ENTRY_POINT, faulty_spec, install
from tests.support.packages import write_package

CPU = "CPUExecutionProvider"


class Workspace:
    """A package, and a candidate that fails on demand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.package: Package = load_package(write_package(folder / "mean"))
        self.control = folder / "control"
        self.cpu = CpuSession(self.package.graph, ["score", "contribution"])
        self.cpu.prove(self.package, 64)

    def candidate(self, **changes: Any) -> Compiled:
        return Compiled.model_validate(
            {
                "provider": "compiled",
                "backend": ENTRY_POINT,
                "source": "graph",
                "backend_options": {"control": str(self.control)},
                "batch_sizes": [1, 8, 64],
                "start_timeout_seconds": 60,
            }
            | changes
        )

    def prove(self, fault: str = "", **changes: Any) -> Verdict:
        self.control.write_text(fault)
        return self.prove_candidate(self.candidate(**changes))

    def prove_candidate(self, candidate: AnyAccelerator) -> Verdict:
        spec = child_spec(candidate, self.package, self.folder / "state")
        return prove(candidate, self.package, spec, self.cpu, [1, 8])

    def ort_spec(self, **changes: Any) -> ChildSpec:
        fields = {"kind": "ort", "provider": CPU, "provider_options": {}}
        return faulty_spec(self.package.folder, self.control, **fields | changes)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("PYTHONPATH", str(install(tmp_path / "site")))
    return Workspace(tmp_path)


# ------------------------------------------------------------------------------------------- proof


def test_a_correct_candidate_is_proven_and_measured(workspace: Workspace) -> None:
    verdict = workspace.prove()
    assert verdict.proven, verdict.reason
    assert verdict.found
    assert verdict.reason == ""
    assert verdict.provider == "compiled:faulty"
    assert verdict.parity_error is not None
    assert verdict.parity_error < 1e-6
    assert verdict.flips == 0
    assert verdict.device == "CPU"
    assert set(verdict.latency) == set(verdict.cpu_latency) == {1, 8}
    for one in verdict.latency.values():
        assert 0 < one.p50 <= one.p99


@pytest.mark.parametrize(
    ("fault", "cause", "wanted"),
    [
        ("slightly wrong", "parity", "golden output `score` must be "),
        ("nan", "parity", "golden output `score` must be "),
        ("wrong shape", "parity", "golden output `score` must have the shape (40,)"),
        ("raise", "start_failed", "does not run 1 windows: RuntimeError: ZE_RESULT_ERROR_DEVICE"),
        ("one row", "start_failed", "output `score` must be numbers of shape (8,)"),
        ("load raise", "start_failed", "the device is taken"),
        ("load abort", "start_failed", "ended by SIGABRT: vendor library: assertion failed"),
        ("exit", "start_failed", "ended with 3"),
    ],
)
def test_a_fault_fails_the_proof_and_is_named(
    workspace: Workspace, fault: str, cause: str, wanted: str
) -> None:
    verdict = workspace.prove(fault)
    assert not verdict.proven
    assert (verdict.cause, wanted in verdict.reason) == (cause, True), verdict.reason


def test_a_compiler_that_hangs_is_killed(workspace: Workspace) -> None:
    verdict = workspace.prove("load hang", start_timeout_seconds=1.5)
    assert (verdict.cause, verdict.found, verdict.proven) == ("start_timeout", False, False)
    assert "not loaded within 1.5 s" in verdict.reason


def test_too_much_memory_fails_the_proof(workspace: Workspace) -> None:
    verdict = workspace.prove("hoard", memory_limit_bytes=600_000_000, batch_sizes=[1, 2, 4, 8, 16])
    assert (verdict.cause, verdict.proven) == ("out_of_memory", False)
    assert "the limit is 572 MiB" in verdict.reason


def test_a_device_slower_than_its_deadline_is_not_proven(workspace: Workspace) -> None:
    verdict = workspace.prove(deadline_seconds=1e-9)
    assert (verdict.cause, verdict.proven) == ("deadline", False)
    assert "more than deadline_seconds 1e-09" in verdict.reason


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("#!/bin/sh\necho no libvendor.so >&2\nkill -ABRT $$\n", "no libvendor.so"),
        ("#!/bin/sh\nexit 3\n", "ended with 3"),
    ],
)
def test_an_interpreter_that_ends_is_a_verdict(
    workspace: Workspace, text: str, wanted: str
) -> None:
    python = workspace.folder / "python"
    python.write_text(text)
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    verdict = workspace.prove(python=str(python))
    assert (verdict.cause, verdict.found) == ("start_failed", False)
    assert wanted in verdict.reason


def test_another_environments_interpreter_proves_too(workspace: Workspace) -> None:
    verdict = workspace.prove(python=sys.executable)
    assert verdict.proven, verdict.reason


def test_an_in_process_candidate_is_measured_in_process(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof runs in a child; then the model is loaded and measured in this process."""
    monkeypatch.syspath_prepend(str(workspace.folder / "site"))
    verdict = workspace.prove(serving="in_process")
    assert verdict.proven, verdict.reason
    assert set(verdict.latency) == {1, 8}
    assert not workspace.prove("slightly wrong", serving="in_process").proven
    assert not workspace.prove("load abort", serving="in_process").proven


def test_variables_for_a_vendors_library_are_set_before_it_is_loaded(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_VENDOR_SWITCH", "1")
    ort_session.build(workspace.ort_spec(environment={"SOME_VENDOR_SWITCH": "0"}))
    assert os.environ["SOME_VENDOR_SWITCH"] == "0"


def test_each_batch_size_is_compared(workspace: Workspace) -> None:
    """Batch sizes above the number of golden windows, and sizes that do not divide it."""
    verdict = workspace.prove(batch_sizes=[7, 100])
    assert verdict.proven, verdict.reason


def test_a_provider_that_this_build_lacks(workspace: Workspace) -> None:
    verdict = workspace.prove_candidate(Cuda(provider="cuda"))
    assert (verdict.found, verdict.proven) == (False, False)
    assert "has no CUDAExecutionProvider" in verdict.reason


@pytest.mark.parametrize("fault", ["", "nan", "load raise"])
def test_a_verdict_can_be_stored_and_loaded(workspace: Workspace, fault: str) -> None:
    workspace.control.write_text(fault)
    verdict = workspace.prove()
    store = VerdictStore(workspace.folder)
    store.save("k", verdict)
    assert store.load("k") == verdict


# ------------------------------------------------------------------------------------- ort session


def test_a_session_reports_the_provider_of_each_node(workspace: Workspace) -> None:
    session = ort_session.build(workspace.ort_spec())
    assert sorted(session.facts.assignment) == [CPU]
    assert "MatMul" in session.facts.assignment[CPU]
    assert session.facts.outputs == {"score": [], "contribution": [2]}


@pytest.mark.parametrize("io_binding", [False, True])
def test_a_session_gives_the_golden_outputs(workspace: Workspace, io_binding: bool) -> None:
    windows, expected = workspace.package.golden()
    session = ort_session.build(workspace.ort_spec(io_binding=io_binding))
    for _ in range(4):  # a buffer is bound at its second use
        score, contribution = session.run(windows[:8])
        np.testing.assert_array_equal(score, expected["score"][:8])
        np.testing.assert_array_equal(contribution, expected["contribution"][:8])
        session.run(windows[8:16])


def test_bound_buffers_are_read_at_each_call(workspace: Workspace) -> None:
    windows, expected = workspace.package.golden()
    session = ort_session.build(workspace.ort_spec(io_binding=True))
    buffer = np.empty((8, 4, 2), np.float32)
    for start in (0, 8, 16, 24):
        buffer[:] = windows[start : start + 8]
        (score, _) = session.run(buffer)
        np.testing.assert_array_equal(score, expected["score"][start : start + 8])


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"provider": "TensorrtExecutionProvider"}, "has no TensorrtExecutionProvider"),
        ({"library": "/no/such.so", "provider": "X"}, "plugin /no/such.so: no such file"),
        ({"library": "no_such_module", "provider": "X"}, "plugin module no_such_module cannot"),
        ({"session_config": {"session.disable_cpu_ep_fallback": "1"}}, "onflicting"),
        ({"outputs": ["score", "no_such"]}, "does not run 1 windows"),
        ({"window": (4, 3)}, "does not run 1 windows"),
    ],
)
def test_a_session_that_cannot_be_built_gives_the_reason(
    workspace: Workspace, changes: dict[str, Any], wanted: str
) -> None:
    with pytest.raises(LoadError) as caught:
        ort_session.build(workspace.ort_spec(**changes))
    assert wanted in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_library_that_is_not_a_plugin_is_refused(workspace: Workspace) -> None:
    import _ctypes

    spec = workspace.ort_spec(library=_ctypes.__file__, provider="X")
    with pytest.raises(LoadError, match=r"(?i)plugin|symbol|CreateEpFactories"):
        ort_session.build(spec)


def test_nodes_left_on_another_provider_are_named(workspace: Workspace) -> None:
    facts = dataclasses.replace(
        ort_session.build(workspace.ort_spec()).facts,
        assignment={"NpuExecutionProvider": ["MatMul"] * 3, CPU: ["Reshape", "TopK"]},
    )
    spec = workspace.ort_spec(provider="NpuExecutionProvider")
    with pytest.raises(LoadError) as caught:
        ort_session._check_assignment(spec, facts, is_reported=True)
    assert str(caught.value) == (
        "only 3 of 5 nodes are on NpuExecutionProvider: Reshape, TopK on CPUExecutionProvider"
    )
    shared = dataclasses.replace(spec, min_nodes_share=0.6)
    ort_session._check_assignment(shared, facts, is_reported=True)


def test_a_runtime_that_does_not_report_nodes_is_refused(workspace: Workspace) -> None:
    spec = workspace.ort_spec(provider="OpenVINOExecutionProvider")
    with pytest.raises(LoadError, match="does not report which provider each node is on"):
        ort_session._check_assignment(spec, Facts(), is_reported=True)
    ort_session._check_assignment(spec, Facts(), is_reported=False)
    shared = dataclasses.replace(spec, min_nodes_share=0.6)
    with pytest.raises(LoadError, match="does not report which provider each node is on"):
        ort_session._check_assignment(shared, Facts(), is_reported=False)


def test_the_log_of_native_code_gives_the_reason() -> None:
    log = LogCapture()
    head = "\x1b[1;31m2026-11-21 12:00:00.1 [E:onnxruntime:Default, a.cc:1 Create] /x/y.cc:141 f() "
    line = f"{head}[ERROR] [OpenVINO] Device NPU is not available\x1b[m\n"
    with log:
        os.write(2, line.encode())
    assert log.reasons() == ["Device NPU is not available"]


def test_the_log_is_passed_on_if_standard_error_is_not_a_file() -> None:
    line = b"2026-11-21 12:00:00.1 [W:onnxruntime:, a.cc:1 f] no such device\n"
    read, write = os.pipe()
    saved = os.dup(2)
    try:
        os.dup2(write, 2)
        with LogCapture() as log:
            os.write(2, line)
    finally:
        os.dup2(saved, 2)
        os.close(write)
        os.close(saved)
    with os.fdopen(read, "rb") as passed_on:
        assert passed_on.read() == line
    assert log.reasons() == ["no such device"]


# ---------------------------------------------------------------------------------------- verdicts


def proven(**changes: Any) -> Verdict:
    fields: dict[str, Any] = {
        "provider": "x",
        "found": True,
        "proven": True,
        "latency": {1: Latency(1e-5, 2e-5)},
        "cpu_latency": {1: Latency(2e-5, 3e-5)},
        "time": time.time(),
    }
    return Verdict(**fields | changes)


def test_a_verdict_is_stored(tmp_path: Path) -> None:
    store = VerdictStore(tmp_path)
    assert store.load("k") is None
    store.save("k", proven())
    found = VerdictStore(tmp_path).load("k")
    assert found is not None
    assert found.latency == {1: Latency(1e-5, 2e-5)}


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"{}", b'{"provider": 1}', b"\xff\xfe", b'{"a": 1}' * 1000,
     b'{"provider": "x", "found": true, "proven": "yes", "reason": ""}',
     b'{"provider": "x", "found": true, "proven": true, "latency": {"one": {}}}',
     b'{"provider": "x", "found": true, "proven": true}',
     b'{"provider": "x", "found": true, "proven": true, "latency": {"1": {"p50": 1, "p99": 1}}}',
     b'{"provider": "x", "found": true, "proven": false, "time": "today"}',
     b'{"provider": "x", "found": true, "proven": true, "latency": {"1": {"p50": "1", "p99": 1}}}'],
)  # fmt: skip
def test_a_damaged_file_counts_as_missing_and_is_replaced(tmp_path: Path, content: bytes) -> None:
    store = VerdictStore(tmp_path)
    store.save("k", proven())
    (path,) = tmp_path.rglob("k.json")
    path.write_bytes(content)
    assert store.load("k") is None
    store.save("k", proven())
    assert store.load("k") is not None


def test_a_failure_is_valid_for_an_hour(tmp_path: Path) -> None:
    store = VerdictStore(tmp_path)
    for age, believed in ((10, True), (3700, False), (-10_000, False)):
        store.save("k", proven(proven=False, reason="r", time=time.time() - age))
        assert (store.load("k") is not None) is believed, age
    store.save("k", proven(time=time.time() - 1e8))
    assert store.load("k") is not None


def test_a_read_only_folder_stores_nothing(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    store = VerdictStore(blocked)
    with store.lock("k"):
        store.save("k", proven())
    assert store.load("k") is None


def test_a_verdict_holds_for_one_package_provider_option_machine_and_environment(
    workspace: Workspace,
) -> None:
    other = load_package(write_package(workspace.folder / "other", threshold=9.0))
    package, spec = workspace.package, workspace.ort_spec()
    base = verdict_key(package, spec, "env", "hw", {"batches": [1]})
    changed = [
        verdict_key(other, spec, "env", "hw", {"batches": [1]}),
        verdict_key(package, workspace.ort_spec(threads=2), "env", "hw", {"batches": [1]}),
        verdict_key(
            package, workspace.ort_spec(provider_options={"a": "1"}), "env", "hw", {"batches": [1]}
        ),
        verdict_key(package, spec, "env2", "hw", {"batches": [1]}),
        verdict_key(package, spec, "env", "hw2", {"batches": [1]}),
        verdict_key(package, spec, "env", "hw", {"batches": [1, 2]}),
    ]
    assert base not in changed
    assert len(set(changed)) == len(changed)
    assert base == verdict_key(
        workspace.package, workspace.ort_spec(), "env", "hw", {"batches": [1]}
    )


def test_a_replaced_library_needs_another_proof(workspace: Workspace) -> None:
    library = workspace.folder / "plugin.so"
    library.write_bytes(b"1")

    def key() -> str:
        return verdict_key(
            workspace.package, workspace.ort_spec(library=str(library)), "env", "hw", {}
        )

    before = key()
    assert key() == before
    library.write_bytes(b"22")
    assert key() != before


def test_compiled_models_are_cached_in_the_state_folder(workspace: Workspace) -> None:
    spec = child_spec(OpenVino(provider="openvino"), workspace.package, workspace.folder / "state")
    cache = Path(spec.provider_options["cache_dir"])
    assert cache.is_relative_to(workspace.folder / "state" / "providers")
    assert cache.is_dir()


def test_a_read_only_folder_has_no_cache(workspace: Workspace) -> None:
    """OpenVINO does not load if it cannot create its cache folder."""
    blocked = workspace.folder / "file"
    blocked.write_text("")
    spec = child_spec(OpenVino(provider="openvino"), workspace.package, blocked)
    assert "cache_dir" not in spec.provider_options
    engine = child_spec(TensorRt(provider="tensorrt"), workspace.package, blocked).provider_options
    assert engine["trt_engine_cache_enable"] == "0"
    assert not any(name.endswith("_path") for name in engine)


@pytest.mark.parametrize(("length", "sizes"), [(4, [1, 8, 32, 128, 512]), (100_000, [1, 8, 32])])
def test_large_windows_have_only_batch_sizes_that_occur(
    workspace: Workspace, length: int, sizes: list[int]
) -> None:
    package = load_package(write_package(workspace.folder / "long", length=length))
    assert child_spec(OpenVino(provider="openvino"), package, workspace.folder).batch_sizes == sizes
    static = OpenVino(provider="openvino", batch_sizes=[512])
    assert child_spec(static, package, workspace.folder).batch_sizes == [512]


def test_profiles_are_read_from_files(workspace: Workspace) -> None:
    path = workspace.folder / "d.yaml"
    path.write_text("description: x\ncandidates: [{provider: compiled, backend: faulty}]\n")
    (one,) = load_device(path).accelerators
    assert one.label == "compiled:faulty"
