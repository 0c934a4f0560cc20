"""Read the blocks of a documentation page, and run its commands as a reader would.

A comment in the line before a block says what is not seen on the page:

    <!-- not run: REASON -->      the commands cannot be run here, and why
    <!-- run by: TEST, HOW -->    another test runs them
    <!-- exit code: 2 -->         the last command ends with this code
    <!-- stays running: NAME -->  the command runs until the end, as in a terminal of its own
    <!-- stop: NAME -->           that command gets Ctrl-C before this block
    <!-- shown by: NAME -->       this text is printed by that command, not by the block before
    <!-- goes on after: PAGE -->  anywhere in a page: its commands need what that page has made

A block that begins with `# NAME.yaml` or `# NAME.conf` is written into that file. A block `text`
after a block `sh` is its output: `...` stands for any text, and a line `...` for any lines.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.live import patient, wait_for
from tests.support.offline import CUT_OFF

BLOCK = re.compile(r"^(?:<!-- ([^\n]*) -->\n)?```(\w*)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FILE_LINE = re.compile(r"# ([\w./-]+\.(?:yaml|conf))\b")
FOLLOWS = re.compile(r"^<!-- goes on after: (\S+) -->$", re.MULTILINE)
MARKS = ("not run", "run by", "exit code", "stays running", "stop", "shown by")
LOOPBACK_UP = """
import fcntl, socket, struct, sys
with socket.socket() as one:
    fcntl.ioctl(one, 0x8914, struct.pack("16sh", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
print("up", flush=True)
sys.stdin.read()
"""
PROGRAMS = ("unshare", "nsenter", "mosquitto_sub", "curl", "openssl")
OUTSIDE = re.compile(
    r"\b(?:sudo|docker|podman|systemctl|apt|apt-get|dpkg|pip3?|venv|make|git)\b"
    r"|(?:^|[\s=>])/(?!dev/null)\w[\w./-]*",
    re.MULTILINE,
)
"""Programs and paths of the machine: a test stays in its folder."""
COMMAND_SECONDS, SHOWN_SECONDS = 60.0, 30.0


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    kind: str
    text: str
    marks: dict[str, str]
    """By the names of MARKS."""
    line: int

    @property
    def is_run_here(self) -> bool:
        """Whether `walk` runs its commands."""
        return self.kind == "sh" and not self.marks.keys() & {"not run", "run by"}


def blocks(text: str) -> list[Block]:
    """Return the fenced blocks of a page."""
    return [
        Block(found[2], found[3], _marks(found[1] or ""), text.count("\n", 0, found.start()) + 1)
        for found in BLOCK.finditer(text)
    ]


def commands(text: str) -> list[Block]:
    """Return the blocks of commands."""
    return [block for block in blocks(text) if block.kind == "sh"]


def page_before(text: str) -> str | None:
    """Return the page after which the commands of this one go on."""
    found = FOLLOWS.search(text)
    return found[1] if found else None


def _marks(comment: str) -> dict[str, str]:
    name, colon, value = comment.partition(":")
    return {name: value.strip()} if colon and name in MARKS else {}


def pattern_of(text: str) -> str:
    """Return a pattern for printed lines: `...` is any text, and a line `...` any lines."""
    lines = [
        r"(?:[^\n]*\n)*?"
        if line.strip() == "..."
        else re.escape(line).replace(r"\.\.\.", r"[^\n]*")
        for line in text.splitlines()
    ]
    return "".join(line if line.endswith("*?") else f"{line}[ ]*\n" for line in lines)


class Terminal:
    """A command that stays running, and what it has printed."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log
        self._read = 0

    def shows(self, text: str) -> None:
        """Wait until the text is printed after what was seen before."""
        pattern = re.compile(rf"^{pattern_of(text)}", re.MULTILINE)

        def found() -> re.Match[str] | None:
            return pattern.search(self.log.read_text(encoding="utf-8"), self._read)

        try:
            self._read = wait_for(found, text, SHOWN_SECONDS).end()
        except AssertionError as error:
            raise AssertionError(f"{error}\n--- printed:\n{self.log.read_text()}") from None

    def press_ctrl_c(self) -> None:
        """End it as a reader does."""
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.wait(patient(20))

    def end(self) -> None:
        """Leave nothing of it."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(patient(10))
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()


class Desk:
    """A folder, a network with nothing but a loopback, and terminals: the reader's PC."""

    def __init__(self, folder: Path) -> None:
        for name in PROGRAMS:
            if shutil.which(name) is None:
                pytest.skip(f"{name} is not installed")
        self.folder = folder
        self.terminals: dict[str, Terminal] = {}
        program = [sys.executable, "-c", LOOPBACK_UP]
        pipe = subprocess.PIPE
        self._network = subprocess.Popen([*CUT_OFF, *program], stdin=pipe, stdout=pipe)
        assert self._network.stdout is not None
        if self._network.stdout.readline() != b"up\n":
            pytest.skip("this system gives no network namespaces to tests (unshare -n)")
        user = [] if os.geteuid() == 0 else ["-U", "--preserve-credentials"]
        self._enter = ["nsenter", *user, "-n", "-t", str(self._network.pid)]
        path = [str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin"]
        self._environment = {
            **os.environ,
            "PATH": ":".join(path),
            "EDGEAI_STATE_DIR": str(folder / "state"),
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "120",
        }

    def __enter__(self) -> Desk:
        return self

    def __exit__(self, *_: object) -> None:
        for terminal in reversed(self.terminals.values()):
            terminal.end()
        assert self._network.stdin is not None
        assert self._network.stdout is not None
        self._network.stdin.close()
        self._network.stdout.close()
        self._network.wait()

    def start(self, name: str, command: str) -> Terminal:
        """Start a command that stays running."""
        log = self.folder / f".{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*self._enter, "bash", "-c", command], cwd=self.folder, env=self._environment,
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self.terminals[name] = Terminal(process, log)
        return self.terminals[name]

    def run(self, command: str) -> tuple[int, str]:
        """Run commands to their end; return the exit code and what was printed."""
        done = subprocess.run(
            [*self._enter, "bash", "-euo", "pipefail", "-c", command], cwd=self.folder,
            env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            check=False, timeout=patient(COMMAND_SECONDS),
        )  # fmt: skip
        return done.returncode, done.stdout

    def start_broker(self) -> None:
        """Start mosquitto on port 1883, as a Linux distribution does when it is installed."""
        config = self.folder / ".mosquitto.conf"
        config.write_text("listener 1883 127.0.0.1\nallow_anonymous true\nuser root\n")
        broker = self.start("broker", f"exec mosquitto -c {config}")
        wait_for(lambda: "running" in broker.log.read_text(), "mosquitto to run")


def walk(page: Path, desk: Desk) -> None:
    """Do what a page says, from its first block to its last."""
    said: str | None = None
    for block in blocks(page.read_text(encoding="utf-8")):
        try:
            said = _do(block, desk, said)
        except (AssertionError, subprocess.TimeoutExpired) as error:
            raise AssertionError(f"{page.name}:{block.line}: {block.text}{error}") from error


def _do(block: Block, desk: Desk, said: str | None) -> str | None:
    """Do one block; return what its commands print, or None."""
    if "stop" in block.marks:
        desk.terminals[block.marks["stop"]].press_ctrl_c()
    if named := FILE_LINE.match(block.text):
        path = desk.folder / named[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        # mosquitto leaves root for a user of its own, which may not read the folder of a test.
        path.write_text(block.text + "user root\n" * (block.kind == "conf"), encoding="utf-8")
    elif block.kind == "text":
        _compare(block, desk, said)
    elif block.kind == "sh" and "stays running" in block.marks:
        desk.start(block.marks["stays running"], block.text)
    elif block.is_run_here:
        unsafe = OUTSIDE.findall(block.text)
        assert not unsafe, f"would change this machine: {unsafe}; mark the block `not run`"
        code, printed = desk.run(block.text)
        assert code == int(block.marks.get("exit code", 0)), f"exit code {code}\n{printed}"
        return printed
    return None


def _compare(block: Block, desk: Desk, said: str | None) -> None:
    if "shown by" in block.marks:
        desk.terminals[block.marks["shown by"]].shows(block.text)
        return
    assert said is not None, "no command before this block has printed it"
    printed = said if said.endswith("\n") else f"{said}\n"
    assert re.fullmatch(pattern_of(block.text), printed), f"--- printed:\n{said}"
