"""Whether the broker accepts what a node publishes, asked so that nobody receives the question."""

import secrets

from edgeai import topics
from edgeai.assembly.pipelines import events_topic
from edgeai.config.answer_topics import first_value
from edgeai.config.node import Config
from edgeai.config.source_rules import RESERVED_CAPTURE
from edgeai.doctor.findings import Findings
from edgeai.doctor.login import ANSWER_SECONDS, client_id_of
from edgeai.messages import Message
from edgeai.mqtt.probe import REFUSED, Probe
from edgeai.node.status import status_topic

ECHO_SECONDS = 0.3  # until a broker that delivers before PUBREL has delivered


def check_publishing(
    probe: Probe,
    config: Config,
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
    is_refused = False
    for topic, what in _published_topics(config, messages).items():
        # mosquitto 2.0 ends the connection after a refusal at QoS 2, with the next packet: what is
        # asked then has no answer, and is not refused for that.
        if probe.failure or is_refused:
            probe.close()
            probe = Probe(config.broker, client_id_of(config), "5")
            probe.connect(ANSWER_SECONDS)
        code = probe.offer(topic, ANSWER_SECONDS)
        is_refused = code is not None and code >= REFUSED
        if code is None and not probe.failure:
            findings.skip("publishing", f"the broker does not answer: {topic}", what)
        elif code is None or code >= REFUSED:
            findings.fail(
                "publishing",
                f"the broker refuses {topic}",
                "let the broker's ACL allow this client to write it (mosquitto: topic write "
                f"{topic.rpartition('/')[0]}/#)",
                what,
            )
        else:
            findings.ok("publishing", f"the broker accepts {topic}", what)
    probe.close()


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


def _published_topics(config: Config, messages: list[Message]) -> dict[str, str]:
    """Return the topics that the node would publish to, and what each is for."""
    found = {
        status_topic(config.node): "status",
        events_topic(config.node): "events",
    }
    if config.heartbeat is not None:
        found[config.heartbeat.topic_of(config.node)] = "heartbeat"
    for name, pipeline in config.pipelines.items():
        asset = name
        levels: dict[str, str] = {}
        for source in pipeline.named_sources.values():
            template = topics.TopicTemplate(source.topic)
            captured = next((one for each in messages if (one := template.match(each[0]))), None)
            if captured:
                keys = [captured[one] for one in template.fields if one != RESERVED_CAPTURE]
                asset, levels = "/".join(keys) or name, captured
                break
        values = (("node", config.node), ("pipeline", name), ("asset", asset))
        results = {"predictions": pipeline.publish.topic, "alarms": pipeline.publish.alarm_topic}
        if pipeline.states:
            results["operating states"] = pipeline.publish.state_topic
        for answer, declared in pipeline.publish.answers.items():
            names = (("answer", answer), *levels.items(), *first_value(declared))
            results[f"answer {answer}"] = topics.fill(declared.topic, (*names, *values))
        for what, topic in results.items():
            filled = topics.fill(topic, (*values, ("model", pipeline.model.rpartition("/")[2])))
            if topics.is_topic_name(filled):
                found[filled] = f"{what} of {name}"
    return found
