"""Assets whose messages arrive, and that `source.assets` leaves out."""

import difflib
from collections.abc import Iterable, Sequence

from edgeai.doctor.findings import Findings
from edgeai.engine.inlets import find_capture
from edgeai.engine.intake.records import RecordIntake
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.record_explanations import places_in
from edgeai.engine.refusals import printable
from edgeai.errors import DecodeError, listed
from edgeai.messages import Message, as_bytes

SHOWN_ASSETS = 5
MAX_DECODED = 50  # messages that name their assets themselves and are read for it
MIN_LIKENESS = 0.75  # (`difflib`) of a pattern to an asset that it misses by a slip
WILDCARDS = ("*", "?")


def check_left_out(pipeline: Pipeline, messages: Sequence[Message], findings: Findings) -> bool:
    """Tell if `source.assets` matches no asset that arrives, or misses one by a slip.

    Args:
        pipeline: It need not have taken the messages.
        messages: All that have arrived.
        findings: Gets what is found.

    Returns:
        Whether all assets that arrive are left out, so that there is nothing more to check.
    """
    place, source = next(iter(pipeline.config.named_sources.items()))
    patterns = source.assets
    if not patterns:
        return False
    arrived = _assets_of(pipeline, messages)
    others = sorted(one for one in arrived if not pipeline.sources.wants(one))
    if not others:
        return False
    key = f"pipelines.{pipeline.name}.{place}.assets"
    shown = listed([printable(one) for one in others], SHOWN_ASSETS)
    slips = _slips(patterns, others, arrived)
    if len(others) == len(arrived):
        advice = f"correct {key}"
        if slips:
            pattern, asset = slips[0]
            advice += f": did you mean {printable(asset)} in place of {printable(pattern)}?"
        findings.warn(
            "delivery",
            f"messages of {shown} arrive, and {key} ({listed(patterns, SHOWN_ASSETS)}) leaves all "
            "of them out",
            f"{advice} (a pattern is compared with the whole name; upper and lower case count)",
            pipeline.name,
        )
        return True
    for pattern, asset in slips:
        findings.warn(
            "delivery",
            f"no asset that arrives is {printable(pattern)}, but {printable(asset)}, which {key} "
            "leaves out",
            f"if that is meant, correct {key}; otherwise the machine is off now",
            pipeline.name,
        )
    return False


def _assets_of(pipeline: Pipeline, messages: Iterable[Message]) -> set[str]:
    """Return the assets that messages are of, whether they are wanted or not."""
    found: set[str] = set()
    decoded = 0
    for message in messages:
        topic = message[0]
        if not pipeline.sources.have_keys_in_payload:
            inlets = pipeline.sources.inlets
            captures = (
                [one.find_key(topic) for one in inlets]
                if inlets
                else [find_capture(pipeline.sources.template, pipeline.name, topic)]
            )
            found.update(one[0] for one in captures if one is not None)
        elif decoded < MAX_DECODED and pipeline.find_key(topic) is not None:
            decoded += 1
            found.update(_assets_in(pipeline, message))
    return found


def _assets_in(pipeline: Pipeline, message: Message) -> list[str]:
    """Return the assets that a message names itself."""
    intake = pipeline.intake
    if not isinstance(intake, RecordIntake):
        return []
    tag, levels = places_in(pipeline.config.only_source, pipeline.sources.template, message[0])
    counted = intake.decoder.invalid.copy()
    try:
        return list(intake.decoder.decode(as_bytes(message[1]), tag, levels or []).keys)
    except DecodeError:
        return []
    finally:  # these messages are taken later, and counted then
        intake.decoder.invalid.clear()
        intake.decoder.invalid.update(counted)


def _slips(
    patterns: Sequence[str], others: Sequence[str], arrived: Iterable[str]
) -> list[tuple[str, str]]:
    """Return each pattern without a wildcard that no asset is, with the asset left out like it."""
    there, slips = set(arrived), []
    for pattern in patterns:
        plain = pattern.rstrip("".join(WILDCARDS))
        if pattern in there or not plain:
            continue
        if plain == pattern:
            near = difflib.get_close_matches(pattern, others, 1, MIN_LIKENESS)
        else:
            near = [
                one
                for one in others
                if one[: len(plain)] != plain and one[: len(plain)].lower() == plain.lower()
            ][:1]
        slips += [(pattern, one) for one in near]
    return slips
