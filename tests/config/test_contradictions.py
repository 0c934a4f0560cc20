"""Settings that contradict each other, or cannot mean what was written, are refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from edgeai.config.broker import Secret
from edgeai.config.device import Device
from edgeai.config.node import Config
from edgeai.config.yaml_file import validate
from edgeai.errors import ConfigError
from edgeai.model.manifest import Manifest

BASE = {"pipelines": {"p": {"model": "m", "source": {"topic": "f/{asset}"}}}, "node": "n"}
ALONE = "must be a host name or an IP address alone, without scheme, port or path"


def complaint(broker: dict[str, Any], **more: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        validate(Config, {**BASE, "broker": {"host": "b"} | broker, **more}, "f.yaml")
    (problem,) = caught.value.problems
    return f"{problem.field}: {problem.rule}"


@pytest.mark.parametrize(
    "host", ["mqtt://127.0.0.1", "127.0.0.1:18831", "localhost:19108", "b/x", "a b", "[::1]", "b-"]
)
def test_a_host_is_a_host_alone(host: str) -> None:
    assert complaint({"host": host}) == f"broker.host: {ALONE}"
    assert complaint({}, http={"host": host}) == f"http.host: {ALONE}"


@pytest.mark.parametrize(
    "host",
    ["b", "mqtt.factory", "10.0.0.1", "::1", "fe80::1%eth0", "my_broker", "a-1.b.", "0.0.0.0"],
)
def test_hosts(host: str) -> None:
    config = {**BASE, "broker": {"host": host}, "http": {"host": host, "port": 1}}
    assert validate(Config, config, "f.yaml").broker.host == host


@pytest.mark.parametrize(
    ("broker", "http"),
    [("127.0.0.1", "127.0.0.1"), ("localhost", "0.0.0.0"), ("::1", "::"), ("10.0.0.1", "10.0.0.1")],
)
def test_two_servers_on_one_port(broker: str, http: str) -> None:
    found = complaint({"host": broker, "port": 9108}, http={"host": http, "port": 9108})
    assert found == ": `http.port` and `broker.port` are both 9108 on this machine"
    other = {**BASE, "broker": {"host": "b", "port": 9108}, "http": {"port": 9108}}
    validate(Config, other, "f.yaml")


def test_the_first_wait_is_the_shortest() -> None:
    assert complaint({"reconnect_min_seconds": 2.0, "reconnect_max_seconds": 1.0}) == (
        "broker: `reconnect_min_seconds` must not be greater than `reconnect_max_seconds`"
    )
    device = {
        "description": "d", "candidates": [{"provider": "cpu"}],
        "restart": {"first_seconds": 5.0, "max_seconds": 1.0},
    }  # fmt: skip
    with pytest.raises(ConfigError, match="`first_seconds` must not be greater than `max_seconds`"):
        validate(Device, device, "f.yaml")


def test_a_byte_order_mark_is_no_part_of_a_secret(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes("hunter2\r\n".encode("utf-8-sig"))
    assert Secret(file=str(file)).reveal("broker.password") == "hunter2"
    file.write_bytes("\r\n".encode("utf-8-sig"))
    with pytest.raises(ConfigError, match="the secret is empty"):
        Secret(file=str(file)).reveal("broker.password")


def fields_of(model: type[BaseModel], seen: set[Any]) -> Iterator[tuple[str, Any]]:
    """Yield every field of a model and of the models in it, with its full annotation."""
    if model in seen:
        return
    seen.add(model)
    for name, field in model.model_fields.items():
        annotation: Any = field.annotation
        if field.metadata:
            annotation = Annotated[(annotation, *field.metadata)]
        yield f"{model.__name__}.{name}", annotation
        for part in parts_of(annotation):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from fields_of(part, seen)


def parts_of(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from parts_of(part)


def test_true_is_no_number() -> None:
    """`qos: yes` must not mean QoS 1: no field that holds numbers takes true or false."""
    tried = 0
    for model in (Config, Device, Manifest):
        for name, annotation in fields_of(model, set()):
            plain = [part for part in parts_of(annotation) if get_origin(part) is not Annotated]
            literals = [
                value for part in plain if get_origin(part) is Literal for value in get_args(part)
            ]
            if bool in plain or any(isinstance(value, bool) for value in literals):
                continue
            kinds = {part for part in plain if part in {int, float}} | {type(v) for v in literals}
            if not kinds & {int, float} or get_origin(plain[0]) in {list, dict, tuple}:
                continue
            tried += 1
            adapter: TypeAdapter[Any] = TypeAdapter(annotation, config=ConfigDict(strict=True))
            for value in (True, False):
                try:
                    adapter.validate_python(value)
                except ValidationError:
                    continue
                pytest.fail(f"{name} takes {value}")
    assert tried > 60
