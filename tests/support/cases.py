"""Case folders: a configuration, messages, and what becomes of them (docs/payloads.md).

    tests/cases/NAME/
      config.yaml          a whole configuration, or only `pipelines`
      input.jsonl          messages, one a line: topic, payload, tst (see below)
      expected.jsonl       the predictions: only the keys that are named are compared
      expected-dropped.txt what the replay says of losses; without it nothing may be lost
      expected-error.txt   in place of the two: what `edgeai check` says, one problem a line
      models.yaml          further models: signals, length, hop, threshold, rate_hz, ranges

`payload` is JSON, or a text in quotes; `payload_hex` are bytes; `properties` are user properties
of MQTT 5. A line without `tst` arrives a
second after the line before it; the first one on 2025-11-21 at 10:00:00 UTC.
"""

from __future__ import annotations

import binascii
import json
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from edgeai.decoding.times import iso_ns
from edgeai.testing import build_package
from tests.support.paths import REPOSITORY

CASES = REPOSITORY / "tests" / "cases"
FIRST_NS = iso_ns("2025-11-21T10:00:00Z", None)
SECOND_NS = 10**9
PIPELINE_KEYS = ("timestamp", "asset", "score", "quality", "alarm", "pipeline")


@dataclass(frozen=True)
class Sent:
    """One message of a case."""

    topic: str
    payload: bytes
    received_ns: int
    flags: dict[str, Any]
    properties: dict[str, str]
    """User properties of MQTT 5."""


@dataclass(frozen=True)
class Case:
    """One case folder."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    def expected_error(self) -> list[str] | None:
        file = self.folder / "expected-error.txt"
        return file.read_text().splitlines() if file.is_file() else None

    def expected(self) -> list[dict[str, Any]]:
        return _lines(self.folder / "expected.jsonl")

    def expected_dropped(self) -> list[str]:
        file = self.folder / "expected-dropped.txt"
        return sorted(file.read_text().splitlines()) if file.is_file() else []

    def config(self) -> dict[str, Any]:
        """Return the configuration, completed for a replay."""
        given = yaml.safe_load((self.folder / "config.yaml").read_text())
        return {
            "node": "case",
            "broker": {"host": "127.0.0.1"},
            "http": {"enabled": False},
            **given,
        }

    def messages(self) -> list[Sent]:
        found: list[Sent] = []
        for line in _lines(self.folder / "input.jsonl"):
            at_ns = found[-1].received_ns + SECOND_NS if found else FIRST_NS
            if "tst" in line:
                at_ns = iso_ns(line["tst"], None)
            flags = {key: line[key] for key in ("retain", "dup", "backlog") if key in line}
            found.append(
                Sent(line["topic"], _payload(line), at_ns, flags, line.get("properties", {}))
            )
        return found

    def models(self) -> dict[str, tuple[str, Any]]:
        """Return folder and making of each model that the configuration may name."""
        own = self.folder / "models.yaml"
        given = yaml.safe_load(own.read_text()) if own.is_file() else {}
        shared = yaml.safe_load((CASES / "models.yaml").read_text())
        return {name: (name, one) for name, one in shared.items()} | {
            name: (f"{self.name}-{name}", one) for name, one in given.items()
        }


def cases() -> list[Case]:
    """Return all case folders."""
    return [Case(file.parent) for file in sorted(CASES.glob("*/config.yaml"))]


def complete_models(case: Case, pipelines: dict[str, Any], folder: Path) -> None:
    """Make the models that pipelines of a case name, as far as they are not there."""
    models = case.models()
    for pipeline in pipelines.values():
        if pipeline["model"] in models:
            name, making = models[pipeline["model"]]
            pipeline["model"] = name
            if not (folder / name).is_dir():
                build_package(folder / name, **making)


def write_case(case: Case, folder: Path) -> tuple[Path, Path]:
    """Write configuration, models and recording of a case; return the first and the last.

    Several cases may share a folder, and so the models.
    """
    config = case.config()
    complete_models(case, config["pipelines"], folder)
    for more in set(case.folder.glob("*.yaml")) - {case.folder / "config.yaml"}:
        (folder / more.name).write_bytes(more.read_bytes())
    file = folder / f"{case.name}.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    recording = folder / f"{case.name}.jsonl"
    if case.expected_error() is not None:
        return file, recording
    with recording.open("w") as out:
        for one in case.messages():
            line = {
                "topic": one.topic,
                "payload_base64": b64encode(one.payload).decode(),
                **one.flags,
            }
            if one.properties:
                line["properties"] = {"user-properties": one.properties}
            out.write(json.dumps({**line, "received_ns": one.received_ns}) + "\n")
    return file, recording


def differences(expected: list[dict[str, Any]], found: list[dict[str, Any]]) -> list[str]:
    """Return how predictions differ from the expected ones, in the keys that these name.

    The order counts within each asset of a pipeline.
    """
    wrong = []
    names = "pipeline" if all("pipeline" in one for one in expected) else "asset"
    expected = sorted(expected, key=lambda one: (one[names], one["asset"]))
    found = sorted(found, key=lambda one: (one[names], one["asset"]))
    if len(expected) != len(found):
        wrong.append(f"{len(found)} predictions, not {len(expected)}: {_shown(found)}")
    for number, (want, got) in enumerate(zip(expected, found, strict=False), 1):
        seen = {key: got.get(key) for key in want}
        if seen != want:
            wrong.append(f"prediction {number}: {seen}, not {want}")
    return wrong


def _shown(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: one[key] for key in PIPELINE_KEYS if key in one} for one in found[:12]]


def pipeline_of(prediction: dict[str, Any]) -> str:
    """Return the pipeline of a prediction; its id begins with it."""
    return str(prediction["id"]).partition("/")[0]


def _payload(line: dict[str, Any]) -> bytes:
    if "payload_hex" in line:
        return binascii.unhexlify(line["payload_hex"])
    payload = line["payload"]
    return (payload if isinstance(payload, str) else json.dumps(payload)).encode()


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines() if line.strip()]
