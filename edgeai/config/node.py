"""The configuration: one YAML file of a node; a kind of device is in `deviceconfig`.

Every model is strict (an unknown key is an error) and frozen, every number carries its unit in its
name. `load_config` reads no network and no model; what needs the model package is in `check.py`.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from edgeai import paths, topics
from edgeai.config.base import FieldPath, Strict, TimeField, as_path
from edgeai.config.frames import FrameFormat
from edgeai.config.yaml_file import read_yaml, validate
from edgeai.errors import ConfigError, Problem

NODE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
FILE_KEYS = frozenset({"file", "ca_file", "cert_file", "key_file"})
PUBLISH_FIELDS = ("node", "pipeline", "model", "asset")
MAX_WORKERS = 64
RESERVED_CAPTURE = "signal"

Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]


class Secret(Strict):
    """A secret, which never stands in the file itself: an environment variable or a file."""

    env: str | None = Field(None, description="Name of the environment variable that holds it.")
    file: str | None = Field(None, description="File that holds it; a trailing newline is cut.")

    @model_validator(mode="before")
    @classmethod
    def _no_plain_text(cls, value: Any) -> Any:
        if isinstance(value, str):
            msg = "a secret must not stand in the file: write {env: NAME} or {file: PATH}"
            raise ValueError(msg)  # noqa: TRY004  pydantic reports ValueError as a problem of the field
        return value

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.env is None) == (self.file is None):
            msg = "exactly one of `env` and `file` must be given"
            raise ValueError(msg)
        return self

    def reveal(self, field: str) -> str:
        """Return the secret; ConfigError when the variable or file is not there."""
        if self.env is not None:
            value = os.environ.get(self.env)
            if value is None:
                raise ConfigError(
                    [Problem("environment", field, f"variable {self.env} is not set")]
                )
            return value
        try:
            return Path(str(self.file)).read_text(encoding="utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:  # its text would show bytes of the secret
            raise ConfigError([Problem(str(self.file), field, "is not UTF-8 text")]) from error
        except OSError as error:
            rule = f"cannot be read: {error.strerror}"
            raise ConfigError([Problem(str(self.file), field, rule)]) from error


class Tls(Strict):
    """TLS to the broker; the server's name is always verified."""

    ca_file: str | None = Field(None, description="CA certificates (PEM); default: the system's.")
    cert_file: str | None = Field(None, description="Client certificate (PEM), for mutual TLS.")
    key_file: str | None = Field(None, description="Client private key (PEM), for mutual TLS.")

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            msg = "`cert_file` and `key_file` belong together"
            raise ValueError(msg)
        return self


class Broker(Strict):
    """The MQTT broker."""

    host: str = Field(min_length=1, description="Host name or address.")
    port: int = Field(1883, ge=1, le=65535, description="TCP port; 8883 is usual with TLS.")
    protocol: Literal["auto", "5", "3.1.1"] = Field(
        "auto", description="`auto` tries MQTT 5, then 3.1.1."
    )
    client_id: str | None = Field(
        None, min_length=1, max_length=128, description="Default: edgeai-<node>."
    )
    username: str | None = None
    password: Secret | None = None
    tls: Tls | None = None
    keepalive_seconds: int = Field(30, ge=5, le=65535)
    connect_timeout_seconds: float = Field(3.0, gt=0, le=60)
    session_expiry_seconds: int = Field(
        3600, ge=0, le=0xFFFFFFFF, description="How long the broker keeps our QoS 1 session."
    )
    receive_maximum: int = Field(
        1000, ge=1, le=65535, description="MQTT 5: unacknowledged QoS 1 messages we accept."
    )
    fast_path: bool = Field(
        True, description="Read and write messages past paho; false: plain paho, slower."
    )
    reconnect_min_seconds: PositiveSeconds = Field(0.5, description="First wait after a loss.")
    reconnect_max_seconds: PositiveSeconds = Field(
        30.0, description="Longest wait; doubles up to it."
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

    enabled: bool = True
    host: str = Field(
        "127.0.0.1", min_length=1, description="Address to listen on; 0.0.0.0 opens it to the net."
    )
    port: int = Field(9108, ge=0, le=65535, description="0 takes a free port and logs it.")


class Limits(Strict):
    """Bounds of everything that could grow; what passes them is dropped and counted."""

    turn_messages: int = Field(5000, ge=1, le=1_000_000, description="Messages read in one turn.")
    turn_bytes: int = Field(16_777_216, ge=1024, description="Payload bytes read in one turn.")
    payload_bytes: int = Field(1_048_576, ge=16, description="A larger payload is dropped.")
    streams: int = Field(10_000, ge=1, description="Streams of one pipeline.")
    batch_windows: int = Field(1024, ge=1, le=65536, description="Windows in one session call.")
    outgoing_messages: int = Field(10_000, ge=1, description="Publications waiting for the broker.")
    turn_interval_seconds: float = Field(
        0.01, ge=0, le=1, description="Under load a turn waits up to so long for more messages."
    )
    defer_seconds: float = Field(
        0.05,
        ge=0,
        le=10,
        description="How long a QoS 0 message with which no window is due may wait to be read.",
    )


class QualityField(Strict):
    """Where a message carries a quality flag, and which values of it are good."""

    path: FieldPath = Field(min_length=1)
    good: list[str | int | bool] = Field(min_length=1, description="Every other value is bad.")

    _path = field_validator("path", mode="before")(as_path)


class SignalField(Strict):
    """Where one signal of the model lies in the message: value = raw * scale + offset."""

    path: FieldPath | None = Field(
        None, min_length=1, description="`row`: where. Default: values_path + name."
    )
    tag: str | None = Field(
        None, description="`tag`, `frame`: its name in the message. Default: the name."
    )
    scale: float = Field(1.0, allow_inf_nan=False)
    offset: float = Field(0.0, allow_inf_nan=False)
    quality: QualityField | None = Field(None, description="`row`: quality flag of this signal.")

    _path = field_validator("path", mode="before")(as_path)

    @model_validator(mode="after")
    def _scale_not_zero(self) -> Self:
        if self.scale == 0:
            msg = "`scale` must not be 0"
            raise ValueError(msg)
        return self


class Source(Strict):
    """The messages a pipeline reads and how they become samples."""

    topic: str = Field(
        description="Topic filter with captured levels: factory/{asset}/sensors. The captures make "
        "the stream's key; {signal} names the signal in layout `tag`."
    )
    assets: list[str] = Field(
        [], description="Only streams whose key fits one of these patterns: press-*. Default: all."
    )
    qos: Literal[0, 1] = 0
    layout: Literal["row", "tag", "frame"] = Field(
        "row",
        description="`row`: a message is one sample of all signals; `tag`: of one signal; `frame`: "
        "a block of samples of all signals.",
    )
    format: Literal["json"] = "json"
    frame: FrameFormat | None = Field(None, description="`frame`: how the block is laid out.")
    time: TimeField | None = Field(None, description="Default: the time of arrival.")
    values_path: FieldPath = Field([], description="`row`: the map that holds the signals.")
    value_path: FieldPath = Field(
        ["value"], min_length=1, description="`tag`: where the value lies."
    )
    name_path: FieldPath | None = Field(
        None, min_length=1, description="`tag`: the name, if not in the topic."
    )
    quality: QualityField | None = Field(None, description="Quality flag of the whole message.")
    signals: dict[str, SignalField] = Field({}, description="Signals of the model that differ.")
    numeric_text: bool = Field(False, description='Accept numbers in quotes: "23.4".')

    _paths = field_validator("values_path", "value_path", "name_path", mode="before")(as_path)

    @field_validator("signals", mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {k: {"path": v} if isinstance(v, str) else v for k, v in value.items()}
        return value

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


class Stream(Strict):
    """How samples become windows."""

    alignment: Literal["none", "hold", "linear"] = Field(
        "none",
        description="`none`: samples as they come; `hold`, `linear`: on the model's grid.",
    )
    max_age_seconds: PositiveSeconds = Field(
        5.0, description="`hold`, `linear`: a value older than this counts as not measured."
    )
    max_gap_seconds: PositiveSeconds | None = Field(
        None, description="A longer gap empties the window. Default: 5 sample periods of the model."
    )
    lateness_seconds: Seconds = Field(
        0.0, description="Wait this long for samples that come out of order."
    )
    invalid: Literal["hold", "drop"] = Field(
        "hold",
        description="A missing, non-finite or bad-quality value: hold the last, drop the sample.",
    )
    out_of_range: Literal["keep", "hold", "drop"] = Field(
        "keep", description="A value outside the signal's valid range; `keep` marks the quality."
    )
    max_invalid_ratio: float = Field(
        0.2, ge=0, le=1, description="More substituted values in a window: quality `bad`, no alarm."
    )


class Alarm(Strict):
    """The alarm; what is not given comes from the model package."""

    threshold: float | None = Field(None, allow_inf_nan=False)
    deadband: float | None = Field(None, ge=0, allow_inf_nan=False)
    on_delay_seconds: Seconds | None = None
    off_delay_seconds: Seconds | None = None
    latch: bool | None = None


class Publish(Strict):
    """Where predictions and alarm transitions go."""

    topic: str = "edgeai/{node}/predictions/{pipeline}/{asset}"
    alarm_topic: str = "edgeai/{node}/alarms/{pipeline}/{asset}"
    qos: Literal[0, 1] = 0
    top: int = Field(3, ge=0, le=100, description="How many contributing signals to name.")

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


class Window(Strict):
    """Overrides of the model's window."""

    length: int | None = Field(None, ge=1, description="Must be the model's, unless that is free.")
    hop: int | None = Field(None, ge=1, description="Samples from one window to the next.")


class Pipeline(Strict):
    """One model on one subscription."""

    model: str = Field(min_length=1, description="Name of a shipped model, or a folder.")
    source: Source
    window: Window = Window()
    stream: Stream = Stream()
    alarm: Alarm = Alarm()
    publish: Publish = Publish()


class Config(Strict):
    """A node: a broker, a device, and one or more pipelines."""

    node: str = Field(pattern=NODE_PATTERN, description="Name of this node, used in topics.")
    broker: Broker
    device: str = Field(
        "cpu", min_length=1, description="Name of a shipped device, or a YAML file."
    )
    workers: int = Field(
        1,
        ge=1,
        le=MAX_WORKERS,
        description="Processes that share the streams by a hash of their keys; each reads all.",
    )
    http: Http = Http()
    limits: Limits = Limits()
    state_folder: str | None = Field(
        None, description="Caches. Default: $EDGEAI_STATE_DIR or the user's state folder."
    )
    pipelines: dict[Annotated[str, Field(pattern=NODE_PATTERN)], Pipeline] = Field(min_length=1)

    @property
    def client_id(self) -> str:
        """The node's MQTT client id; its other connections' begin with it."""
        return self.broker.client_id or f"edgeai-{self.node}"

    @model_validator(mode="after")
    def _no_feedback(self) -> Self:
        for name, pipeline in self.pipelines.items():
            for field in ("topic", "alarm_topic"):
                # {asset} may be several levels: compare the whole levels that stand before it.
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
    """Return a config file: a path, or the name of a shipped one."""
    path = Path(name)
    if name and path.suffix == "" and path.name == name and not paths.is_file(path):
        shipped = paths.shipped("configs") / f"{name}.yaml"
        if paths.is_file(shipped):
            return shipped
    return path


def load_config(path: Path) -> Config:
    """Read and validate a configuration file; ConfigError names every problem found.

    Files of secrets and certificates are taken from the configuration's folder, as models and
    devices are, not from where the process happens to run.
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
