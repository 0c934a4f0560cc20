"""The configuration of a node: one YAML file with a broker, a device and one or more pipelines.

Every model is strict (an unknown key is an error) and frozen. Every number has its unit in its
name. `load_config` reads the configuration file only, no network and no model package; the checks
that need the model package are in `edgeai.assembly.plan`. Device profiles are in
`edgeai.config.device`.

The descriptions of the fields are shown to users by `edgeai schema config`.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from edgeai import paths, topics
from edgeai.config.base import FieldPath, Strict, TimeField, as_path, removed_keys
from edgeai.config.frames import FrameFormat
from edgeai.config.yaml_file import read_yaml, validate
from edgeai.errors import ConfigError, Problem

NODE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
FILE_KEYS = frozenset({"file", "ca_file", "cert_file", "key_file"})
PUBLISH_FIELDS = ("node", "pipeline", "model", "asset")
MAX_WORKERS = 64
RESERVED_CAPTURE = "signal"  # `{signal}` in a source topic names the signal, not the stream

Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]


class Secret(Strict):
    """A secret, taken from an environment variable or from another file, never from this file."""

    env: str | None = Field(
        None, description="Name of the environment variable that holds the secret."
    )
    file: str | None = Field(
        None,
        description="File that holds the secret, relative to this file's folder. Newlines at its "
        "end are removed.",
    )

    @model_validator(mode="before")
    @classmethod
    def _no_plain_text(cls, value: Any) -> Any:
        if isinstance(value, str):
            msg = "a secret must not be written in the file: write {env: NAME} or {file: PATH}"
            raise ValueError(msg)  # noqa: TRY004  pydantic reports ValueError as a problem of the field
        return value

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.env is None) == (self.file is None):
            msg = "exactly one of `env` and `file` must be given"
            raise ValueError(msg)
        return self

    def reveal(self, field: str) -> str:
        """Return the secret.

        Args:
            field: Name of the configuration key, for the error.

        Raises:
            ConfigError: The environment variable is not set, or the file cannot be read.
        """
        if self.env is not None:
            value = os.environ.get(self.env)
            if value is None:
                raise ConfigError(
                    [Problem("environment", field, f"variable {self.env} is not set")]
                )
            return value
        try:
            return Path(str(self.file)).read_text(encoding="utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:  # the error's own text would show bytes of the secret
            raise ConfigError([Problem(str(self.file), field, "is not UTF-8 text")]) from error
        except OSError as error:
            rule = f"cannot be read: {error.strerror}"
            raise ConfigError([Problem(str(self.file), field, rule)]) from error


class Tls(Strict):
    """TLS to the broker. The broker's name and certificate are always verified."""

    ca_file: str | None = Field(
        None,
        description="File with the CA certificates (PEM) that may sign the broker's certificate. "
        "Default: the CA certificates of the system.",
    )
    cert_file: str | None = Field(
        None,
        description="Client certificate (PEM) for mutual TLS. Default: no client certificate.",
    )
    key_file: str | None = Field(
        None,
        description="Private key (PEM, without passphrase) of the client certificate. "
        "Default: no client certificate.",
    )

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            msg = "`cert_file` and `key_file` belong together"
            raise ValueError(msg)
        return self


class Broker(Strict):
    """The MQTT broker, and how to connect to it."""

    host: str = Field(min_length=1, description="Host name or IP address of the broker.")
    port: int = Field(
        1883, ge=1, le=65535, description="TCP port of the broker. With TLS it is usually 8883."
    )
    protocol: Literal["auto", "5", "3.1.1"] = Field(
        "auto", description="MQTT version. `auto` tries MQTT 5 first, then MQTT 3.1.1."
    )
    client_id: str | None = Field(
        None,
        min_length=1,
        max_length=128,
        description="MQTT client id, which no other client may use. The node's other connections "
        "append a suffix, such as -out. Default: edgeai-<node>.",
    )
    username: str | None = Field(
        None, description="User name for the broker. Default: connect without a user name."
    )
    password: Secret | None = Field(
        None, description="Password for the broker. Default: connect without a password."
    )
    tls: Tls | None = Field(
        None, description="TLS settings; `{}` turns TLS on with its defaults. Default: no TLS."
    )
    keepalive_seconds: int = Field(
        30,
        ge=5,
        le=65535,
        description="MQTT keep-alive: a packet is sent at least once in this time, in seconds.",
    )
    connect_timeout_seconds: float = Field(
        3.0, gt=0, le=60, description="Longest wait for the TCP connection, in seconds."
    )
    session_expiry_seconds: int = Field(
        3600,
        ge=0,
        le=0xFFFFFFFF,
        description="Time for which the broker keeps the session while edgeai is away, in seconds. "
        "It applies with MQTT 5 and a QoS 1 source.",
    )
    receive_maximum: int = Field(
        1000,
        ge=1,
        le=65535,
        description="Number of QoS 1 messages that the broker may send before edgeai acknowledges "
        "them. It applies with MQTT 5.",
    )
    fast_path: bool = Field(
        True,
        description="Read and write MQTT packets directly on the socket. `false` uses the paho "
        "client for everything, which is slower.",
    )
    reconnect_min_seconds: PositiveSeconds = Field(
        0.5, description="Wait before the first attempt to reconnect, in seconds."
    )
    reconnect_max_seconds: PositiveSeconds = Field(
        30.0,
        description="Longest wait between two attempts to reconnect, in seconds. The wait doubles "
        "after each failure until it reaches this value.",
    )

    @field_validator("protocol", mode="before")
    @classmethod
    def _number_is_text(cls, value: Any) -> Any:
        return "5" if value == 5 and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _password_needs_name(self) -> Self:
        if self.password is not None and self.username is None:
            msg = "`password` needs `username`"
            raise ValueError(msg)
        return self


class Http(Strict):
    """The HTTP server of /metrics, /healthz, /readyz and the status page."""

    enabled: bool = Field(True, description="Whether the HTTP server runs.")
    host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address to listen on. The default accepts connections from this machine only; "
        "0.0.0.0 accepts connections from the network.",
    )
    port: int = Field(
        9108,
        ge=0,
        le=65535,
        description="TCP port to listen on. 0 takes a free port and writes it to the log.",
    )


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
    streams: int = Field(
        10_000,
        ge=1,
        description="Number of streams of one pipeline. Messages of further streams are dropped.",
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


class QualityField(Strict):
    """The quality flag of a message, and the values that mean good quality."""

    path: FieldPath = Field(min_length=1, description="Path of the flag in the message.")
    good: list[str | int | bool] = Field(
        min_length=1, description="Values that mean good quality. Every other value means bad."
    )

    _path = field_validator("path", mode="before")(as_path)


class SignalField(Strict):
    """Where a message carries one signal of the model. Its value is raw * scale + offset."""

    path: FieldPath | None = Field(
        None,
        min_length=1,
        description="Path of the value in the message; layout `row` only. Default: the signal's "
        "name under `values_path`.",
    )
    tag: str | None = Field(
        None,
        description="Name of the signal in the message; layouts `tag` and `frame` only. Default: "
        "the signal's name in the model.",
    )
    scale: float = Field(
        1.0,
        allow_inf_nan=False,
        description="Factor from the raw value to the model's unit. The default keeps the value.",
    )
    offset: float = Field(
        0.0,
        allow_inf_nan=False,
        description="Offset in the model's unit, added after `scale`. The default adds nothing.",
    )
    quality: QualityField | None = Field(
        None,
        description="Quality flag of this signal; layout `row` only. A flag of the whole message "
        "is checked too. Default: no flag of its own.",
    )

    _path = field_validator("path", mode="before")(as_path)

    @model_validator(mode="after")
    def _scale_not_zero(self) -> Self:
        if self.scale == 0:
            msg = "`scale` must not be 0"
            raise ValueError(msg)
        return self


class SourceConfig(Strict):
    """The messages that a pipeline reads, and how they become samples."""

    model_config = ConfigDict(
        json_schema_extra=removed_keys(
            format="was removed: messages of the layouts `row` and `tag` are always JSON, and "
            "`frame.type` names the format of a frame. Delete this key"
        )
    )

    topic: str = Field(
        description="MQTT topic filter. A level in braces is captured: in factory/{asset}/sensors "
        "the captured levels, joined by `/`, are the key of the stream. In the layout `tag`, "
        "{signal} captures the name of the signal."
    )
    assets: list[str] = Field(
        [],
        description="Patterns of stream keys, such as press-*. Messages of other streams are not "
        "read by this pipeline. Default: all streams.",
    )
    qos: Literal[0, 1] = Field(
        0, description="QoS of the subscription: 0 at most once, 1 at least once."
    )
    layout: Literal["row", "tag", "frame"] = Field(
        "row",
        description="What one message holds. `row`: one sample of all signals; `tag`: one value of "
        "one signal; `frame`: a block of samples of all signals.",
    )
    frame: FrameFormat | None = Field(
        None, description="Format of a frame. It is required for the layout `frame`."
    )
    time: TimeField | None = Field(
        None, description="Time of the sample in the message. Default: the time of arrival."
    )
    values_path: FieldPath = Field(
        [],
        description="Path of the map that holds the signals; layout `row` only. Default: the "
        "message itself.",
    )
    value_path: FieldPath = Field(
        ["value"], min_length=1, description="Path of the value; layout `tag` only."
    )
    name_path: FieldPath | None = Field(
        None,
        min_length=1,
        description="Path of the signal's name; layout `tag` only. Default: the name is {signal} "
        "in `topic`.",
    )
    quality: QualityField | None = Field(
        None,
        description="Quality flag of the whole message; layouts `row` and `tag` only. Default: "
        "every value counts as good.",
    )
    signals: dict[str, SignalField] = Field(
        {},
        description="Signals of the model, by name, whose path or unit differs from the defaults. "
        "A text is short for a `path`.",
    )
    numeric_text: bool = Field(
        False,
        description='Whether a number in quotes, such as "23.4", counts as a number. By default it '
        "counts as an unusable value.",
    )

    _paths = field_validator("values_path", "value_path", "name_path", mode="before")(as_path)

    @field_validator("signals", mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {k: {"path": v} if isinstance(v, str) else v for k, v in value.items()}
        return value

    def tag_of(self, signal: str) -> str:
        """Return the name that a signal has in the messages (layouts `tag` and `frame`)."""
        field = self.signals.get(signal)
        return (field.tag if field is not None else None) or signal

    @field_validator("topic")
    @classmethod
    def _valid_topic(cls, value: str) -> str:
        fault = topics.template_fault(value)
        if fault:
            raise ValueError(fault)
        return value

    @model_validator(mode="after")
    def _layout_has_its_fields(self) -> Self:
        in_topic = RESERVED_CAPTURE in topics.template_fields(self.topic)
        if (self.layout == "frame") != (self.frame is not None):
            msg = "`frame` belongs to the layout `frame`, and says how the block is laid out"
            raise ValueError(msg)
        if self.layout == "frame" and (self.time is not None or self.quality is not None):
            msg = "layout `frame`: time is declared in `frame`, and there is no quality flag"
            raise ValueError(msg)
        if self.layout == "tag":
            if in_topic == (self.name_path is not None):
                msg = "layout `tag` needs the name either as {signal} in `topic` or at `name_path`"
                raise ValueError(msg)
            if any(field.path is not None or field.quality for field in self.signals.values()):
                msg = (
                    "layout `tag`: signals take `tag`, `scale` and `offset`, not `path`, `quality`"
                )
                raise ValueError(msg)
        else:
            if in_topic or self.name_path is not None:
                msg = "{signal} and `name_path` belong to the layout `tag`"
                raise ValueError(msg)
            wrong = "path" if self.layout == "frame" else "tag"
            if any(getattr(field, wrong) is not None for field in self.signals.values()):
                msg = f"layout `{self.layout}`: signals do not take `{wrong}`"
                raise ValueError(msg)
        return self


class StreamConfig(Strict):
    """How the samples of a stream become windows."""

    alignment: Literal["none", "hold", "linear"] = Field(
        "none",
        description="`none` takes the samples as they come. `hold` and `linear` resample them to "
        "the model's sample rate: with the last value, or by linear interpolation.",
    )
    max_age_seconds: PositiveSeconds = Field(
        5.0,
        description="Age above which a held or interpolated value counts as substituted, in "
        "seconds; alignments `hold` and `linear` only.",
    )
    max_gap_seconds: PositiveSeconds | None = Field(
        None,
        description="Time between two samples above which the window is emptied, in seconds. "
        "Default: 5 sample periods of the model, and at least `max_age_seconds` with an "
        "alignment; no limit for a model without a sample rate.",
    )
    lateness_seconds: Seconds = Field(
        0.0,
        description="Time to wait for samples that arrive out of order, in seconds. Later samples "
        "are dropped. The default waits for none.",
    )
    invalid: Literal["hold", "drop"] = Field(
        "hold",
        description="What happens to a value that is missing, not finite or of bad quality. "
        "`hold` uses the last good value and marks the window; `drop` drops the sample.",
    )
    out_of_range: Literal["keep", "hold", "drop"] = Field(
        "keep",
        description="What happens to a value outside the valid range of its signal. `keep` uses "
        "it and marks the window, `hold` uses the last good value, `drop` drops the sample.",
    )
    max_invalid_ratio: float = Field(
        0.2,
        ge=0,
        le=1,
        description="Share of substituted values in a window, 0 to 1, above which its quality is "
        "`bad` and it changes no alarm.",
    )


class AlarmConfig(Strict):
    """When a score becomes an alarm. A key that is not given comes from the model package."""

    threshold: float | None = Field(
        None,
        allow_inf_nan=False,
        description="Score above which a window is abnormal. Default: the model package's.",
    )
    deadband: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="The alarm ends below `threshold` minus this value, in the unit of the score. "
        "Default: the model package's, or 0.",
    )
    on_delay_seconds: Seconds | None = Field(
        None,
        description="Time for which the score must stay above the threshold before the alarm "
        "becomes active, in seconds of sample time. Default: the model package's, or 0.",
    )
    off_delay_seconds: Seconds | None = Field(
        None,
        description="Time for which the score must stay below the threshold minus the deadband "
        "before the alarm ends, in seconds of sample time. Default: the model package's, or 0.",
    )
    latch: bool | None = Field(
        None,
        description="Whether an alarm that ended stays `latched` until it is reset. Default: the "
        "model package's, or false.",
    )


class PublishConfig(Strict):
    """Where predictions and changes of the alarm state are published."""

    topic: str = Field(
        "edgeai/{node}/predictions/{pipeline}/{asset}",
        description="Topic of the predictions. It must hold {asset}; {node}, {pipeline} and "
        "{model} are filled in too.",
    )
    alarm_topic: str = Field(
        "edgeai/{node}/alarms/{pipeline}/{asset}",
        description="Topic of the changes of the alarm state, retained. It must hold {asset}; "
        "{node}, {pipeline} and {model} are filled in too.",
    )
    qos: Literal[0, 1] = Field(
        0,
        description="QoS of the predictions: 0 at most once, 1 at least once. Changes of the alarm "
        "state are always published with QoS 1.",
    )
    top: int = Field(
        3,
        ge=0,
        le=100,
        description="Number of signals with the largest contributions that a prediction names.",
    )

    @field_validator("topic", "alarm_topic")
    @classmethod
    def _valid_topic(cls, value: str) -> str:
        unknown = [name for name in topics.template_fields(value) if name not in PUBLISH_FIELDS]
        if unknown:
            msg = f"unknown field {{{unknown[0]}}}; known: {', '.join(PUBLISH_FIELDS)}"
            raise ValueError(msg)
        if not topics.is_topic_name(topics.fill(value, ())) or "{asset}" not in value:
            msg = "must be a topic name without wildcards that holds {asset}"
            raise ValueError(msg)
        return value


class WindowConfig(Strict):
    """What the pipeline changes of the model's window."""

    model_config = ConfigDict(
        json_schema_extra=removed_keys(
            length="was removed: the manifest of the model package sets the length of the window. "
            "Delete this key"
        )
    )

    hop: int | None = Field(
        None,
        ge=1,
        description="Number of samples from one window to the next. Default: the model package's.",
    )


class PipelineConfig(Strict):
    """One model on one subscription."""

    model: str = Field(
        min_length=1,
        description="Name of a shipped model, or the folder of a model package, relative to this "
        "file's folder.",
    )
    source: SourceConfig = Field(description="The messages to read, and how they become samples.")
    window: WindowConfig = Field(
        WindowConfig(), description="Changes to the model's window. Default: no change."
    )
    stream: StreamConfig = Field(
        StreamConfig(), description="How samples become windows. Default: samples as they come."
    )
    alarm: AlarmConfig = Field(
        AlarmConfig(), description="Changes to the model package's alarm. Default: no change."
    )
    publish: PublishConfig = Field(
        PublishConfig(), description="Where predictions and alarms are published."
    )


class Config(Strict):
    """A node: a broker, a device, and one or more pipelines."""

    node: str = Field(
        pattern=NODE_PATTERN,
        description="Name of this node. It appears in topics and in the MQTT client id.",
    )
    broker: Broker = Field(description="The MQTT broker, and how to connect to it.")
    device: str = Field(
        "cpu",
        min_length=1,
        description="Name of a shipped device profile, or a YAML file, relative to this file's "
        "folder. The default computes on the CPU.",
    )
    workers: int = Field(
        1,
        ge=1,
        le=MAX_WORKERS,
        description="Number of processes that share the streams by a hash of their keys. Each "
        "process reads all messages. The default is one process without a supervisor.",
    )
    http: Http = Field(Http(), description="The HTTP server of metrics, health and status page.")
    limits: Limits = Field(Limits(), description="Upper bounds of everything that could grow.")
    state_folder: str | None = Field(
        None,
        description="Folder for caches, relative to the working folder. Default: "
        "$EDGEAI_STATE_DIR, or edgeai in the user's state folder.",
    )
    pipelines: dict[Annotated[str, Field(pattern=NODE_PATTERN)], PipelineConfig] = Field(
        min_length=1, description="The pipelines by name. The name appears in topics and metrics."
    )

    @property
    def client_id(self) -> str:
        """The MQTT client id of the node. Its other connections append a suffix to it."""
        return self.broker.client_id or f"edgeai-{self.node}"

    @model_validator(mode="after")
    def _no_feedback(self) -> Self:
        for name, pipeline in self.pipelines.items():
            for field in ("topic", "alarm_topic"):
                # {asset} may be several levels: compare the whole levels before it only.
                head = getattr(pipeline.publish, field).split("{asset}")[0]
                head = topics.fill(head, (("node", self.node), ("pipeline", name)))
                levels = head.split("/")[:-1]
                target = "/".join([*("+" if "{" in level else level for level in levels), "#"])
                for other, reader in self.pipelines.items():
                    if topics.may_overlap(target, topics.template_filter(reader.source.topic)):
                        msg = (
                            f"pipelines.{name}.publish.{field} may be read again by "
                            f"pipelines.{other}.source.topic, a feedback loop"
                        )
                        raise ValueError(msg)
        return self


def find_config(name: str) -> Path:
    """Return the path of a configuration file, given its path or the name of a shipped one."""
    path = Path(name)
    if name and path.suffix == "" and path.name == name and not paths.is_file(path):
        shipped = paths.shipped("configs") / f"{name}.yaml"
        if paths.is_file(shipped):
            return shipped
    return path


def load_config(path: Path) -> Config:
    """Read and validate a configuration file.

    Paths of secrets and certificates become relative to the configuration's folder, as paths of
    models and devices are, so that the working folder of the process does not matter.

    Raises:
        ConfigError: The file cannot be read or breaks rules; it names every problem found.
    """
    data = read_yaml(path)
    broker = data.get("broker") if isinstance(data, dict) else None
    if isinstance(broker, dict):
        for section in (broker.get("password"), broker.get("tls")):
            if isinstance(section, dict):
                for key, value in section.items():
                    if key in FILE_KEYS and isinstance(value, str):
                        section[key] = str(path.parent / value)
    return validate(Config, data, str(path))
