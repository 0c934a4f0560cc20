"""Upper bounds of everything in a node that could grow."""

from pydantic import Field

from edgeai.config.base import Strict


class Limits(Strict):
    """Upper bounds of everything that could grow. What exceeds a bound is dropped and counted."""

    turn_messages: int = Field(
        5000,
        ge=1,
        le=1_000_000,
        description="Number of messages read in one turn. Further messages wait for the next turn.",
    )
    turn_bytes: int = Field(
        16_777_216,
        ge=1024,
        description="Payload bytes read in one turn. Further messages wait for the next turn.",
    )
    payload_bytes: int = Field(
        1_048_576, ge=16, description="Size of a payload in bytes. A larger payload is dropped."
    )
    content_bytes: int = Field(
        8_388_608,
        ge=16,
        le=1_073_741_824,
        description="Size of the content of a compressed payload (`source.compression`) in bytes. "
        "A payload with a larger content is dropped.",
    )
    message_records: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="Number of records in one message, such as lines of CSV. A message with more "
        "is dropped.",
    )
    streams: int = Field(
        10_000,
        ge=1,
        description="Number of streams of one pipeline. When there are more, the stream that was "
        "silent longest leaves for a new one; if none is silent, messages of further streams are "
        "dropped.",
    )
    stream_bytes: int = Field(
        1_073_741_824,
        ge=1_048_576,
        description="Bytes that the streams of all pipelines may take together, as estimated from "
        "their windows, signals and keys. Beyond them, as beyond `streams`. With workers, each may "
        "take as many. The default is less on a machine or in a container with little memory: "
        "half of what the process itself does not need.",
    )
    stream_key_bytes: int = Field(
        256,
        ge=16,
        le=4096,
        description="Length of a stream's key, the levels captured from the topic, in bytes of "
        "UTF-8. Messages of a stream with a longer key are dropped.",
    )
    stream_silent_seconds: float = Field(
        60.0,
        gt=0,
        le=1e9,
        description="Time without a sample that is used, in seconds, after which a stream may "
        "leave for a new one, if there is no more room. At least twice `stream.max_gap_seconds` "
        "counts. A stream whose alarm is not normal never leaves.",
    )
    forget_assets_after_hours: float = Field(
        168.0,
        ge=0,
        le=1e6,
        description="Time without a new sample, in hours, after which an asset is forgotten: it "
        "leaves the page and the metrics, also over restarts. An asset whose alarm is not normal "
        "stays. 0 forgets none.",
    )
    answer_topics: int = Field(
        20_000,
        ge=1,
        le=1_000_000,
        description="Number of topics of answers to controllers (`publish.answers`) in each "
        "process: assets times answers, in the format `text` times values. Assets beyond it have "
        "no answers, which is counted and told.",
    )
    batch_windows: int = Field(
        1024,
        ge=1,
        le=65536,
        description="Number of windows in one call of the model. Further windows need another "
        "call in the same turn.",
    )
    outgoing_messages: int = Field(
        10_000,
        ge=1,
        description="Number of publications that may wait for the broker. While more wait, no "
        "input is read.",
    )
    turn_interval_seconds: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Time between two turns under load, in seconds, so that one turn takes more "
        "messages. It applies if all sources use QoS 0. 0 turns it off.",
    )
    defer_seconds: float = Field(
        0.05,
        ge=0,
        le=10,
        description="Longest time that a message which completes no window may stay unread, in "
        "seconds. It applies if all sources use QoS 0. 0 turns it off.",
    )
    history_bytes: int = Field(
        4_194_304,
        ge=0,
        description="Bytes that the last hour of scores and signals may take in each process, for "
        "the page: 6,480 for each stream, and 2,880 for each of its signals as long as signals "
        "take less than half. Streams beyond it have no history. 0 keeps none.",
    )
