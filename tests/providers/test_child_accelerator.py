"""An accelerator in a child process: real processes and a backend that fails on demand."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeai.providers.child.spec import ChildSpec
from edgeai.providers.cpu import CpuSession
from edgeai.providers.serving.accelerator import AcceleratorError
from edgeai.providers.serving.child_accelerator import ChildAccelerator
from tests.support.faulty import faulty_spec, install
from tests.support.live import patient, wait_for
from tests.support.packages import write_package

DEADLINE = 20.0
"""Seconds, for calls that must succeed on a machine that may be busy."""

Start = Callable[..., ChildAccelerator]


class Workspace:
    """A package, the faulty backend, and its control file."""

    def __init__(self, folder: Path) -> None:
        self.package = write_package(folder / "mean")
        self.path = install(folder / "site")
        self.control = folder / "control"
        rng = np.random.default_rng(1)
        self.windows = rng.normal(5, 3, (100, 4, 2)).astype(np.float32)
        self.cpu = CpuSession(self.package / "model.onnx", ["score", "contribution"])

    def break_by(self, fault: str) -> None:
        self.control.write_text(fault)

    def spec(self, **changes: Any) -> ChildSpec:
        return faulty_spec(self.package, self.control, **changes)

    def ort_spec(self, **changes: Any) -> ChildSpec:
        ort = {"kind": "ort", "provider": "CPUExecutionProvider", "provider_options": {}}
        return self.spec(**ort | changes)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    found = Workspace(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(found.path))
    return found


@pytest.fixture
def start(workspace: Workspace) -> Iterator[Start]:
    """Start accelerators that are closed at the end."""
    started = []

    def begin(spec: ChildSpec | None = None, **options: Any) -> ChildAccelerator:
        one = ChildAccelerator(spec or workspace.spec(), **options)
        started.append(one)
        one.start()
        return one

    yield begin
    for one in started:
        assert one.close()
        assert one.is_gone()


def fails(
    accelerator: ChildAccelerator, workspace: Workspace, deadline: float = DEADLINE
) -> AcceleratorError:
    with pytest.raises(AcceleratorError) as found:
        accelerator.run(workspace.windows, 3, deadline)
    accelerator.kill()
    return found.value


@pytest.fixture(scope="module", params=["ort", "compiled"])
def shared_child(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Workspace, ChildAccelerator]]:
    """One child of each kind, for calls with batches of any size."""
    workspace = Workspace(tmp_path_factory.mktemp(request.param))
    spec = workspace.ort_spec() if request.param == "ort" else workspace.spec()
    accelerator = ChildAccelerator(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(workspace.path))
        accelerator.start()
    yield workspace, accelerator
    assert accelerator.close()
    assert accelerator.is_gone()


@pytest.mark.parametrize("count", [1, 2, 8, 9, 32, 33, 100])
def test_the_child_computes_the_same_as_the_cpu_session(
    shared_child: tuple[Workspace, ChildAccelerator], count: int
) -> None:
    workspace, accelerator = shared_child
    outputs = accelerator.run(workspace.windows, count, DEADLINE)
    wanted = workspace.cpu.run(workspace.windows, count)
    assert [output.shape for output in outputs] == [(count,), (count, 2)]
    for output, right in zip(outputs, wanted, strict=True):
        np.testing.assert_allclose(output, right, rtol=1e-6)


def test_outputs_are_not_overwritten_by_the_next_call(workspace: Workspace, start: Start) -> None:
    accelerator = start()
    first = accelerator.run(workspace.windows, 5, DEADLINE)
    kept = [output.copy() for output in first]
    accelerator.run(workspace.windows[50:], 5, DEADLINE)
    assert all((one == other).all() for one, other in zip(first, kept, strict=True))


def test_facts_describe_what_was_loaded(workspace: Workspace, start: Start) -> None:
    facts = start(workspace.ort_spec()).facts
    assert facts is not None
    assert facts.outputs == {"score": [], "contribution": [2]}
    assert list(facts.assignment) == ["CPUExecutionProvider"]
    assert facts.runtime.startswith("onnxruntime ")


@pytest.mark.parametrize(
    ("fault", "cause", "text"),
    [
        ("raise", "exception", "ZE_RESULT_ERROR_DEVICE_LOST"),
        ("wrong shape", "wrong_shape", "score"),
        ("one row", "wrong_shape", "score"),
        ("memory error", "out_of_memory", ""),
        ("abort", "crashed", "ended by SIGABRT: vendor library: device lost"),
        ("exit", "crashed", "ended with 3"),
    ],
)
def test_a_failing_call(
    workspace: Workspace, start: Start, fault: str, cause: str, text: str
) -> None:
    accelerator = start()
    accelerator.run(workspace.windows, 3, DEADLINE)
    workspace.break_by(fault)
    error = fails(accelerator, workspace)
    assert error.cause == cause
    assert text in error.text


@pytest.mark.parametrize("how", ["hang", "stop"])
def test_no_answer_by_the_deadline(workspace: Workspace, start: Start, how: str) -> None:
    accelerator = start()
    assert accelerator.pid is not None
    if how == "stop":
        os.kill(accelerator.pid, signal.SIGSTOP)
    else:
        workspace.break_by("hang")
    began = time.monotonic()
    error = fails(accelerator, workspace, 0.2)
    assert error.cause == "deadline"
    assert 0.2 <= time.monotonic() - began < patient(5)
    wait_for(accelerator.is_gone, "a stopped process to be killed")


def test_the_deadline_holds_for_each_call_not_for_the_batch(
    workspace: Workspace, start: Start
) -> None:
    """A large batch on a slow device is not a failure."""
    accelerator = start(workspace.spec(batch_sizes=[1]))
    workspace.break_by("slow")
    began = time.monotonic()
    outputs = accelerator.run(workspace.windows, 10, 2.0)
    assert time.monotonic() - began > 2.0
    assert outputs[0].shape == (10,)


def test_killed_between_calls(workspace: Workspace, start: Start) -> None:
    accelerator = start()
    accelerator.check()
    assert accelerator.pid is not None
    os.kill(accelerator.pid, signal.SIGKILL)

    def found() -> AcceleratorError | None:
        try:
            accelerator.check()
        except AcceleratorError as error:
            return error
        return None

    error = wait_for(found, "the check to see it")
    assert (error.cause, error.text) == ("crashed", "ended by SIGKILL")


def test_memory_beyond_the_limit(workspace: Workspace, start: Start) -> None:
    accelerator = start(memory_limit_bytes=300 * 2**20)
    accelerator.check()
    workspace.break_by("hoard")
    accelerator.run(workspace.windows, 1, DEADLINE)
    with pytest.raises(AcceleratorError, match="MiB resident, the limit is 300 MiB") as error:
        accelerator.check()
    assert error.value.cause == "out_of_memory"
    accelerator.kill()


def test_the_childs_output_is_captured_and_bounded(
    workspace: Workspace, start: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    accelerator = start()
    workspace.break_by("chatter")
    for _ in range(5):
        accelerator.run(workspace.windows, 1, DEADLINE)
        accelerator.check()
    assert accelerator._child is not None
    assert accelerator._child._output.size < 400_000
    workspace.break_by("abort")
    assert "vendor library: device lost" in fails(accelerator, workspace).text
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("fault", "cause", "text"),
    [
        ("load abort", "start_failed", "ended by SIGABRT: vendor library: assertion failed"),
        ("load raise", "start_failed", "the device is taken"),
        ("load hang", "start_timeout", "not loaded within 3 s"),
    ],
)
def test_a_load_that_fails(workspace: Workspace, fault: str, cause: str, text: str) -> None:
    workspace.break_by(fault)
    accelerator = ChildAccelerator(
        workspace.spec(), start_timeout_seconds=3 if "hang" in fault else 60
    )
    with pytest.raises(AcceleratorError) as error:
        accelerator.start()
    assert error.value.cause == cause
    assert text in error.value.text
    wait_for(accelerator.is_gone, "nothing to be left")
    assert accelerator.close()


@pytest.mark.parametrize(
    ("python", "text"),
    [("/nowhere/python", "No such file"), ("/bin/false", "ended with 1")],
)
def test_an_invalid_interpreter(workspace: Workspace, python: str, text: str) -> None:
    accelerator = ChildAccelerator(workspace.spec(), python)
    with pytest.raises(AcceleratorError) as error:
        accelerator.start()
    assert error.value.cause == "start_failed"
    assert text in error.value.text
    assert accelerator.close()


def test_an_invalid_graph(workspace: Workspace) -> None:
    accelerator = ChildAccelerator(workspace.ort_spec(graph=str(workspace.package / "model.yaml")))
    with pytest.raises(AcceleratorError) as error:
        accelerator.start()
    assert error.value.cause == "start_failed"
    assert accelerator.close()


def test_a_script_that_starts_python_as_a_child_is_refused(
    workspace: Workspace, tmp_path: Path
) -> None:
    """The kernel would not kill that child with this process."""
    script = tmp_path / "python with a blank"
    for command, works in ((sys.executable, False), (f"exec {sys.executable}", True)):
        script.write_text(
            f'#!/bin/sh\nexport PYTHONPATH={workspace.path}\n{command} "$@"\nexit $?\n'
        )
        script.chmod(0o755)
        accelerator = ChildAccelerator(workspace.spec(), script)
        if works:
            assert accelerator.start().outputs
        else:
            with pytest.raises(AcceleratorError, match="a script that ends with `exec`"):
                accelerator.start()
        assert accelerator.close()


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_no_descriptor_leaks_when_they_run_out(workspace: Workspace) -> None:
    before = open_descriptors()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)  # the lowest that is free, as long as no other is closed
    os.close(free)
    try:
        for more in range(9):
            resource.setrlimit(resource.RLIMIT_NOFILE, (free + more, limits[1]))
            accelerator = ChildAccelerator(workspace.spec())
            accelerator.start_nonblocking()
            with pytest.raises(AcceleratorError, match="cannot be started: Too many open files"):
                accelerator.poll_ready()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert open_descriptors() == before


def test_missing_shared_memory_is_a_failed_start(workspace: Workspace) -> None:
    accelerator = ChildAccelerator(workspace.spec())
    accelerator.start_nonblocking()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, limits[1]))
    try:
        with pytest.raises(AcceleratorError, match="cannot share") as error:
            wait_for(accelerator.poll_ready, "the end of the load")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert error.value.cause == "start_failed"
    assert accelerator.close()


def test_many_starts_leave_nothing_behind(workspace: Workspace) -> None:
    before = open_descriptors()
    for number in range(12):
        accelerator = ChildAccelerator(workspace.spec())
        accelerator.start_nonblocking()
        if number % 2:
            wait_for(accelerator.poll_ready, "it to load")
            accelerator.run(workspace.windows, 3, DEADLINE)
        accelerator.kill()
        wait_for(accelerator.is_gone, "it to end")
    assert open_descriptors() == before


def test_arrays_too_large_to_share(workspace: Workspace) -> None:
    accelerator = ChildAccelerator(workspace.spec(batch_sizes=[1]))
    accelerator._largest = 10**9
    with pytest.raises(AcceleratorError, match="use smaller batch_sizes"):
        accelerator.start()
    assert accelerator.close()


def test_starting_does_not_wait(workspace: Workspace) -> None:
    workspace.break_by("load hang")
    accelerator = ChildAccelerator(workspace.spec())
    began = time.monotonic()
    accelerator.start_nonblocking()
    assert accelerator.poll_ready() is None
    assert time.monotonic() - began < patient(5)
    accelerator.kill()
    wait_for(accelerator.is_gone, "it to end")


def test_a_call_in_two_steps(workspace: Workspace, start: Start) -> None:
    accelerator = start()
    accelerator.begin(workspace.windows, 7)
    assert accelerator.is_busy
    outputs = wait_for(accelerator.poll, "the answer")
    assert not accelerator.is_busy
    assert outputs[0].shape == (7,)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_only_the_parent_ends_it(
    workspace: Workspace, start: Start, number: signal.Signals
) -> None:
    """Ctrl-C and systemd signal all processes, but the parent still computes windows then."""
    accelerator = start()
    assert accelerator.pid is not None
    os.kill(accelerator.pid, number)
    accelerator.run(workspace.windows, 3, DEADLINE)
    accelerator.check()


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in {"Z", "X"}


@pytest.mark.parametrize("fault", ["", "load hang", "hang"])
def test_a_parent_that_is_killed_leaves_nothing_behind(workspace: Workspace, fault: str) -> None:
    """Also while the child hangs in a vendor's library."""
    program = f"""
        import sys, time
        import numpy as np
        from pathlib import Path
        from edgeai.providers.serving.child_accelerator import ChildAccelerator
        from edgeai.providers.child.spec import ChildSpec
        accelerator = ChildAccelerator(ChildSpec.from_json(sys.argv[1]))
        accelerator.start_nonblocking()
        print(accelerator.pid, flush=True)
        if sys.argv[2] != "load hang":
            while accelerator.poll_ready() is None:
                time.sleep(0.01)
        Path({str(workspace.control)!r}).write_text(sys.argv[2])
        if sys.argv[2] == "hang":
            accelerator.begin(np.zeros((1, 4, 2), np.float32), 1)
        print("ready", flush=True)
        time.sleep(60)
    """
    if fault == "load hang":
        workspace.break_by(fault)
    command = [sys.executable, "-c", textwrap.dedent(program), workspace.spec().to_json(), fault]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert parent.stdout.readline() == "ready\n"
        assert alive(child)
        parent.kill()
    wait_for(lambda: not alive(child), "the child to end with its parent")


def test_the_child_imports_only_from_its_own_environment(
    workspace: Workspace, tmp_path: Path
) -> None:
    """Under another Python only the child's own modules of edgeai can be imported."""
    adapter = tmp_path / "site" / "edgeai_backend_faulty.py"
    probe = """
import sys
for name in ("edgeai.engine", "edgeai.config", "edgeai.providers.session", "serve", "spec"):
    try:
        __import__(name)
    except ImportError:
        continue
    raise RuntimeError(f"{name} is importable")
"""
    adapter.write_text(probe + adapter.read_text())
    accelerator = ChildAccelerator(workspace.spec())
    accelerator.start()
    assert accelerator.close()


def test_another_interpreter_does_not_get_our_python_variables(
    workspace: Workspace, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    venv.create(other, with_pip=False, symlinks=True)
    (site,) = other.glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(f"{Path(np.__file__).parents[1]}\n")
    ours = tmp_path / "ours"
    ours.mkdir()
    (ours / "numpy.py").write_text("raise ImportError('of another environment')")
    monkeypatch.setenv("PYTHONPATH", str(ours))
    accelerator = start(workspace.ort_spec(), python=other / "bin" / "python")
    outputs = accelerator.run(workspace.windows, 3, DEADLINE)
    assert (outputs[0] == workspace.cpu.run(workspace.windows, 3)[0]).all()


def test_closing_ends_a_child_that_hangs(workspace: Workspace, start: Start) -> None:
    accelerator = start()
    workspace.break_by("hang")
    accelerator.begin(workspace.windows, 1)
    assert accelerator.close(0.1)
    assert accelerator.is_gone()


def test_a_vendors_helper_process_ends_with_the_child(workspace: Workspace, start: Start) -> None:
    """A compiler may run as a separate process, which must end with the child."""
    accelerator = start()
    workspace.break_by("helper")
    accelerator.run(workspace.windows, 1, DEADLINE)
    helper = int(workspace.control.with_name("helper").read_text())
    assert alive(helper)
    accelerator.kill()
    wait_for(lambda: not alive(helper), "the helper to end")
