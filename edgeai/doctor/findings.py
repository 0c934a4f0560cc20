"""What `edgeai doctor` checks, and what it finds."""

from typing import Literal, NamedTuple

Status = Literal["ok", "warn", "fail", "skip"]

CHECKS: dict[str, str] = {
    "configuration": "the file can be read, and every key and value is allowed",
    "files": "secrets and certificates that it names can be read, and secrets are not readable by "
    "every user of the machine",
    "package": "hashes of each model package, its graph, and its golden windows on this CPU",
    "runtime": "exactly one build of ONNX Runtime is installed, and it is complete",
    "providers": "providers that the device profile asks for against what this machine has",
    "state folder": "it can be written, has room, and outlives a restart of the container",
    "memory": "memory limit of the control group or container, and open files",
    "cpu": "CPU quota of the control group or container against the threads of the models",
    "container": "traps inside a container: addresses of the container itself, temporary files",
    "clock": "this machine's clock: plausible, and synchronised by the kernel's account",
    "http port": "the port of page and metrics is free, or this node has it",
    "broker address": "the broker's name resolves",
    "broker port": "a TCP connection can be made",
    "tls": "TLS handshake: chain, host name, dates",
    "certificate": "days until the certificates of broker, client and CA expire",
    "login": "the broker accepts the login, with MQTT 5 and with MQTT 3.1.1",
    "node name": "no other node with this name is online, by its retained status",
    "subscription": "the broker grants each subscription, with its QoS",
    "delivery": "messages arrive on each subscription; else topics like it that do",
    "samples": "the messages that arrived become samples, by the pipeline's own decoder",
    "sample rate": "samples a second of each asset against the model's rate, and bursts",
    "sender clock": "times in the messages against their arrival",
    "publishing": "the broker accepts predictions, alarms, events and status",
    "broker limits": "retained messages, QoS, packet size",
}
"""What each check looks at, in the order of the report."""

NEEDS_OTHER = "needs what another check has found missing"
"""Why a check was skipped, for those that another one has made impossible."""


class Finding(NamedTuple):
    """One line of the report."""

    check: str
    """A key of `CHECKS`."""
    status: Status
    """`skip`: not checked, because of another finding or because it cannot be known."""
    found: str
    advice: str = ""
    """What to do; empty for `ok`."""
    subject: str = ""
    """What of several it is about: a pipeline, a topic filter, a file."""


class Findings:
    """The findings so far; several threads append."""

    def __init__(self) -> None:
        self._found: list[Finding] = []

    def ok(self, check: str, found: str, subject: str = "") -> None:
        """Note that all is well."""
        self.add(Finding(check, "ok", found, "", subject))

    def warn(self, check: str, found: str, advice: str, subject: str = "") -> None:
        """Note what works and may not be meant."""
        self.add(Finding(check, "warn", found, advice, subject))

    def fail(self, check: str, found: str, advice: str, subject: str = "") -> None:
        """Note what hinders the node."""
        self.add(Finding(check, "fail", found, advice, subject))

    def skip(self, check: str, found: str, subject: str = "") -> None:
        """Note what was not checked, and why."""
        self.add(Finding(check, "skip", found, "", subject))

    def add(self, finding: Finding) -> None:
        """Append a finding, unless another step has found the same."""
        assert finding.check in CHECKS, finding.check
        known = ((one.check, one.subject, one.found) for one in self._found)
        if (finding.check, finding.subject, finding.found) not in known:
            self._found.append(finding)

    def has(self, check: str) -> bool:
        """Return whether a check has found anything yet."""
        return any(one.check == check for one in self._found)

    def in_order(self) -> list[Finding]:
        """Return the findings in the order of `CHECKS`."""
        order = list(CHECKS)
        return sorted(self._found, key=lambda one: order.index(one.check))
