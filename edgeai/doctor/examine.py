"""Run all checks, those that do not need each other at the same time, each within a time limit."""

import difflib
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from edgeai.assembly.plan import Plan, load_profile
from edgeai.config.device import Device
from edgeai.config.node import Config, find_config, load_config
from edgeai.doctor import machine, models
from edgeai.doctor.arrivals import check_arrivals
from edgeai.doctor.files import check_files
from edgeai.doctor.findings import CHECKS, NEEDS_OTHER, Finding, Findings
from edgeai.doctor.ports import check_http_port, find_local_node
from edgeai.doctor.session import check_broker
from edgeai.engine.pipeline import Pipeline
from edgeai.errors import ConfigError, Problem, one_line, printable
from edgeai.messages import Message

LISTEN_SECONDS = 10.0
BROKER_SECONDS = 60.0  # beside listening
MODELS_SECONDS = 120.0  # a large graph is read in a child, and proven on the CPU
MACHINE_SECONDS = 20.0
ARRIVALS_SECONDS = 20.0


class Examination(NamedTuple):
    """All findings, and how long it took."""

    config: str
    findings: list[Finding]
    seconds: float

    @property
    def status(self) -> str:
        """The worst status of a finding: `ok`, `warn` or `fail`."""
        found = {one.status for one in self.findings}
        return next((one for one in ("fail", "warn") if one in found), "ok")


def examine(name: str, listen_seconds: float = LISTEN_SECONDS) -> Examination:
    """Check a configuration, this machine and the broker; change nothing on either.

    It ends within `listen_seconds` and the longest of the limits above, and `ARRIVALS_SECONDS`,
    whatever hangs.

    Args:
        name: The configuration's file, or the name of a shipped one.
        listen_seconds: How long to wait for messages.
    """
    started = time.monotonic()
    findings = Findings()
    config, path = _read(name, findings)
    steps = [_Step("clock", findings, MACHINE_SECONDS, lambda: machine.check_clock(findings))]
    heard, plans, built = list[Message](), list[Plan](), list[Pipeline]()
    with tempfile.TemporaryDirectory(prefix="edgeai-doctor-", ignore_cleanup_errors=True) as folder:
        if config is None:
            steps.append(
                _Step("runtime", findings, MACHINE_SECONDS, lambda: models.check_runtime(findings))
            )
        else:
            known = config
            local = find_local_node(known, path)

            def ask_broker() -> None:
                can_log_in = check_files(known, findings)
                facts = models.manifest_facts(path, known)
                heard.extend(
                    check_broker(
                        known, facts, findings, listen_seconds, local, can_log_in=can_log_in
                    )
                )

            def load_models() -> None:
                plan = models.check_models(path, known, Path(folder), findings)
                if plan is not None:
                    plans.append(plan)
                    built.extend(models.prove_models(plan, findings))

            def look_at_machine() -> None:
                check_http_port(known, local, findings)
                machine.check_state_folder(models.state_folder_of(known), findings)
                models.check_runtime(findings)
                machine.check_container(known, findings)
                device = _device(known, path, findings)
                machine.check_limits(known, device.cpu.threads if device else 1, findings)
                if device is not None:
                    models.check_providers(known, device, findings)

            steps += [
                _Step("broker port", findings, BROKER_SECONDS + listen_seconds, ask_broker),
                _Step("package", findings, MODELS_SECONDS, load_models),
                _Step("container", findings, MACHINE_SECONDS, look_at_machine),
            ]
        for step in steps:
            step.wait()
        if config is not None and built:
            known, taken = config, heard.copy()
            _Step(
                "samples", findings, ARRIVALS_SECONDS,
                lambda: check_arrivals(known, built, taken, findings),
            ).wait()  # fmt: skip
        for pipeline in built:
            pipeline.session.close()
    for check in CHECKS:
        if not findings.has(check):
            findings.skip(check, NEEDS_OTHER)
    return Examination(str(path), findings.in_order(), time.monotonic() - started)


def _read(name: str, findings: Findings) -> tuple[Config | None, Path]:
    path = Path(name)
    try:
        path = find_config(name)
        config = load_config(path)
    except ConfigError as error:
        for problem in error.problems:
            findings.fail("configuration", str(problem), _config_advice(path, problem))
        return None, path
    count = len(config.pipelines)
    findings.ok("configuration", f"node {config.node}, {count} pipeline{'s' * (count > 1)}")
    return config, path


def _config_advice(path: Path, problem: Problem) -> str:
    """Return what to do about a configuration that cannot be read."""
    if problem.rule != "no such file":
        return "correct it (docs/reference.md)"
    others: list[str] = []
    with suppress(OSError):
        others = [one.name for one in path.parent.iterdir() if one.suffix in {".yaml", ".yml"}]
    near = difflib.get_close_matches(path.name, others, 1)
    hint = f"did you mean {path.parent / near[0]}? " if near else ""
    return f"{hint}give the path of your configuration (docs/first-hour.md writes one)"


def _device(config: Config, path: Path, findings: Findings) -> Device | None:
    try:
        return load_profile(config.device, path)
    except ConfigError as error:
        if not findings.has("providers"):
            findings.fail("providers", str(error), "correct the device (docs/providers.md)")
        return None


class _Step:
    """Some checks in a thread of their own, which ends with the process if it hangs."""

    def __init__(
        self, check: str, findings: Findings, limit_seconds: float, run: Callable[[], None]
    ) -> None:
        self._check, self._findings, self._limit = check, findings, limit_seconds
        self._deadline = time.monotonic() + limit_seconds
        self._run = run
        self._thread = threading.Thread(target=self._guarded, name=f"doctor {check}", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait until the checks have ended, or their time is over."""
        self._thread.join(max(0.0, self._deadline - time.monotonic()))
        if self._thread.is_alive():
            self._findings.fail(
                self._check, f"this and what follows did not end within {self._limit:g} s",
                "find out what hangs: a name server, a network disk, a very large model",
            )  # fmt: skip

    def _guarded(self) -> None:
        try:
            self._run()
        except Exception as error:  # noqa: BLE001  the other checks go on
            text = printable(f"{type(error).__name__}: {one_line(error)}")
            self._findings.fail(
                self._check, f"the check itself has failed: {text}", "please report this defect"
            )
