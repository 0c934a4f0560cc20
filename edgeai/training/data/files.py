"""Read runs from CSV and Parquet files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeai.errors import ConfigError, Problem
from edgeai.progress import Progress
from edgeai.training.data.runs import Run
from edgeai.training.data.windows import Samples
from edgeai.training.extra import library
from edgeai.training.recipe import Blocks, FileData, FileRun


def read_runs(data: FileData, recipe_path: Path, progress: Progress) -> list[Run]:
    """Read every run of a recipe and cut it into blocks where the recipe says so.

    An empty or null cell becomes NaN; windows with NaN are not used.

    Raises:
        ConfigError: A file or column is missing, a value is not a number, or rows do not exist.
    """
    columns = [signal.column or signal.name for signal in data.signals]
    tables: dict[str, Samples] = {}
    runs: list[Run] = []
    for done, item in enumerate(data.runs, 1):
        if item.file not in tables:
            path = recipe_path.parent / item.file
            tables[item.file] = _read(path, columns, data.delimiter)
        runs += _cut(item, tables[item.file], data, recipe_path, done - 1)
        progress("read", done, len(data.runs), item.file)
    return runs


def _cut(item: FileRun, table: Samples, data: FileData, recipe_path: Path, index: int) -> list[Run]:
    first, last = item.rows or [0, len(table)]
    field = f"data.runs.{index}"
    if last > len(table):
        rule = f"{item.file} has {len(table)} rows"
        raise ConfigError([Problem(str(recipe_path), f"{field}.rows", rule, item.rows, True)])
    values = table[first:last]
    name = f"{item.file}[{first}:{last}]"
    if item.use is None:
        return cut_blocks(values, data.blocks, name) if data.blocks else []
    if item.fault_row is None:
        return [Run(name, item.use, values, severity=0.0)]
    if not first <= item.fault_row < last:
        rule = f"must lie in the rows {first} to {last - 1}"
        raise ConfigError(
            [Problem(str(recipe_path), f"{field}.fault_row", rule, item.fault_row, True)]
        )
    seconds = (item.fault_row - first) / data.sample_rate_hz
    return [Run(name, item.use, values, item.fault, 1.0, seconds)]


def cut_blocks(values: Samples, blocks: Blocks, name: str) -> list[Run]:
    """Cut one run (n, C) into consecutive blocks for fit, calibration and test."""
    n = len(values)
    ends = [0, round(n * blocks.fit), round(n * (blocks.fit + blocks.calibrate)), n]
    uses = ("fit", "calibrate", "test")
    return [
        Run(f"{name} {use}", use, values[start:end], severity=0.0)
        for use, start, end in zip(uses, ends[:-1], ends[1:], strict=True)
    ]


def _read(path: Path, columns: Sequence[str], delimiter: str) -> Samples:
    """Return the columns of a file, (n, C) float32."""
    library("pyarrow", "data.type: files")
    import pyarrow as pa

    try:
        table = _table(path, columns, delimiter)
        arrays = [table[name].cast(pa.float64()).to_numpy() for name in columns]
    except FileNotFoundError as error:
        raise ConfigError([Problem(str(path), "", "no such file")]) from error
    except KeyError as error:
        raise ConfigError([Problem(str(path), "columns", f"not found: {error}")]) from error
    except (OSError, pa.ArrowException) as error:
        raise ConfigError([Problem(str(path), "", f"cannot be read: {error}")]) from error
    return np.stack(arrays, axis=1).astype(np.float32)


def _table(path: Path, columns: Sequence[str], delimiter: str) -> Any:
    if path.suffix == ".parquet":
        from pyarrow import parquet

        return parquet.read_table(path)
    from pyarrow import csv, float64

    return csv.read_csv(
        path,
        parse_options=csv.ParseOptions(delimiter=delimiter),
        convert_options=csv.ConvertOptions(
            include_columns=list(columns), column_types=dict.fromkeys(columns, float64())
        ),
    )
