"""What the intakes of all layouts need of a pipeline."""

from collections.abc import Callable
from dataclasses import dataclass

from edgeai.config.limits import Limits
from edgeai.config.source import SourceConfig
from edgeai.engine.batch import Batch
from edgeai.engine.containment import Containment
from edgeai.engine.intake.arrival import Arrival
from edgeai.engine.refusals import Refusals
from edgeai.engine.stream_state import StreamState
from edgeai.engine.unusable_values import UnusableValues
from edgeai.metrics.pipelines import PipelineMetrics
from edgeai.streams.conditioning import Conditioner


@dataclass(frozen=True)
class IntakeParts:
    """What the intakes of all layouts need of a pipeline."""

    source: SourceConfig
    names: list[str]
    """The signals of a sample in order: the model's, then the extra ones."""
    extras: int
    """How many of them, the last ones, are extra signals."""
    conditioner: Conditioner
    batch: Batch
    metrics: PipelineMetrics
    containment: Containment
    """Counts and tells a message that has caused an exception."""
    arrival: Arrival
    """Decides about messages with a flag."""
    refusals: Refusals
    """Tells a message that is refused; the intake counts it first."""
    is_aligned: bool
    """Whether streams take single values, so that a signal keeps its value until the next one."""
    stream_of: Callable[[str, int], StreamState | str]
    """Returns the stream of a key in a message that arrived then, or the reason why its values are
    left out; raises DecodeError if there is no room."""
    is_counted_by: Callable[[str], bool]
    """Whether this worker counts a message of a topic that every worker reads."""
    unusable: UnusableValues
    """Tells the first value of each signal that cannot be used."""
    lateness_ns: int
    """How long samples wait for late ones."""
    limits: Limits
    """Bounds of one message: its records, and its content if it is compressed."""
    whole_cycles: bool = False
    """Whether each message is a cycle."""
