"""The MQTT broker of a node: address, credentials, TLS, session and reconnection."""

import os
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from edgeai.config.base import Host, PathText, PositiveSeconds, Strict
from edgeai.errors import ConfigError, Problem
from edgeai.paths import reason_of

MAX_SECRET_BYTES = 65_536  # a file given by mistake, such as a device, may be endless


class Secret(Strict):
    """A secret, taken from an environment variable or from another file, never from this file."""

    env: str | None = Field(
        None, description="Name of the environment variable that holds the secret."
    )
    file: PathText | None = Field(
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
            ConfigError: The environment variable is not set, the file cannot be read, or the
                secret is empty.
        """
        if self.env is not None:
            where, value = "environment", os.environ.get(self.env)
            if value is None:
                raise ConfigError([Problem(where, field, f"variable {self.env} is not set")])
        else:
            where, value = str(self.file), _read_secret(Path(str(self.file)), field)
        if not value:
            raise ConfigError([Problem(where, field, "the secret is empty")])
        return value


def _read_secret(path: Path, field: str) -> str:
    def refuse(rule: str) -> ConfigError:
        return ConfigError([Problem(str(path), field, rule)])

    try:
        with path.open("rb") as file:
            content = file.read(MAX_SECRET_BYTES + 1)
        text = content.decode("utf-8-sig")  # without the byte order mark that some editors write
    except UnicodeDecodeError as error:  # the error's own text would show bytes of the secret
        raise refuse("is not UTF-8 text") from error
    except (OSError, ValueError) as error:
        raise refuse(f"cannot be read: {reason_of(error)}") from error
    if len(content) > MAX_SECRET_BYTES:
        raise refuse(f"must not be larger than {MAX_SECRET_BYTES} bytes")
    return text.rstrip("\r\n")


class Tls(Strict):
    """TLS to the broker. The broker's name and certificate are always verified."""

    ca_file: PathText | None = Field(
        None,
        description="File with the CA certificates (PEM) that may sign the broker's certificate. "
        "Default: the CA certificates of the system.",
    )
    cert_file: PathText | None = Field(
        None,
        description="Client certificate (PEM) for mutual TLS. Default: no client certificate.",
    )
    key_file: PathText | None = Field(
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

    host: Host = Field(description="Host name or IP address of the broker.")
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
        None,
        description="Password for the broker, read again at each connection. Default: connect "
        "without a password.",
    )
    tls: Tls | None = Field(
        None,
        description="TLS settings; `{}` turns TLS on with its defaults. The files are read again "
        "at each connection. Default: no TLS.",
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

    @field_validator(
        "protocol", mode="before", json_schema_input_type=Literal["auto", "5", "3.1.1", 5]
    )
    @classmethod
    def _number_is_text(cls, value: Any) -> Any:
        return "5" if value == 5 and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _shortest_wait_first(self) -> Self:
        if self.reconnect_min_seconds > self.reconnect_max_seconds:
            msg = "`reconnect_min_seconds` must not be greater than `reconnect_max_seconds`"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _password_needs_name(self) -> Self:
        if self.password is not None and self.username is None:
            msg = "`password` needs `username`"
            raise ValueError(msg)
        return self
