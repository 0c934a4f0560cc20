"""What the answers of a pipeline need of its model, and what its heartbeat and topics look like."""

import difflib
from collections.abc import Callable, Iterator, Mapping

from edgeai import topics
from edgeai.answers.answer import compile_answer, compile_beat, expanded
from edgeai.answers.values import Names, output_of
from edgeai.config.answer_fields import AnswerField, NamedField
from edgeai.config.answer_formats import FlatJsonAnswer, TextAnswer
from edgeai.config.answers import AnswerConfig, is_command_like
from edgeai.config.node import Config
from edgeai.config.pipeline import RESERVED_STATES, PipelineConfig
from edgeai.errors import Problem
from edgeai.model.manifest import Manifest
from edgeai.model.package import Package

OTHER_KINDS = frozenset({"outside_domain"})
"""Diagnoses that edgeai makes itself."""

Add = Callable[[str, str, object], None]


def names_of(config: Config, name: str, package: Package) -> Names:
    """Return what a pipeline knows by name."""
    manifest = package.manifest
    outputs = [output for output, _ in manifest.published]
    return Names(config.node, name, outputs, [one.name for one in manifest.signals])


def answer_problems(
    file: str, name: str, config: Config, package: Package, others: Mapping[str, Package]
) -> list[Problem]:
    """Return what the answers of a pipeline ask for and its model does not have.

    Args:
        file: The configuration's.
        name: The pipeline's.
        config: The node's.
        package: The pipeline's model package.
        others: Those of its operating states.
    """
    pipeline = config.pipelines[name]
    names = names_of(config, name, package)
    problems: list[Problem] = []
    for answer, one in pipeline.publish.answers.items():
        where = f"pipelines.{name}.publish.answers.{answer}"

        def add(field: str, rule: str, value: object, where: str = where) -> None:
            problems.append(Problem(file, f"{where}.{field}", rule, value, has_value=True))

        fields = one.format.fields
        if isinstance(one.format, TextAnswer | FlatJsonAnswer):
            _check_expanded(one, names, add)
        packages = [package, *others.values()]
        for place, field in enumerate(fields):
            for rule in RULES:
                fault = rule(field, pipeline, packages)
                if fault:
                    add(f"format.fields.{place}.name", fault, field.name)
                    break
        try:
            compile_answer(one.format, names)
        except ValueError as error:
            add("format.fields", str(error), answer)
    return problems


def heartbeat_problems(file: str, config: Config) -> list[Problem]:
    """Return what is wrong with the heartbeat beyond its own rules."""
    if config.heartbeat is None:
        return []
    try:
        compile_beat(config.heartbeat.format, Names(config.node))
    except ValueError as error:
        return [Problem(file, "heartbeat.format.fields", str(error))]
    return []


def _check_expanded(answer: AnswerConfig, names: Names, add: Add) -> None:
    """Check keys and topics of values that a `*` stands for."""
    assert isinstance(answer.format, TextAnswer | FlatJsonAnswer)
    found = expanded(answer.format.fields, names)
    keys = [one.shown_key for one in found]
    repeated = next((key for key in keys if keys.count(key) > 1), None)
    if repeated is not None:
        add("format.fields", "one value occurs twice, by its name and by a `*`", repeated)
    if not found:
        add("format.fields", "the model has no value that they mean", answer.topic)
    for one in found if isinstance(answer.format, TextAnswer) else ():
        last = one.name.partition(".")[2]
        filled = (("field", one.shown_key), ("output", last), ("signal", last))
        topic = topics.fill(answer.topic, filled)
        if not topics.is_topic_name(topics.fill(topic, ())):
            add("topic", f"`{one.shown_key}` cannot be in a topic: give the value a `key`", topic)


def _output_fault(
    field: AnswerField, _pipeline: PipelineConfig, packages: list[Package]
) -> str | None:
    head, _, rest = field.name.partition(".")
    if head not in {"outputs", "advice"} or not rest or rest == "*":
        return None
    faults = [_output_fault_of(rest, one, is_advice=head == "advice") for one in packages]
    return None if None in faults else faults[0]


def _output_fault_of(rest: str, package: Package, *, is_advice: bool) -> str | None:
    manifest = package.manifest
    published = [name for name, _ in manifest.published]
    output, element = output_of(rest, published)
    if output not in published:
        near = difflib.get_close_matches(output, published, 1)
        known = f"did you mean `{near[0]}`?" if near else f"it has {', '.join(published) or 'none'}"
        return f"is no output that predictions of {manifest.name} carry: {known}"
    role = next(one.role for one in manifest.outputs if one.name == output)
    if is_advice and role != "advice":
        return f"has the role `{role}`: write outputs.{rest}"
    shape = package.golden()[1][output].shape[1:]
    count = shape[0] if shape else None
    if count is None and element is not None:
        return "is one number: leave the last part away"
    if count is not None and element is None:
        return f"is a list of {count} numbers: name one of them, such as outputs.{output}.0"
    if count is not None and element is not None and element >= count:
        return f"is a list of {count} numbers, from 0 to {count - 1}"
    return None


def _signal_fault(
    field: AnswerField, pipeline: PipelineConfig, packages: list[Package]
) -> str | None:
    signals = [one.name for one in packages[0].manifest.signals]
    head, _, rest = field.name.partition(".")
    top = pipeline.publish.top
    if head == "contributions":
        if rest not in {*signals, "*"}:
            near = difflib.get_close_matches(rest, signals, 1)
            hint = f": did you mean `{near[0]}`?" if near else ""
            return f"is no signal of {packages[0].manifest.name}{hint}"
        if not _explains(packages[0].manifest):
            return f"{packages[0].manifest.name} has no contributions"
        return None if top >= len(signals) else f"needs `publish.top: {len(signals)}`"
    if head == "top":
        if not _explains(packages[0].manifest):
            return f"{packages[0].manifest.name} has no contributions"
        place = int(rest.partition(".")[0])
        most = min(top, len(signals))
        if place > most:
            return f"a prediction names {most} signals (`publish.top`)"
    return None


def _explains(manifest: Manifest) -> bool:
    return manifest.contribution is not None


def _context_fault(
    field: AnswerField, pipeline: PipelineConfig, packages: list[Package]
) -> str | None:
    """Return that a value needs operating states, cycles or a diagnosis that are not there."""
    name = field.name
    if name == "state" and not pipeline.states:
        return "needs operating states (`states`)"
    if name.startswith("cycle_") and pipeline.window.cycle is None:
        return "needs windows that are cycles (`window.cycle`)"
    if name in {"diagnosis", "diagnosis_cause"}:
        manifests = [one.manifest for one in packages]
        if not any(one.evidence or one.domains for one in manifests):
            return f"{manifests[0].name} makes no diagnosis"
    return None


def _code_fault(
    field: AnswerField, pipeline: PipelineConfig, packages: list[Package]
) -> str | None:
    """Return that a code is of a text which never comes, or that one which may come has none."""
    if field.codes is None:
        return None
    info = field.info
    known = set(info.codes or {}) if info is not None else set()
    if field.name == "state":
        known = {*pipeline.states, *RESERVED_STATES}
    elif field.name == "diagnosis":
        kinds = [kind.kind for one in packages for kind in one.manifest.diagnosis or []]
        known = {"", *kinds, *OTHER_KINDS}
    elif field.name.startswith("top."):
        known = {one.name for one in packages[0].manifest.signals}
    if not known:
        return None
    wrong = [text for text in field.codes if text not in known]
    if wrong:
        return f"`codes` has `{wrong[0]}`, which never comes; there are {_listed(known)}"
    return None


def _listed(names: set[str]) -> str:
    return ", ".join(f"`{one}`" for one in sorted(names))


RULES = (_output_fault, _signal_fault, _context_fault, _code_fault)


def answer_warnings(config: Config, packages: Mapping[str, Package]) -> Iterator[str]:
    """Yield what works, but not as the programmer of a controller would want it."""
    if config.heartbeat is not None and is_command_like(config.heartbeat.topic):
        yield COMMAND_LIKE.format("heartbeat.topic", config.heartbeat.topic)
    for name, pipeline in config.pipelines.items():
        for answer, one in pipeline.publish.answers.items():
            where = f"pipelines.{name}.publish.answers.{answer}"
            if is_command_like(one.topic):
                yield COMMAND_LIKE.format(f"{where}.topic", one.topic)
            yield from _code_warnings(where, one, pipeline, packages[name])
        rate = packages[name].manifest.sample_rate_hz
        stale = pipeline.stream.stale_after_seconds
        if pipeline.publish.answers and (stale == 0 or (stale is None and rate is None)):
            yield (
                f"pipelines.{name}.publish.answers: no silence is noticed, so the last answer "
                "stays live for ever: set `stream.stale_after_seconds`"
            )


COMMAND_LIKE = (
    "{}: {} looks like a topic by which devices take commands. edgeai never writes a set-point: an "
    "answer says what a model has found, and a controller decides"
)


def _code_warnings(
    where: str, answer: AnswerConfig, pipeline: PipelineConfig, package: Package
) -> Iterator[str]:
    """Yield texts that may come and have no code."""
    for field in answer.format.fields:
        if field.codes is None or (isinstance(field, NamedField) and not field.is_code):
            continue
        info = field.info
        wanted = list(info.codes or {}) if info is not None else []
        if field.name == "state":
            wanted = [*pipeline.states, *RESERVED_STATES]
        elif field.name == "diagnosis":
            wanted = ["", *[kind.kind for kind in package.manifest.diagnosis or []]]
        missing = [text for text in wanted if text not in field.codes]
        if missing:
            yield (
                f"{where}: `{field.name}` has no code for {', '.join(f'`{m}`' for m in missing)}: "
                "its substitute stands for them, and `valid` is 0"
            )
