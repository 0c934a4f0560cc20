"""Whether the broker accepts what a node publishes, asked so that nobody receives the question."""

import secrets
from collections.abc import Mapping
from typing import Literal

from edgeai import topics
from edgeai.assembly.pipelines import events_topic
from edgeai.config.answer_topics import first_value
from edgeai.config.node import Config
from edgeai.config.pipeline import PipelineConfig
from edgeai.config.source_rules import RESERVED_CAPTURE
from edgeai.doctor.findings import Findings
from edgeai.doctor.login import ANSWER_SECONDS, client_id_of
from edgeai.doctor.models import ManifestFacts
from edgeai.messages import Message
from edgeai.mqtt.probe import REFUSED, Probe
from edgeai.node.status import status_topic

PREDICTION_BYTES = 2048  # with some outputs and a diagnosis
PLACEHOLDER = "any"
"""Level of a topic that stands for one of an asset that is not known."""
ECHO_SECONDS = 0.3  # until a broker that delivers before PUBREL has delivered


def check_publishing(
    probe: Probe,
    config: Config,
    models: Mapping[str, ManifestFacts],
    messages: list[Message],
    findings: Findings,
    *,
    is_mosquitto: bool,
) -> None:
    """Ask whether the broker accepts what the node publishes, if nobody receives the question."""
    why = _why_not_ask(probe, config, is_mosquitto=is_mosquitto)
    if why:
        findings.skip("publishing", why)
        return
    asked = _Questions(probe, config)
    is_sized = False
    for topic, (what, is_known) in _published_topics(config, models, messages).items():
        answer = asked.offer(topic)
        if answer == "none":
            findings.skip("publishing", f"the broker does not answer: {topic}", what)
        elif answer == "refused":
            _tell_refused(topic, what, findings, is_known=is_known)
        else:
            findings.ok("publishing", f"the broker accepts {topic}", what)
            if not is_sized and what.startswith("predictions"):
                is_sized = True
                _check_size(asked, topic, what, findings)
    asked.close()


class _Questions:
    """Asks the broker on one connection after the other: mosquitto 2.0 ends one after a refusal."""

    def __init__(self, probe: Probe, config: Config) -> None:
        self._probe, self._config = probe, config
        self._is_fresh = True
        """Whether the connection has seen no refusal."""

    def offer(self, topic: str, payload: bytes = b"") -> Literal["accepted", "refused", "none"]:
        """Return whether the broker accepts a publication."""
        if not self._is_fresh or self._probe.failure:
            self._connect()
        code = self._probe.offer(topic, ANSWER_SECONDS, payload)
        if code is None:
            self._is_fresh = False
            return "refused" if self._probe.failure else "none"
        if code >= REFUSED:
            self._is_fresh = False
            return "refused"
        return "accepted"

    def _connect(self) -> None:
        self.close()
        self._probe = Probe(self._config.broker, client_id_of(self._config), "5")
        self._probe.connect(ANSWER_SECONDS)
        self._is_fresh = True

    def close(self) -> None:
        """Disconnect."""
        self._probe.close()


def _tell_refused(topic: str, what: str, findings: Findings, *, is_known: bool) -> None:
    """Tell a topic that the broker refuses.

    Args:
        topic: It may have a placeholder for the asset.
        what: What is published there.
        findings: Gets what is found.
        is_known: Whether the node publishes to just this topic.
    """
    advice = (
        "let the broker's ACL allow this client to write it (mosquitto: topic write "
        f"{topic.rpartition('/')[0]}/#; edgeai acl prints all rules)"
    )
    if is_known:
        findings.fail("publishing", f"the broker refuses {topic}", advice, what)
        return
    findings.warn(
        "publishing",
        f"the broker refuses {topic}, where {PLACEHOLDER} stands for an asset: none is known, as "
        "no message has come",
        f"{advice}; if its rules name each asset, this is right: run doctor while the machines "
        "send",
        what,
    )


def _check_size(asked: _Questions, topic: str, what: str, findings: Findings) -> None:
    """Tell if the broker accepts an empty publication and not one of the usual size."""
    if asked.offer(topic, b" " * PREDICTION_BYTES) == "refused":
        findings.fail(
            "publishing",
            f"the broker refuses {PREDICTION_BYTES} bytes on {topic}, but not an empty message",
            "raise the size of messages that it takes (mosquitto: message_size_limit, "
            "max_packet_size)", what,
        )  # fmt: skip


def _why_not_ask(probe: Probe, config: Config, *, is_mosquitto: bool) -> str:
    """Return why the question could reach subscribers, or is not answered; empty: ask.

    mosquitto is known to wait for PUBREL. Another broker is asked first with a topic that only this
    client reads.
    """
    if not probe.limits.answers_with_reason:
        return "MQTT 3.1.1 does not say if a publication is refused"
    if probe.max_qos < 2:
        return "the broker has no QoS 2, with which this is asked without reaching subscribers"
    if is_mosquitto:
        return ""
    own = f"edgeai/{config.node}/doctor/{secrets.token_hex(6)}"
    if probe.subscribe({own: 0}, ANSWER_SECONDS)[own].qos is None:
        return "it is not known whether a question would reach subscribers"
    code = probe.offer(own, ANSWER_SECONDS)
    before = len(probe.messages)
    probe.listen(ECHO_SECONDS, lambda: any(one[0] == own for one in probe.messages[before:]))
    if code is None or code >= REFUSED or any(one[0] == own for one in probe.messages):
        return "it is not known whether a question would reach subscribers"
    return ""


def _published_topics(
    config: Config, models: Mapping[str, ManifestFacts], messages: list[Message]
) -> dict[str, tuple[str, bool]]:
    """Return the topics that the node would publish to; what each is for, and if it is certain.

    It is not where no message has named an asset.
    """
    found = {
        status_topic(config.node): ("status", True),
        events_topic(config.node): ("events", True),
    }
    if config.heartbeat is not None:
        found[config.heartbeat.topic_of(config.node)] = "heartbeat", True
    for name, pipeline in config.pipelines.items():
        asset, levels, is_known = _asset_of(name, pipeline, messages)
        values = (("node", config.node), ("pipeline", name), ("asset", asset))
        results = {"predictions": pipeline.publish.topic, "alarms": pipeline.publish.alarm_topic}
        if pipeline.states:
            results["operating states"] = pipeline.publish.state_topic
        for answer, declared in pipeline.publish.answers.items():
            names = (("answer", answer), *levels.items(), *first_value(declared))
            results[f"answer {answer}"] = topics.fill(declared.topic, (*names, *values))
        for what, topic in results.items():
            filled = topics.fill(topic, (*values, ("model", models[name].name)))
            if topics.is_topic_name(filled):
                found[filled] = f"{what} of {name}", is_known
    return found


def _asset_of(
    name: str, pipeline: PipelineConfig, messages: list[Message]
) -> tuple[str, dict[str, str], bool]:
    """Return an asset of a pipeline, the levels that topics capture, and whether it sends.

    Its name has as many levels as the real ones: a broker's rules may count them.
    """
    for source in pipeline.named_sources.values():
        template = topics.TopicTemplate(source.topic)
        patterns = [topics.compile_pattern(one) for one in source.assets]
        for captured in map(template.match, [one[0] for one in messages]):
            if captured is None or source.has_key_in_payload:
                continue
            keys = [captured[one] for one in template.fields if one != RESERVED_CAPTURE]
            asset = "/".join(keys)
            if asset and (not patterns or any(one.fullmatch(asset) for one in patterns)):
                return asset, captured, True
    source = next(iter(pipeline.named_sources.values()))
    fields = topics.template_fields(source.topic)
    if not source.key_levels:
        return name, dict.fromkeys(fields, PLACEHOLDER), True
    plain = [one for one in source.assets if not set(one) & {"*", "?"}]
    asset = plain[0] if plain else "/".join([PLACEHOLDER] * source.key_levels)
    names = [one for one in fields if one != RESERVED_CAPTURE]
    levels = dict(zip(names, asset.split("/"), strict=False))
    return asset, {**dict.fromkeys(fields, PLACEHOLDER), **levels}, bool(plain)
