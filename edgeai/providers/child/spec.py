"""What the child process must load (`ChildSpec`) and what it has loaded (`Facts`).

Self-contained: the child may run under another Python (3.10 or newer) without edgeai.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from .feeds import row_shape


class LoadError(Exception):
    """A model cannot be loaded as requested; the text gives the reason."""


class ShapeError(LoadError):
    """Outputs do not have one row per window, or a row has another shape than at the load."""


@dataclass(frozen=True)
class ChildSpec:
    """One model to load and serve."""

    kind: Literal["ort", "compiled"]
    graph: str
    """Path of the ONNX graph or of the compiled artefact."""
    input_name: str
    outputs: list[str]
    """Names of the outputs, in the order in which they are returned."""
    window: tuple[int, ...]
    """Shape of one window, such as (W, C)."""
    provider: str
    """Name of the ORT execution provider, or of the backend's entry point."""
    dtype: str = "float32"
    """Type of the values of a window, by its name in numpy."""
    provider_options: dict[str, str] = field(default_factory=dict)
    session_config: dict[str, str] = field(default_factory=dict)
    library: str | None = None
    """Provider plugin to register: a path or a module's name."""
    device: dict[str, str] = field(default_factory=dict)
    """The device, such as {"type": "NPU", "index": "0"}."""
    threads: int = 1
    batch_sizes: list[int] = field(default_factory=lambda: [1, 8, 32, 128, 512])
    """Batches are padded to one of these; a batch above the largest takes several calls."""
    io_binding: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    """Environment variables, set before the vendor's library is loaded."""
    min_nodes_share: float = 1.0
    """Share of the graph's nodes that must be on the provider."""
    context: int = 0
    """Values of the second input `context` of each window; 0: there is none."""

    @property
    def row(self) -> tuple[int, ...]:
        """Shape of one window with its context, as it comes (`feeds`)."""
        return row_shape(self.window, self.context)

    def to_json(self) -> str:
        """Return the JSON text that `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "ChildSpec":
        """Read the text that `to_json` returned."""
        content = json.loads(text)
        content["window"] = tuple(content["window"])
        return cls(**content)


@dataclass(frozen=True)
class Facts:
    """What was loaded, as read back from the runtime."""

    providers: list[str] = field(default_factory=list)
    """ORT's `get_providers()`, which does not prove that they are used."""
    assignment: dict[str, list[str]] = field(default_factory=dict)
    """Operators of the graph by the provider that computes them."""
    device: str = ""
    driver: str = ""
    runtime: str = ""
    """Such as `onnxruntime 1.24.1`."""
    outputs: dict[str, list[int]] = field(default_factory=dict)
    """Shape of one row of each output, without the batch."""

    def to_json(self) -> dict[str, Any]:
        """Return a dict for `json.dumps`."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Facts":
        """Read the dict that `to_json` returned."""
        return cls(**content)
