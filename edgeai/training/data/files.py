"""Read runs from recordings, by the rules of the runtime."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeai.config.pipeline import PipelineConfig
from edgeai.engine.cycle_settings import fit_of, max_samples_of
from edgeai.engine.pipeline_settings import extra_signals
from edgeai.errors import ConfigError, DecodeError, Problem
from edgeai.messages import SECOND_NS, Message
from edgeai.model.manifest import Manifest
from edgeai.progress import Progress
from edgeai.recordings.reader import Recorded, RecordingReader, is_table
from edgeai.recordings.tables import TableOptions
from edgeai.recordings.times import readable
from edgeai.training.data.collector import WindowCollector, draft_manifest
from edgeai.training.data.findings import Findings
from edgeai.training.data.mapping import pipeline_of
from edgeai.training.data.recorded_sources import RecordedSources
from edgeai.training.data.runs import Run
from edgeai.training.data.windows import Windows
from edgeai.training.recipe import RecipeWindow
from edgeai.training.recipe_files import Blocks, FileData, FileRun


@dataclass(frozen=True)
class FileRuns:
    """The runs of the recordings of a recipe.

    Attributes:
        runs: In the order of the recipe.
        findings: What was dropped, held or interrupted, and where.
        notes: The rates of the recordings, one line each.
    """

    runs: list[Run]
    findings: Findings
    notes: list[str]


def read_runs(
    data: FileData, window: RecipeWindow, recipe_path: Path, progress: Progress
) -> FileRuns:
    """Read every run of a recipe and cut it into blocks where the recipe says so.

    Raises:
        ConfigError: A file or column is missing, a row is not one, no row of a run can be used, the
            rate is not the recipe's, or rows do not exist.
    """
    reader = _Reader(data, window, recipe_path)
    last_uses = {item.file: index for index, item in enumerate(data.runs)}
    for done, item in enumerate(data.runs, 1):
        reader.read(item, done - 1)
        if last_uses[item.file] < done:
            reader.forget(item.file)
        progress("read", done, len(data.runs), item.file)
    return FileRuns(reader.runs, reader.findings, _rate_notes(reader.rates))


class _Reader:
    """Reads the runs of one recipe."""

    def __init__(self, data: FileData, window: RecipeWindow, recipe_path: Path) -> None:
        self.runs: list[Run] = []
        self.findings = Findings()
        self.rates: dict[str, list[str]] = {}
        """Files by what was found of their rate."""
        self._data = data
        self._recipe = recipe_path
        self._config, self._pipeline = pipeline_of(data, window.cycle, recipe_path)
        chosen = self._config.pipelines[self._pipeline]
        if any(one.has_key_in_payload for one in chosen.named_sources.values()):
            rule = (
                f"the messages of {self._pipeline} name their assets themselves, which training "
                "does not read yet: use a source whose topic names the asset"
            )
            raise self._problem("data.config", rule, self._pipeline)
        signals = [one.model_dump(exclude={"column"}, exclude_none=True) for one in data.signals]
        cycle = chosen.window.cycle
        length = window.length
        self._manifest = draft_manifest(
            signals,
            data.sample_rate_hz,
            {"length": length, "hop": window.hop if cycle is None else length},
            None if cycle is None else {"fit": cycle.fit or "resample"},
        )
        _refuse_misfits(self._manifest, chosen, recipe_path)
        extras = extra_signals(chosen, self._manifest)
        self._sources = RecordedSources(self._pipeline, chosen, self._manifest.signals, extras)
        time = data.time
        self._options = TableOptions(
            asset_column=data.asset_column,
            time_column=time.column if time else None,
            time_unit=time.unit if time else None,
            time_zone=time.zone if time else None,
            time_format=time.format if time else None,
            delimiter=data.delimiter,
            encoding=data.encoding,
            evenly_spaced_ns=round(SECOND_NS / data.sample_rate_hz) if data.evenly_spaced else None,
            every_signal=True,
        )
        self._tables: dict[str, list[Recorded]] = {}

    def read(self, item: FileRun, index: int) -> None:
        """Read one run of the recipe: one run for each asset, or three if it is cut."""
        recorded = self._messages(item.file)
        field = f"data.runs.{index}"
        start_ns = None
        if item.fault_row is not None:
            start_ns = self._sources.time_of(self._row(recorded, item, field))
            if start_ns is None:
                rule = f"must be a row of {item.file} with a valid time"
                raise self._problem(f"{field}.fault_row", rule, item.fault_row)
        elif item.fault_time is not None:
            start_ns = self._instant(item.fault_time, f"{field}.fault_time")
        name = item.file
        if item.rows is not None:
            first, last = item.rows
            if last > len(recorded):
                rule = f"{item.file} has {len(recorded)} rows"
                raise self._problem(f"{field}.rows", rule, item.rows)
            recorded, name = recorded[first:last], f"{name}[{first}:{last}]"
        if item.between is not None:
            begin, end = (self._instant(one, f"{field}.between") for one in item.between)
            times = [self._sources.time_of(one.message) for one in recorded]
            recorded = [
                one
                for one, at in zip(recorded, times, strict=True)
                if at is None or begin <= at < end
            ]
            name = f"{name}[{item.between[0]}, {item.between[1]}]"
            if not recorded:
                raise self._problem(f"{field}.between", f"{item.file} has no row", item.between)
        if start_ns is not None:
            self._check_start(start_ns, recorded, field)
        for key, rows in self._by_asset(recorded, item.file).items():
            title = name if self._data.asset_column is None else f"{name} {key}"
            for use, part in _parts(rows, item, self._data.blocks):
                shown = title if item.use is not None else f"{title} {use}"
                run = Run(shown, use, self._windows(part, key, item.file, shown))
                if start_ns is None:
                    self.runs.append(replace(run, severity=0.0))
                    continue
                seconds = (start_ns - self._start_of(part)) / SECOND_NS
                self.runs.append(replace(run, fault=item.fault, fault_seconds=seconds))

    def forget(self, file: str) -> None:
        """Release the messages of a file that no later run needs."""
        del self._tables[file]

    def _messages(self, file: str) -> list[Recorded]:
        """Return all messages of a file; it is read once."""
        if file not in self._tables:
            path = self._recipe.parent / file
            reader = RecordingReader([path], self._sources.mappings, self._options)
            self._tables[file] = list(reader.messages())
            if not self._tables[file]:
                raise ConfigError([Problem(str(path), "", "must hold at least one row")])
        return self._tables[file]

    def _by_asset(self, recorded: list[Recorded], file: str) -> dict[str, list[Recorded]]:
        """Return the messages by the stream that they belong to."""
        collector = self._collector()
        found: dict[str, list[Recorded]] = {}
        for one in recorded:
            key = collector.key_of(one.message)
            if key is None:
                places = self._sources.explain(one, "unexpected_topic", file)
                self.findings.add(file, "unexpected_topic", 1, places)
            else:
                found.setdefault(key, []).append(one)
        return found

    def _windows(self, recorded: list[Recorded], key: str, file: str, name: str) -> Windows:
        """Pass the messages of one run through the turn, one by one, and return its windows."""
        times = self._sources.times_of(recorded)
        if not times:
            raise ConfigError(self._sources.explain(recorded[0], "invalid_time", file))
        if self._data.evenly_spaced:
            seconds = 1.0 / self._data.sample_rate_hz
            text = f"rows are taken as {seconds:.4g} s apart, so gaps in time cannot be seen"
            self._note_rate(text, file)
        elif rate := self._sources.check_rate(recorded, self._data.sample_rate_hz):
            if rate.refused:
                rule = f"{name} {rate.text}"
                raise self._problem("data.sample_rate_hz", rule, self._data.sample_rate_hz)
            self._note_rate(rate.text, file)
        collector = self._collector()
        if is_table(recorded[0].path):
            collector.expect_table()
        before: dict[str, int] = {}
        waiting: Recorded | None = None
        for one in recorded:
            collector.push([one.message])
            before = self._note(collector, before, waiting or one, file)
            # What is found about rows that waited is about the first of them.
            waiting = (waiting or one) if collector.has_waiting else None
        collector.finish()
        self._note(collector, before, recorded[-1], file)
        return collector.windows(key, min(times))

    def _check_start(self, start_ns: int, recorded: list[Recorded], field: str) -> None:
        """Refuse a fault that does not start inside its run: it could not be detected."""
        times = self._sources.times_of(recorded)
        if times and not min(times) < start_ns <= max(times):
            zone = self._sources.zone
            first, last, found = (readable(at, zone) for at in (min(times), max(times), start_ns))
            rule = f"the fault must start inside the run, after {first} and up to {last}"
            raise self._problem(field, rule, found)

    def _note_rate(self, text: str, file: str) -> None:
        files = self.rates.setdefault(text, [])
        if file not in files:
            files.append(file)

    def _start_of(self, recorded: list[Recorded]) -> int:
        return min(self._sources.times_of(recorded))

    def _note(
        self,
        collector: WindowCollector,
        before: dict[str, int],
        recorded: Recorded,
        file: str,
    ) -> dict[str, int]:
        """Note what one message changed in the runtime's counters; return the counters."""
        now = collector.counts()
        if now == before:
            return before
        for reason, number in now.items():
            added = number - before.get(reason, 0)
            if added > 0:
                places = self._sources.explain(recorded, reason, file)[:added]
                self.findings.add(file, reason, added, places)
        return now

    def _collector(self) -> WindowCollector:
        return WindowCollector(self._config, self._pipeline, self._manifest)

    def _row(self, recorded: list[Recorded], item: FileRun, field: str) -> Message:
        first, last = item.rows or [0, len(recorded)]
        assert item.fault_row is not None
        if not first <= item.fault_row < min(last, len(recorded)):
            rule = f"must lie in the rows {first} to {last - 1}"
            raise self._problem(f"{field}.fault_row", rule, item.fault_row)
        return recorded[item.fault_row].message

    def _instant(self, text: str, field: str) -> int:
        """Return a time of the recipe, nanoseconds since 1970."""
        reader = self._sources.instant_reader()
        try:
            return reader(text)
        except DecodeError as error:
            rule = (
                "must be a time such as 2024-03-01 08:00:00; without `time.zone` it must name its "
                "zone, as in 2024-03-01T08:00:00+09:00"
            )
            raise self._problem(field, rule, text) from error

    def _problem(self, field: str, rule: str, value: Any) -> ConfigError:
        return ConfigError([Problem(str(self._recipe), field, rule, value, has_value=True)])


def _refuse_misfits(manifest: Manifest, pipeline: PipelineConfig, recipe_path: Path) -> None:
    """Raise ConfigError if the cycles do not fit the window."""
    cycle = pipeline.window.cycle
    if cycle is None:
        return
    file = str(recipe_path)
    most = max_samples_of(cycle, manifest)
    if fit_of(cycle, manifest) == "pad" and most is not None and most > manifest.window.length:
        rule = f"must hold the longest cycle, {most} samples: `fit: pad` cuts none"
        value = manifest.window.length
        raise ConfigError([Problem(file, "window.length", rule, value, has_value=True)])
    if cycle.message and pipeline.only_source.layout != "frame":
        rule = "needs a source of the layout `frame`: a message of another one is no whole cycle"
        raise ConfigError([Problem(file, "window.cycle.message", rule)])


def _rate_notes(rates: dict[str, list[str]]) -> list[str]:
    """Return one line for each rate that was found."""
    notes = []
    for text, files in rates.items():
        others = f" and {len(files) - 1} more" if len(files) > 1 else ""
        notes.append(f"{files[0]}{others}: {text}")
    return notes


def _parts(
    rows: list[Recorded], item: FileRun, blocks: Blocks | None
) -> Iterator[tuple[str, list[Recorded]]]:
    """Yield use and messages: the whole run, or its blocks for fit, calibration and test."""
    if item.use is not None:
        yield item.use, rows
        return
    assert blocks is not None  # the recipe was validated
    n = len(rows)
    ends = [0, round(n * blocks.fit), round(n * (blocks.fit + blocks.calibrate)), n]
    for use, start, end in zip(("fit", "calibrate", "test"), ends[:-1], ends[1:], strict=True):
        if start < end:
            yield use, rows[start:end]
