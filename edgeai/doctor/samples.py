"""Whether the messages become samples, and if not, what they look like and what to set."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import takewhile

from edgeai.config.source import SourceConfig
from edgeai.decoding.fields import find, number_of, parse_object, signal_path
from edgeai.doctor.findings import Findings
from edgeai.doctor.payload_hints import hint_for
from edgeai.doctor.sample_remedies import Wanted, remedy_for
from edgeai.doctor.text_hints import Hint
from edgeai.doctor.unit_remedies import unit_remedy
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.refusals import example_of, printable
from edgeai.errors import DROP_REASONS, DecodeError, listed
from edgeai.messages import Message

NO_LOSS = frozenset({"duplicate", "retained"})
FORMAT_REASONS = frozenset({
    "invalid_json", "not_an_object", "not_the_format", "wrong_length", "not_compressed",
    "not_a_frame", "bad_magic", "bad_version", "bad_header", "no_items", "no_signal", "no_time",
    "invalid_value",
})  # fmt: skip
"""Reasons for which the payload may be of another format."""
SIGNAL_REASONS = frozenset({"no_signal", "invalid_value", "unknown_tag"})
"""Reasons for which names, paths or the layout may be others."""
MAX_LOOKED_AT = 50  # messages
LOOKS_LIKE = "it looks like"
SHOWN_SIGNALS = 4
SHOWN_ASSETS = 3


def check_samples(pipeline: Pipeline, messages: Sequence[Message], findings: Findings) -> None:
    """Tell what the pipeline has made of messages: samples, refusals, values that cannot be used.

    Args:
        pipeline: It has taken the messages.
        messages: At least one.
        findings: Gets what is found.
    """
    count = len(messages)
    drops = Counter(pipeline.metrics.drops)
    lost = {reason: number for reason, number in drops.items() if number and reason not in NO_LOSS}
    if lost:
        _tell_refused(pipeline, messages, lost, findings)
        return
    if _tell_waiting(pipeline, count, findings):
        return
    unusable = pipeline.metrics.invalid_counts()
    if unusable.total():
        counted = ", ".join(f"{reason} {number:,}" for reason, number in unusable.items() if number)
        explain = pipeline.refusals.explain
        texts = (explain("no_signal", *one[:3]) for one in messages if explain is not None)
        why = next((f"; {text}" for text in texts if text), "")
        remedy = next((text for one in messages if (text := _unit_remedy(pipeline, one))), "")
        remedy = f"{remedy} in {signals_of(pipeline)}; or " if remedy else ""
        findings.warn(
            "samples", f"values that are unusable or outside their range ({counted}){why}",
            f"{remedy}correct the sender, or compare it with {signals_of(pipeline)} "
            "(scale, offset) and with the ranges of the model", pipeline.name,
        )  # fmt: skip
        return
    findings.ok(
        "samples", f"{count} messages of {len(pipeline.streams)} assets are used", pipeline.name
    )


def _tell_refused(
    pipeline: Pipeline, messages: Sequence[Message], lost: dict[str, int], findings: Findings
) -> None:
    (reason, number), *_ = sorted(lost.items(), key=lambda one: -one[1])
    why = pipeline.refusals.explained.get(reason, "")
    count = len(messages)
    told = f"{number} {'records ' if number > count else ''}of {count} messages refused, "
    told += f"{reason}: {DROP_REASONS[reason]}"
    text = f"{told}; {why}" if why else told
    advice = f"compare a message with {pipeline.sources.place} (docs/config.md)"
    strangers = _strangers(pipeline, messages)
    if strangers and set(lost) <= SIGNAL_REASONS | {"no_items", "no_time"}:
        shown = listed([printable(one) for one in strangers], SHOWN_ASSETS)
        findings.warn(
            "samples", f"{text}; these are all messages of {shown}, while other assets are used",
            f"if these machines are not for this model, leave them out: {_assets_key(pipeline)} "
            f"to [{', '.join(_patterns(pipeline, strangers))}]", pipeline.name,
        )  # fmt: skip
        return
    hint, example = None, None
    if reason in FORMAT_REASONS:
        hint, example = _hint_of(pipeline, messages)
    remedy = ""
    if hint is None and reason in SIGNAL_REASONS:
        remedy, example = _signal_remedy(pipeline, messages)
    if remedy:
        advice = f"{remedy} (a hint: nothing is guessed); else {advice}"
    if hint is not None:
        if LOOKS_LIKE in why:  # the hint says it, and more
            text = told
        text += f"; it looks like {hint.looks_like}"
        advice = f"{_with_place(hint.remedy, pipeline, example)} (a hint: nothing is guessed)"
    if example is not None:
        text += f"; example: {example_of(example[0], example[1])}"
    tell = findings.fail if 2 * number >= len(messages) else findings.warn
    tell("samples", text, advice, pipeline.name)


def _strangers(pipeline: Pipeline, messages: Iterable[Message]) -> list[str]:
    """Return the assets that never gave a sample, if others did; their names are in the topics."""
    if pipeline.sources.have_keys_in_payload or not pipeline.sources.template.fields:
        return []
    heard = {found[0] for one in messages if (found := pipeline.find_key(one[0])) is not None}
    used = {key for key, state in pipeline.streams.items() if state.stream.used_ns is not None}
    return sorted(heard - used) if used else []


def _assets_key(pipeline: Pipeline) -> str:
    place = next(iter(pipeline.config.named_sources))
    return f"set pipelines.{pipeline.name}.{place}.assets"


def _patterns(pipeline: Pipeline, strangers: Iterable[str]) -> list[str]:
    """Return patterns of all assets but some: their common beginning, else their names."""
    others = sorted(set(pipeline.streams) - set(strangers))
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*others, strict=False))
    start = "".join(letters[0] for letters in same).rstrip("0123456789")
    if len(others) > 1 and start and not any(one.startswith(start) for one in strangers):
        return [f'"{start}*"']
    return [f'"{one}"' for one in others[:SHOWN_ASSETS]]


def _hint_of(pipeline: Pipeline, messages: Iterable[Message]) -> tuple[Hint | None, Message | None]:
    """Return what the first message that looks like another format looks like, and that message.

    Without such a message, the first one.
    """
    first = None
    for message in messages:
        source = _source_of(pipeline, message[0])
        first = first or message
        if source is None:
            continue
        form = "frame" if source.layout == "frame" else source.format.type
        hint = hint_for(
            message[0], bytes(message[1]), form=form, compression=source.compression or ""
        )
        if hint is not None:
            return hint, message
    return None, first


def _signal_remedy(pipeline: Pipeline, messages: Sequence[Message]) -> tuple[str, Message | None]:
    """Return what to declare so that a message gives its signals, and that message.

    Without a remedy, the first message.
    """
    for message in messages[:MAX_LOOKED_AT]:
        wanted = _wanted_of(pipeline, message[0])
        remedy = "" if wanted is None else remedy_for(wanted, message)
        if remedy:
            return remedy, message
    return "", messages[0]


def _wanted_of(pipeline: Pipeline, topic: str) -> Wanted | None:
    name = pipeline.name
    if not pipeline.sources.inlets:
        source = pipeline.config.only_source
        return Wanted(f"pipelines.{name}.source", source, pipeline.channels)
    for inlet in pipeline.sources.inlets:
        if inlet.find_key(topic) is not None:
            plan = inlet.plan
            return Wanted(f"pipelines.{name}.{plan.place}", plan.source, plan.signals)
    return None


def _unit_remedy(pipeline: Pipeline, message: Message) -> str:
    """Return how to convert the first value of a row that is outside its range; empty: unknown."""
    wanted = _wanted_of(pipeline, message[0])
    if wanted is None or wanted.source.layout != "row" or wanted.source.has_records:
        return ""
    try:
        document = parse_object(bytes(message[1]))
    except DecodeError:
        return ""
    for spec in pipeline.manifest.signals:
        field = wanted.source.signals.get(spec.name)
        value = find(document, signal_path(wanted.source, spec.name))
        number, reason = number_of(value, numeric_text=wanted.source.numeric_text)
        if (
            reason is not None
            or spec.range is None
            or (field and (field.scale, field.offset) != (1, 0))
        ):
            continue
        if not spec.range[0] <= number <= spec.range[1]:
            return unit_remedy(spec.name, spec.unit, number, spec.range)
    return ""


def _with_place(remedy: str, pipeline: Pipeline, message: Message | None) -> str:
    """Return a remedy with the place of the source in its keys."""
    place = pipeline.sources.place
    for inlet in pipeline.sources.inlets:
        if message is not None and inlet.find_key(message[0]) is not None:
            place = f"pipelines.{pipeline.name}.{inlet.plan.place}"
    return remedy.replace("KEY.", f"{place}.")


def _source_of(pipeline: Pipeline, topic: str) -> SourceConfig | None:
    if not pipeline.sources.inlets:
        return pipeline.config.only_source
    return next(
        (one.plan.source for one in pipeline.sources.inlets if one.find_key(topic) is not None),
        None,
    )


def _tell_waiting(pipeline: Pipeline, count: int, findings: Findings) -> bool:
    """Tell assets that still wait for a first value of a signal; return whether there are any."""
    waiting = {
        state.key: [pipeline.channels[channel] for channel in state.stream.waiting_for()]
        for state in pipeline.streams.values()
    }
    waiting = {key: names for key, names in waiting.items() if names}
    if not waiting:
        return False
    names = sorted({name for one in waiting.values() for name in one})
    more = len(names) - SHOWN_SIGNALS
    shown = ", ".join(names[:SHOWN_SIGNALS]) + (f" and {more} more" if more > 0 else "")
    assets = ", ".join(printable(one) for one in list(waiting)[:SHOWN_ASSETS])
    made = "no sample" if len(waiting) == len(pipeline.streams) else f"no sample of {assets}"
    findings.warn(
        "samples",
        f"{count} messages and {made}: no value yet of {shown}",
        f"check the names in {signals_of(pipeline)}; a signal that is sent when it changes may "
        "come later (--seconds waits longer)",
        pipeline.name,
    )
    return True


def signals_of(pipeline: Pipeline) -> str:
    """Return where the signals of a pipeline are declared."""
    place = pipeline.sources.place
    return f"`signals` in {place}" if pipeline.config.sources else f"{place}.signals"
