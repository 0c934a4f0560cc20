"""Choose the kind of stream that a pipeline's settings need."""

from edgeai.streams.aligned import AlignedStream
from edgeai.streams.cycles.message_stream import MessageCycleStream
from edgeai.streams.ordered import OrderedStream
from edgeai.streams.settings import Emit, StreamSettings
from edgeai.streams.stream import Stream


def open_stream(
    settings: StreamSettings,
    drops: dict[str, int],
    resets: dict[str, int],
    counts: dict[str, int],
    emit: Emit,
) -> Stream:
    """Return a new stream.

    Args:
        settings: The pipeline's settings; `align`, `cycle` and `joined` choose the kind.
        drops: Counts dropped samples by reason.
        resets: Counts emptied windows by reason.
        counts: Counts the samples that are `missing` by the rate, were `reordered`, or are
            `misplaced`: their times are in doubt, and their windows were not marked.
        emit: Called with each window.
    """
    if settings.joined is not None:
        from edgeai.streams.joined import JoinedStream

        return JoinedStream(settings, drops, resets, counts, emit, plan=settings.joined)
    kind: type[Stream] = OrderedStream if settings.align is None else AlignedStream
    if settings.cycle is not None and settings.cycle.new_edges is None:
        kind = MessageCycleStream
    return kind(settings, drops, resets, counts, emit)
