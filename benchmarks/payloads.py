"""payloads: CPU per value of each shape of message, in one process, without a broker.

All kinds take turns in short rounds, so that disturbances of the machine affect all of them; the
figure is the median over the rounds. The model is tiny and its windows are far apart: what is
measured is the way from bytes to samples.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from rich.table import Table

from benchmarks.result import Result, Scale, Target, rounded
from edgeai.messages import SECOND_NS, Message
from edgeai.testing import MemoryNode, build_package, write_config

SIGNALS = 100
NAMES = [f"Ch1.Dev1.Tag{number}" for number in range(SIGNALS)]
HOP = 10_000  # samples from one window to the next
FIRST_MS = 1_763_719_200_000
MESSAGES = 50  # in a turn
TURNS = 4  # of each kind in a round
ROUNDS = 15
MAX_RATIO = 2.0  # of a value in a batch of Kepware to one in a row

HOLD = {"alignment": "hold", "max_age_seconds": 60}


@dataclass(frozen=True)
class Kind:
    """One shape of message."""

    name: str
    source: dict[str, Any]
    make: Callable[[int], Any]
    """Returns the document of the n-th message, a second after the one before."""
    samples: int = 1
    """Samples of all signals in a message."""
    signals: int = SIGNALS
    stream: dict[str, Any] = field(default_factory=dict)


def _row(n: int) -> Any:
    return {"timestamp": FIRST_MS + 1000 * n, "values": _values(n)}


def _row_of_ten(n: int) -> Any:
    return {"timestamp": FIRST_MS + 1000 * n, "values": dict(list(_values(n).items())[:10])}


def _values(n: int) -> dict[str, float]:
    return {name: number + n / 8 for number, name in enumerate(NAMES)}


def _kepware(n: int) -> Any:
    at = FIRST_MS + 1000 * n
    values = [{"id": name, "v": value, "q": True, "t": at} for name, value in _values(n).items()]
    return {"timestamp": at, "values": values}


def _iso(n: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(FIRST_MS // 1000 + n))


def _siemens(n: int) -> Any:
    return {
        "seq": n,
        "vals": [
            {"id": name, "qc": 3, "ts": _iso(n), "val": value} for name, value in _values(n).items()
        ],
    }


def _opcua(n: int) -> Any:
    payload = {
        name: {"Value": value, "SourceTimestamp": _iso(n)} for name, value in _values(n).items()
    }
    return {"MessageType": "ua-data", "Messages": [{"Timestamp": _iso(n), "Payload": payload}]}


def _thingsboard(n: int) -> Any:
    rows = [{"ts": FIRST_MS + 1000 * (10 * n + k), "values": _values(k)} for k in range(10)]
    return {"Press 1": rows}


def _telegraf(n: int) -> Any:
    at = FIRST_MS // 1000 + n
    return {"metrics": [{"tags": {"host": "a"}, "fields": _values(n), "timestamp": at}]}


def _preset(name: str, **keys: Any) -> dict[str, Any]:
    return {"preset": name, "topic": "bench/{asset}", **keys}


ROW = {
    "topic": "bench/{asset}",
    "time": {"path": "timestamp", "unit": "ms"},
    "values_path": "values",
}
NONE = {"alignment": "none"}
KINDS = (
    Kind("row", ROW, _row),
    Kind("row of ten", ROW, _row_of_ten, signals=10),
    Kind("row, aligned", ROW, _row, stream=HOLD),
    Kind("kepware", _preset("kepware"), _kepware, stream=NONE),
    Kind("kepware, aligned", _preset("kepware"), _kepware, stream=HOLD),
    Kind("siemens-ie", _preset("siemens-ie", names=None), _siemens, stream=HOLD),
    Kind("opcua-json", _preset("opcua-json"), _opcua, stream=HOLD),
    Kind("thingsboard-gateway", _preset("thingsboard-gateway"), _thingsboard, samples=10),
    Kind("telegraf-batch", _preset("telegraf-batch"), _telegraf),
)


class _Line:
    """One kind on its way: a node, and the messages of its turns."""

    def __init__(self, kind: Kind, folder: Path) -> None:
        pipeline = {"model": f"of{kind.signals}", "source": kind.source, "stream": kind.stream}
        config = write_config(folder / f"{kind.name}.yaml", {"p": pipeline})
        self.node = MemoryNode(config)
        self.kind = kind
        self._messages = self._make()

    def _make(self) -> Iterator[Message]:
        n = 0
        while True:
            payload = json.dumps(self.kind.make(n), separators=(",", ":")).encode()
            at_ns = (FIRST_MS // 1000 + (n + 1) * self.kind.samples) * SECOND_NS
            yield "bench/m", payload, at_ns, 0
            n += 1

    def measure(self) -> float:
        """Return the CPU per value of some turns, microseconds."""
        turns = [[next(self._messages) for _ in range(MESSAGES)] for _ in range(TURNS)]
        self.node.source.turns += turns
        started = time.process_time()
        for _ in turns:
            self.node.engine.turn(0)
        spent = time.process_time() - started
        return spent * 1e6 / (TURNS * MESSAGES * self.kind.samples * self.kind.signals)

    def check(self) -> str | None:
        """Return what was lost; None: nothing."""
        pipeline = self.node.pipelines[0]
        lost = {reason: count for reason, count in pipeline.metrics.drops.items() if count}
        newest = [state.stream.newest_ns for state in pipeline.streams.values()]
        if lost or len(newest) != 1:
            return f"{self.kind.name}: lost {lost}, {len(newest)} streams"
        return None


def measure_payloads(scale: Scale) -> Result:
    """Measure each kind in turns."""
    found: dict[str, list[float]] = {kind.name: [] for kind in KINDS}
    with TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        for count in {kind.signals for kind in KINDS}:
            signals = NAMES[:count]
            build_package(folder / f"of{count}", signals=signals, length=2, hop=HOP, threshold=1e9)
        lines = [_Line(kind, folder) for kind in KINDS]
        for line in lines:
            stack.callback(line.node.close)
        for line in lines:
            line.measure()  # caches are warm, the rate of each signal is known
        for _ in range(2 if scale.quick else ROUNDS):
            for line in lines:
                found[line.kind.name].append(line.measure())
        faults = [fault for line in lines if (fault := line.check()) is not None]
    costs = {name: median(values) for name, values in found.items()}
    ratios = {name: _ratio(values, found[_base_of(name)]) for name, values in found.items()}
    to_ten = _ratio(found["kepware"], found["row of ten"])
    table = Table("message", "µs a value", "of a row's", title="payloads: from bytes to samples")
    for name, cost in costs.items():
        table.add_row(name, f"{cost:.3f}", f"{ratios[name]:.2f}")
    figures = {
        "signals": SIGNALS,
        "cpu_us_per_value": {name: rounded(cost, 4) for name, cost in costs.items()},
        "ratio_to_row": {name: rounded(ratio, 3) for name, ratio in ratios.items()},
    }
    figures["kepware_to_row_of_ten"] = rounded(to_ten, 3)
    targets = [
        Target(
            "kepware, aligned: CPU of a value over an aligned row's",
            ratios["kepware, aligned"],
            MAX_RATIO,
        ),
        Target("kepware: CPU of a value over that in a row of ten", to_ten, MAX_RATIO),
    ]
    return Result(figures, [table], targets, faults=faults)


def _base_of(name: str) -> str:
    """Return the row that a kind is compared with: of the same signals, aligned as it is."""
    kind = next(one for one in KINDS if one.name == name)
    return "row, aligned" if kind.stream.get("alignment") == "hold" else "row"


def _ratio(values: list[float], base: list[float]) -> float:
    return median(one / other for one, other in zip(values, base, strict=True))
