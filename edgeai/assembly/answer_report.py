"""What answers to controllers and the heartbeat look like, for `edgeai check`: topics and bytes."""

from collections.abc import Iterator, Sequence
from typing import Any

from edgeai import topics
from edgeai.answers.answer import Answer, Written, compile_answer, compile_beat
from edgeai.answers.facts import Beat, Facts
from edgeai.answers.values import Names
from edgeai.assembly.answer_check import names_of
from edgeai.config.answer_fields import BinaryField
from edgeai.config.answer_formats import AnswerFormat, RegistersAnswer, StructAnswer
from edgeai.config.answer_values import FILLERS
from edgeai.config.answers import AnswerConfig, HeartbeatConfig
from edgeai.config.node import Config
from edgeai.config.source_rules import RESERVED_CAPTURE
from edgeai.engine.contributions import largest_contributions
from edgeai.engine.pipeline import Pipeline
from edgeai.messages import SECOND_NS
from edgeai.model.package import Package

EXAMPLE_NS = 1_768_464_000 * SECOND_NS  # 2026-01-15T08:00:00Z
EXAMPLE_AGE_NS = 250_000_000
GROUP_BYTES = 2
MAX_EXAMPLES = 12  # of an answer with a topic for each value
WHEN = {"prediction": "with each prediction", "change": "when a value changes"}


def describe_answers(pipeline: Pipeline, package: Package, config: Config) -> Iterator[str]:
    """Yield the lines about the answers of a pipeline.

    Args:
        pipeline: With answers or without.
        package: Its model package, whose golden outputs make the examples.
        config: The node's.
    """
    if pipeline.answers is None:
        return
    names = names_of(config, pipeline.name, package)
    key = example_key(pipeline)
    for name, one in pipeline.config.publish.answers.items():
        answer = compile_answer(one.format, names)
        its_topics = pipeline.answers.topics_of(name, key)
        live = answer.write(example_facts(pipeline, package, key))
        silent = answer.write(
            Facts(key, reason="no_samples", time_ns=EXAMPLE_NS, now_ns=EXAMPLE_NS + 60 * SECOND_NS)
        )
        yield f"answer {name}: {_form_of(one.format)}, {_rhythm_of(one)}"
        for line in _examples(one.format, answer, its_topics, live, "for example"):
            yield f"answer {name}: {line}"
        for line in _examples(one.format, answer, its_topics, silent, "not live"):
            yield f"answer {name}: {line}"
        if isinstance(one.format, StructAnswer | RegistersAnswer):
            for line in _table(one.format, live):
                yield f"answer {name}:   {line}"


def describe_heartbeat(config: HeartbeatConfig, node: str) -> Iterator[str]:
    """Yield the lines about the heartbeat."""
    answer = compile_beat(config.format, Names(node))
    topic = (config.topic_of(node),)
    what = "while the node is ready" if config.needs == "ready" else "while it runs"
    yield f"heartbeat: {_form_of(config.format)}, every {config.period_seconds:g} s {what}"
    for count in (1, 2):
        beat = Beat(
            is_live=True, count=count, is_ready=True, now_ns=EXAMPLE_NS, uptime_seconds=count
        )
        yield from (
            f"heartbeat: {line}"
            for line in _examples(config.format, answer, topic, answer.write(beat), "for example")
        )
    if config.last:
        last = answer.write(Beat(is_live=False))
        for line in _examples(config.format, answer, topic, last, "last, and last will"):
            yield f"heartbeat: {line}"


def example_key(pipeline: Pipeline) -> str:
    """Return the key of a stream as it might be."""
    source = next(iter(pipeline.config.named_sources.values()))
    names = [one for one in topics.template_fields(source.topic) if one != RESERVED_CAPTURE]
    names += ["asset"] * (source.key_levels - len(names))
    key = "/".join(f"{name}-1" for name in names) or pipeline.name
    return next((one for one in source.assets if not set(one) & set("*?")), key)


def example_facts(pipeline: Pipeline, package: Package, key: str) -> Facts:
    """Return what a prediction of the golden window with the most abnormal score would say."""
    manifest, rule = package.manifest, pipeline.rule
    windows = package.golden()[1]
    scores = windows[manifest.score]
    worst = int(scores.argmax() if rule.abnormal == "high" else scores.argmin())
    score = float(scores[worst])
    is_alarm = score > rule.threshold if rule.abnormal == "high" else score < rule.threshold
    top: Sequence[tuple[str, float]] = ()
    if manifest.contribution is not None:
        row = windows[manifest.contribution][worst : worst + 1].copy()
        top = largest_contributions(row, pipeline.signals, pipeline.config.publish.top)[0]
    states = list(pipeline.config.states)
    facts = Facts(
        key,
        alarm="active" if is_alarm else "normal",
        status="unacknowledged" if is_alarm else "normal",
        is_live=True,
        quality="good",
        time_ns=EXAMPLE_NS,
        score=score,
        threshold=rule.threshold,
        outputs={
            name: {"value": windows[name][worst].tolist(), "unit": unit}
            for name, unit in manifest.published
        },
        top=top,
        state=states[0] if states else None,
        model=manifest.name,
        version=manifest.version,
        provider=pipeline.session.provider,
        id=f"{pipeline.name}/{key}:{EXAMPLE_NS}",
        now_ns=EXAMPLE_NS + EXAMPLE_AGE_NS,
        sequence=1,
    )
    causes = [kind for kind in manifest.diagnosis or [] if kind.cause != "domain"]
    if is_alarm and causes:
        facts.diagnosis, facts.cause = causes[0].kind, causes[0].cause
    if pipeline.config.window.cycle is not None:
        facts.cycle_number, facts.cycle_seconds, facts.cycle_complete = 1, 30.0, True
    return facts


def _form_of(form: AnswerFormat) -> str:
    if isinstance(form, StructAnswer):
        return f"struct of {form.places[1]} bytes, {form.endian} endian"
    if isinstance(form, RegistersAnswer):
        how = (
            "in a JSON list" if form.encoding == "list" else f"of two bytes, {form.encoding} endian"
        )
        return f"{form.places[1] // 2} registers {how}"
    return "flat JSON" if form.type == "flat_json" else f"text in {form.encoding}"


def _rhythm_of(answer: AnswerConfig) -> str:
    parts = [WHEN[answer.when]]
    if answer.min_interval_seconds is not None:
        parts.append(f"at most every {answer.min_interval_seconds:g} s")
    if answer.repeat_seconds is not None:
        parts.append(f"at least every {answer.repeat_seconds:g} s of predictions")
    return f"{', '.join(parts)}, QoS {answer.qos}{', retained' if answer.retain else ''}"


def _examples(
    form: AnswerFormat, answer: Answer, its_topics: Sequence[str], written: Written, what: str
) -> Iterator[str]:
    """Yield the messages of an answer, as an MQTT client would show them."""
    if answer.compose is None:
        more = len(its_topics) - MAX_EXAMPLES
        shown = zip(its_topics[:MAX_EXAMPLES], written.wires[:MAX_EXAMPLES], strict=True)
        for topic, wire in shown:
            assert isinstance(wire, bytes)
            yield f"{what}: {topic} {wire.decode(getattr(form, 'encoding', 'utf-8'))!r}"
        if more > 0:
            yield f"{what}: and {more} topics more"
        return
    payload = answer.compose(written.wires)
    is_bytes = isinstance(form, StructAnswer) or getattr(form, "encoding", "") in {"big", "little"}
    text = payload.hex(" ", GROUP_BYTES) if is_bytes else payload.decode()
    yield f"{what}: {its_topics[0]} {text}"


def _table(form: StructAnswer | RegistersAnswer, written: Written) -> Iterator[str]:
    """Yield a line for each field of a record: its place, its type, and its bytes."""
    places, _ = form.places
    unit, word = (2, "register") if isinstance(form, RegistersAnswer) else (1, "byte")
    wires: Iterator[Any] = iter(written.wires)
    for field, place in zip(form.fields, places, strict=True):
        assert isinstance(field, BinaryField)
        at = f"{place.offset // unit}"
        if place.field.type == "bool" or place.field.bits is not None:
            at += f".{place.bit}"
        shown = ""
        if field.name not in FILLERS:
            wire = next(wires)
            shown = f" = {wire.hex(' ') if isinstance(wire, bytes) else wire}"
        elif field.value is not None:
            shown = f" = {field.value}"
        yield f"{word} {at}: {field.name} ({field.type}){shown}"
