"""What the child process of an accelerator is told to load, and what it says of what it loaded.

Self-contained: the child may run under another Python (3.10 or newer) without edgeai.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal


class LoadError(Exception):
    """A session or a compiled artefact that cannot be built as asked; the text says why."""


class ShapeError(LoadError):
    """Outputs that are not one row a window, or whose rows have another shape than at first."""


@dataclass(frozen=True)
class ChildSpec:
    """One session to build and serve."""

    kind: Literal["ort", "compiled"]
    graph: str
    """Path of the ONNX graph or of the compiled artefact."""
    input_name: str
    outputs: list[str]
    """Names, in the order in which they are returned."""
    window: tuple[int, int]
    """Length and channels."""
    provider: str
    """Name of the ORT execution provider, or of the backend's entry point."""
    provider_options: dict[str, str] = field(default_factory=dict)
    session_config: dict[str, str] = field(default_factory=dict)
    library: str | None = None
    """A provider plugin to register."""
    device: dict[str, str] = field(default_factory=dict)
    """Which device, such as {"type": "NPU", "index": "0"}."""
    threads: int = 1
    batch_sizes: list[int] = field(default_factory=lambda: [1, 8, 32, 128, 512])
    """What batches are padded to; the largest bounds the shared memory, larger ones are cut."""
    io_binding: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    """Variables that a vendor's library reads when it is loaded."""
    min_nodes_share: float = 1.0
    """Share of the graph's compute nodes that must be on the provider."""

    def to_json(self) -> str:
        """Return the text that `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "ChildSpec":
        """Read what `to_json` wrote."""
        content = json.loads(text)
        content["window"] = tuple(content["window"])
        return cls(**content)


@dataclass(frozen=True)
class Facts:
    """What was loaded, as read back from it."""

    providers: list[str] = field(default_factory=list)
    """What ORT says the session has: proves nothing."""
    assignment: dict[str, list[str]] = field(default_factory=dict)
    """Operators by the provider that computes them."""
    device: str = ""
    driver: str = ""
    runtime: str = ""
    """Such as `onnxruntime 1.24.1`."""
    outputs: dict[str, list[int]] = field(default_factory=dict)
    """Shape of one row of each output, without the batch."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Facts":
        """Read what `to_json` gave."""
        return cls(**content)
