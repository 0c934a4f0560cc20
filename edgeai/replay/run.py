"""Recordings through the same turn as live data, as fast as it can: `edgeai replay`."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from edgeai.assembly.pipelines import (
    build_pipelines,
    close_sessions,
    create_provider_watch,
    reset_prefix,
    wait_for_accelerators,
)
from edgeai.assembly.plan import Plan
from edgeai.engine.engine import Engine
from edgeai.engine.pipeline import Pipeline
from edgeai.messages import PublicationSink
from edgeai.metrics.definitions import Metrics
from edgeai.paths import OutputFile, refuse_overwriting
from edgeai.recordings.reader import is_table
from edgeai.recordings.tables import TableOptions
from edgeai.replay.source import FileSink, FileSource

SHOWN_COUNTERS = {
    "edgeai_dropped": "dropped",
    "edgeai_messages_unrouted": "dropped",
    "edgeai_invalid_values": "invalid values",
    "edgeai_window_resets": "windows emptied",
    "edgeai_cycles": "cycles",
    "edgeai_samples_missing": "samples missing by the sample rate",
    "edgeai_samples_reordered": "samples out of order put in their place",
    "edgeai_samples_misplaced": "samples of a coarse clock with doubtful times",
    "edgeai_answer_values_substituted": "values of answers substituted",
    "edgeai_answers_dropped": "answers not published",
}
"""Counters that a summary lists, and what it calls them."""


@dataclass(frozen=True)
class ReplaySummary:
    """What a replay read and wrote."""

    messages: int
    predictions: int
    dropped: list[str]
    """A line for each reason for which something was dropped or could not be used."""


def replay_files(
    plan: Plan,
    files: Sequence[Path | str],
    output: Path | str,
    alarms: Path | str | None = None,
    *,
    answers: Path | str | None = None,
    options: TableOptions | None = None,
    advance: Callable[[int], None] | None = None,
) -> ReplaySummary:
    """Run recordings through the pipelines of a plan.

    Args:
        plan: A checked configuration, from `edgeai.assembly.plan.check`.
        files: CSV, JSONL or Parquet, in this order.
        output: Predictions, as JSON lines.
        alarms: Alarm transitions, as JSON lines; None: they are not written.
        answers: Answers to controllers (`publish.answers`), as JSON lines with topic and payload;
            None: they are not written.
        options: How tables are read.
        advance: Called after each turn with the bytes read so far.

    Raises:
        ConfigError: A file cannot be read or written, or is not what its name says.
        ModelError: A model does not reproduce its golden outputs.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from edgeai import check, replay_files
        >>> from edgeai.testing import build_package, write_config
        >>> folder = Path(tempfile.mkdtemp())
        >>> package = build_package(folder / "mean", signals=["a", "b"], length=2)
        >>> source = {"topic": "f/{asset}", "time": {"path": "t", "unit": "s"}}
        >>> config = write_config(folder / "line.yaml", {"p": {"model": "mean", "source": source}})
        >>> rows = ["t,a,b", "1,4,8", "2,4,8", "3,4,8"]
        >>> _ = (folder / "press.csv").write_text(chr(10).join(rows))
        >>> replay_files(check(config), [folder / "press.csv"], folder / "predictions.jsonl")
        ReplaySummary(messages=3, predictions=2, dropped=[])
    """
    inputs = [Path(one) for one in files]
    output = Path(output)
    alarms = None if alarms is None else Path(alarms)
    answers = None if answers is None else Path(answers)

    with ExitStack() as stack:

        def open_files(_pipelines: list[Pipeline]) -> FileSink:
            refuse_overwriting(inputs, [output, alarms, answers])
            target, *others = [
                stack.enter_context(OutputFile(path)) if path is not None else None
                for path in (output, alarms, answers)
            ]
            assert target is not None
            return FileSink(target, *others)

        return run_recordings(plan, inputs, open_files, options=options, advance=advance)


def run_recordings(
    plan: Plan,
    inputs: Sequence[Path],
    open_sink: Callable[[list[Pipeline]], PublicationSink],
    *,
    options: TableOptions | None = None,
    advance: Callable[[int], None] | None = None,
    skips: Callable[[str], bool] = lambda _topic: False,
) -> ReplaySummary:
    """Run recordings through the pipelines of a plan, into any sink.

    Args:
        plan: A checked configuration.
        inputs: CSV, JSONL or Parquet, or folders of `edgeai record`, in this order.
        open_sink: Returns the sink, given the pipelines, when all of them are ready.
        options: How tables are read.
        advance: Called after each turn with the bytes read so far.
        skips: Returns whether messages of a topic are left out, uncounted.

    Raises:
        ConfigError: A file cannot be read, or is not what its name says.
        ModelError: A model does not reproduce its golden outputs.
    """
    metrics = Metrics()
    with ExitStack() as stack:
        pipelines = build_pipelines(plan, metrics)
        stack.callback(close_sessions, pipelines)
        if any(map(is_table, inputs)):
            for pipeline in pipelines:
                pipeline.expect_table()
        limits = plan.config.limits
        source = FileSource(
            list(inputs), pipelines, limits, metrics, options or TableOptions(), skips=skips
        )
        wait_for_accelerators(pipelines)
        engine = Engine(
            pipelines,
            source,
            open_sink(pipelines),
            metrics,
            reset_prefix=reset_prefix(plan.config.node),
            clock_ns=None,
            publishes_states=False,
            watch=create_provider_watch(pipelines, metrics, plan.config.node, topic=""),
        )
        while not source.exhausted:
            engine.turn(0)
            if advance is not None:
                advance(source.read_bytes)
        engine.finish()
    return ReplaySummary(engine.received, engine.predicted, [*source.bad_rows, *_dropped(metrics)])


def _dropped(metrics: Metrics) -> list[str]:
    lines = []
    for family in metrics.registry.collect():
        if family.name not in SHOWN_COUNTERS:
            continue
        for sample in family.samples:
            reason = sample.labels.get("reason") or sample.labels.get("outcome")
            if sample.name.endswith("_total") and sample.value and reason != "complete":
                who = sample.labels.get("pipeline", "no pipeline")
                what = SHOWN_COUNTERS[family.name]
                ending = "" if reason is None else f", {reason}"
                lines.append(f"{who}: {sample.value:.0f} {what}{ending}")
    return lines
