"""Choose the kind of stream that a pipeline's settings need."""

from edgeai.streams.aligned import AlignedStream
from edgeai.streams.ordered import OrderedStream
from edgeai.streams.ring import StreamSettings
from edgeai.streams.stream import Stream


def open_stream(
    key: str, settings: StreamSettings, drops: dict[str, int], resets: dict[str, int]
) -> Stream:
    """Return a new stream.

    Args:
        key: The asset's name, as captured from the topic.
        settings: The pipeline's settings; `align` chooses the kind.
        drops: Counts dropped samples by reason.
        resets: Counts emptied windows by reason.
    """
    if settings.align is not None:
        return AlignedStream(key, settings, settings.align, drops, resets)
    return OrderedStream(key, settings, drops, resets)
