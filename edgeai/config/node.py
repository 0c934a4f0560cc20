"""The configuration of a node: one YAML file with a broker, a device and one or more pipelines.

Every model is strict (an unknown key is an error) and frozen. Every number has its unit in its
name. `load_config` reads the configuration file only, no network and no model package; the checks
that need the model package are in `edgeai.assembly.plan`. Device profiles are in
`edgeai.config.device`.

The descriptions of the fields are shown to users by `edgeai schema config`.
"""

import ipaddress
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from edgeai import paths, topics
from edgeai.config.answers import HeartbeatConfig
from edgeai.config.base import NAME_PATTERN, Host, PathText, Strict
from edgeai.config.broker import Broker, Secret
from edgeai.config.causes import find_cause_fault
from edgeai.config.limits import Limits
from edgeai.config.pipeline import PipelineConfig
from edgeai.config.presets import apply_presets
from edgeai.config.source import SourceConfig
from edgeai.config.topic_claims import claims, collision_fault, feedback_fault
from edgeai.config.yaml_file import read_yaml, validate
from edgeai.errors import ConfigError, Problem

FILE_KEYS = frozenset({"file", "ca_file", "cert_file", "key_file", "trusted_keys"})
SECTIONS_WITH_FILES = (
    ("broker", "password"), ("broker", "tls"), ("http", "token"), ("http", "metrics_token"),
    ("models",),
)  # fmt: skip
MAX_WORKERS = 64
MIN_TOKEN_CHARACTERS = 16  # a shorter one can be found by trying

_OWN_HOSTS = {"localhost", "127.0.0.1", "::1"}
_ALL_HOSTS = {"0.0.0.0", "::"}  # noqa: S104  not bound to, only compared


class Http(Strict):
    """The HTTP server of /metrics, /healthz, /readyz and the status page."""

    enabled: bool = Field(True, description="Whether the HTTP server runs.")
    host: Host = Field(
        "127.0.0.1",
        description="Address to listen on. The default accepts connections from this machine only; "
        "0.0.0.0 accepts connections from the network.",
    )
    port: int = Field(
        9108,
        ge=0,
        le=65535,
        description="TCP port to listen on. 0 takes a free port and writes it to the log.",
    )
    token: Secret | None = Field(
        None,
        description="Token that a client must send for the status page and all else but metrics "
        "and health: as `Authorization: Bearer TOKEN`, or as the password of a browser's login. "
        "Commands of the page, such as to acknowledge an alarm, are only possible with it. "
        "Default: no token, and no commands.",
    )
    page_needs_token: bool = Field(
        True,
        description="Whether reading the page needs `token` too. False: everybody who reaches the "
        "port may read it, as on a screen in the hall; commands need the token in any case.",
    )
    metrics_token: Secret | None = Field(
        None,
        description="Token that a client must send for /metrics, /healthz and /readyz. Default: "
        "no token.",
    )

    @property
    def is_open(self) -> bool:
        """Whether other machines may connect. A host name other than localhost counts as open."""
        if not self.enabled:
            return False
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host != "localhost"

    def tokens(self) -> tuple[str | None, str | None]:
        """Return the tokens for the page and for the metrics; None where none is asked for.

        Raises:
            ConfigError: A token cannot be read, is too short, or has other characters than
                printable ASCII without spaces.
        """
        return _read_token(self.token, "http.token"), _read_token(
            self.metrics_token, "http.metrics_token"
        )


def _read_token(secret: Secret | None, field: str) -> str | None:
    if secret is None:
        return None
    token = secret.reveal(field)
    if len(token) >= MIN_TOKEN_CHARACTERS and all("!" <= character <= "~" for character in token):
        return token
    rule = f"must be at least {MIN_TOKEN_CHARACTERS} printable ASCII characters without spaces"
    raise ConfigError([Problem(secret.file or "environment", field, rule)])


class Log(Strict):
    """The log, which goes to stderr. Its events are listed in docs/logs.md."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info",
        description="Lowest level that is written. EDGEAI_LOG_LEVEL and --log-level go before it.",
    )
    format: Literal["auto", "text", "json"] = Field(
        "auto",
        description="`text`: lines for people; `json`: one JSON object a line; `auto`: text, "
        "coloured on a terminal. EDGEAI_LOG_FORMAT and --log-format go before it.",
    )


class Models(Strict):
    """Whose signatures of model packages count (docs/security.md)."""

    trusted_keys: list[PathText] = Field(
        min_length=1,
        max_length=100,
        description="Files with the public keys (PEM) whose signatures count, relative to this "
        "file's folder. A package with a signature by another key, or with a wrong one, is "
        "refused.",
    )
    require_signature: bool = Field(
        True, description="Whether a package without a signature is refused too."
    )


class Config(Strict):
    """A node: a broker, a device, and one or more pipelines."""

    node: str = Field(
        pattern=NAME_PATTERN,
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
    log: Log = Field(Log(), description="Level and form of the log.")
    heartbeat: HeartbeatConfig | None = Field(
        None,
        description="A message at a fixed period, with which a controller sees that edgeai lives. "
        "Default: no heartbeat.",
    )
    limits: Limits = Field(Limits(), description="Upper bounds of everything that could grow.")
    models: Models | None = Field(
        None,
        description="Whose signatures of model packages count. Default: signatures are not "
        "looked at.",
    )
    state_folder: PathText | None = Field(
        None,
        description="Folder for caches, alarm states and known assets, which outlive a restart, "
        "relative to the working folder. Default: $EDGEAI_STATE_DIR, or edgeai in the user's "
        "state folder.",
    )
    pipelines: dict[Annotated[str, Field(pattern=NAME_PATTERN)], PipelineConfig] = Field(
        min_length=1, description="The pipelines by name. The name appears in topics and metrics."
    )

    @property
    def read_sources(self) -> dict[str, SourceConfig]:
        """All sources of all pipelines, by their place in the file: `pipelines.press.source`."""
        return {
            f"pipelines.{name}.{place}": source
            for name, pipeline in self.pipelines.items()
            for place, source in pipeline.named_sources.items()
        }

    @property
    def client_id(self) -> str:
        """The MQTT client id of the node. Its other connections append a suffix to it."""
        return self.broker.client_id or f"edgeai-{self.node}"

    @model_validator(mode="after")
    def _no_feedback(self) -> Self:
        for name, pipeline in self.pipelines.items():
            fields = ["topic", "alarm_topic", *(["state_topic"] if pipeline.states else [])]
            for field in fields:
                # {asset} may be several levels: compare the whole levels before it only.
                head = getattr(pipeline.publish, field).split("{asset}")[0]
                head = topics.fill(head, (("node", self.node), ("pipeline", name)))
                levels = head.split("/")[:-1]
                target = "/".join([*("+" if "{" in level else level for level in levels), "#"])
                for read, source in self.read_sources.items():
                    if any(topics.may_overlap(target, one) for one in source.filters):
                        msg = (
                            f"pipelines.{name}.publish.{field} may be read again by "
                            f"{read}.topic, a feedback loop"
                        )
                        raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _answers_have_their_own_topics(self) -> Self:
        found = list(claims(self.node, self.heartbeat, self.pipelines))
        fault = feedback_fault(found, self.read_sources) or collision_fault(found)
        if fault:
            raise ValueError(fault)
        return self

    @model_validator(mode="after")
    def _properties_need_mqtt_5(self) -> Self:
        for field, source in self.read_sources.items():
            if source.reads_properties and self.broker.protocol == "3.1.1":
                msg = (
                    f"{field} reads user properties (paths that begin with `@`), which MQTT 3.1.1 "
                    'does not have: set `broker.protocol` to "5"'
                )
                raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        same_host = self.broker.host in _OWN_HOSTS and self.http.host in {*_OWN_HOSTS, *_ALL_HOSTS}
        same_host = same_host or self.broker.host == self.http.host
        if self.http.enabled and same_host and self.http.port == self.broker.port:
            msg = f"`http.port` and `broker.port` are both {self.http.port} on this machine"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _causes_are_there(self) -> Self:
        fault = find_cause_fault(
            {name: one.alarm.caused_by for name, one in self.pipelines.items()},
            {name: list(one.states) for name, one in self.pipelines.items()},
        )
        if fault is None and self.workers > 1:
            fault = next(
                (
                    f"pipelines.{name}.alarm.caused_by.{number}.asset needs `workers: 1`: another "
                    "worker may serve that machine"
                    for name, one in self.pipelines.items()
                    for number, cause in enumerate(one.alarm.caused_by)
                    if cause.asset is not None
                ),
                None,
            )
        if fault is not None:
            raise ValueError(fault)
        return self

    @model_validator(mode="after")
    def _no_partial_overlap(self) -> Self:
        """Refuse sources of which neither contains the other, but that share topic names.

        Many brokers deliver a message once for each subscription at MQTT 5, so that every pipeline
        would take it twice.
        """
        sources = [
            (f"{field}{'' if index else '.topic'}", found)
            for field, source in self.read_sources.items()
            for index, found in enumerate(source.filters)
        ]
        sources.append(("the reset topics of this node", f"edgeai/{self.node}/reset/#"))
        sources.append(("the command topics of this node", f"edgeai/{self.node}/command/#"))
        for index, (field, one) in enumerate(sources):
            for other_field, other in sources[:index]:
                is_nested = topics.contains(one, other) or topics.contains(other, one)
                if not is_nested and topics.may_overlap(one, other):
                    msg = (
                        f"{other_field} ({other}) and {field} ({one}) overlap only in part: a "
                        "broker may deliver a message that matches both of them twice. Write one "
                        "of them so that it contains the other, for example as "
                        f"{topics.join(one, other)}, and choose the streams with `assets` (write a "
                        "name in braces, such as {asset}, for each +)"
                    )
                    raise ValueError(msg)
        return self


def find_config(name: str) -> Path:
    """Return the path of a configuration file, given its path or the name of a shipped one.

    Raises:
        ConfigError: The name has no suffix, and is neither a file or folder nor a shipped config.
    """
    path = Path(name)
    if name and path.suffix == "" and path.name == name and not paths.is_file(path):
        shipped = paths.shipped("configs") / f"{name}.yaml"
        if paths.is_file(shipped):
            return shipped
        if not path.is_dir():
            known = ", ".join(sorted(one.stem for one in paths.shipped("configs").glob("*.yaml")))
            rule = f"no such file, and no shipped config has this name: {known}"
            raise ConfigError([Problem(name, "", rule)])
    return path


def load_config(path: Path | str) -> Config:
    """Read and validate a configuration file.

    Paths of secrets and certificates become relative to the configuration's folder, as paths of
    models and devices are, so that the working folder of the process does not matter.

    Raises:
        ConfigError: The file cannot be read or breaks rules; it names every problem found.
    """
    path = Path(path)
    data = read_yaml(path)
    apply_presets(data, path)
    for section in _with_files(data):
        for key, value in section.items():
            if key not in FILE_KEYS:
                continue
            if isinstance(value, str):
                section[key] = str(path.parent / value)
            elif isinstance(value, list):
                section[key] = [
                    str(path.parent / one) if isinstance(one, str) else one for one in value
                ]
    return validate(Config, data, str(path))


def _with_files(data: Any) -> list[dict[str, Any]]:
    """Return the sections of a configuration that may name files of secrets or certificates."""
    found = []
    for path in SECTIONS_WITH_FILES:
        section = data
        for key in path:
            section = section.get(key) if isinstance(section, dict) else None
        if isinstance(section, dict):
            found.append(section)
    return found
