"""Commands that run recordings: replay, report."""

from pathlib import Path
from typing import Annotated

import typer

from edgeai.cli.logs import choose_style, log_to_stderr
from edgeai.cli.options import (
    ConfigArgument,
    LogFormat,
    LogLevel,
    progress_bar,
    warn_without_state,
)

Asset = Annotated[str | None, typer.Option(help="Asset of a table's rows. Default: the file name.")]
AssetColumn = Annotated[str | None, typer.Option(help="Column with the asset.")]
TimeColumn = Annotated[str | None, typer.Option(help="Column with the time.")]
TimeUnit = Annotated[
    str | None, typer.Option(help="Unit of the time column: s, ms, us, ns or iso.")
]
TimeZone = Annotated[
    str | None,
    typer.Option(help="Zone of iso times without an offset, such as Asia/Seoul. Default: UTC."),
]
TimeFormat = Annotated[
    str | None,
    typer.Option(help="Form of iso times that are not ISO 8601, such as '%Y/%m/%d %H:%M'."),
]
Delimiter = Annotated[str, typer.Option(help="Column separator of a CSV file.")]
Encoding = Annotated[str, typer.Option(help="Text encoding of a CSV file, such as utf-8 or cp949.")]


def replay(
    config: ConfigArgument,
    files: Annotated[
        list[Path],
        typer.Option(
            "--input", help="Recording: CSV, JSON lines or Parquet. May be given several times."
        ),
    ],
    output: Annotated[Path, typer.Option(help="File for the predictions, JSON lines.")],
    alarms: Annotated[
        Path | None, typer.Option(help="File for the alarm transitions, JSON lines.")
    ] = None,
    answers: Annotated[
        Path | None,
        typer.Option(help="File for the answers to controllers (publish.answers), JSON lines."),
    ] = None,
    pipeline: Annotated[
        str | None, typer.Option(help="Pipeline whose signal mapping reads a table.")
    ] = None,
    asset: Asset = None,
    asset_column: AssetColumn = None,
    time_column: TimeColumn = None,
    time_unit: TimeUnit = None,
    time_zone: TimeZone = None,
    time_format: TimeFormat = None,
    delimiter: Delimiter = ",",
    encoding: Encoding = "utf-8",
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> None:
    """Process recordings exactly as live data, at full speed."""
    from edgeai.assembly.plan import check as make_plan
    from edgeai.config.node import find_config
    from edgeai.recordings.tables import TableOptions
    from edgeai.replay.run import replay_files

    log_to_stderr(choose_style(log_level, log_format, default_level="warning"))
    options = TableOptions(
        pipeline=pipeline, asset=asset, asset_column=asset_column, time_column=time_column,
        time_unit=time_unit, time_zone=time_zone, time_format=time_format, delimiter=delimiter,
        encoding=encoding,
    )  # fmt: skip
    _check_table_options(time_unit, time_zone, delimiter, encoding)
    plan = make_plan(find_config(config))
    warn_without_state(plan.state_folder)
    with progress_bar("replay", _total_bytes(files)) as advance:
        summary = replay_files(
            plan, files, output, alarms, answers=answers, options=options, advance=advance
        )
    counted = f"{summary.messages} messages, {summary.predictions} predictions in {output}"
    for line in [counted, *summary.dropped]:
        typer.echo(line, err=True)


def report(
    what: Annotated[
        str,
        typer.Argument(
            metavar="CONFIG",
            help="YAML file, or name of a shipped config. Or the folder of a model package, or "
            "the name of a shipped model: it reads tables with a column for each signal.",
        ),
    ],
    files: Annotated[
        list[Path],
        typer.Option(
            "--input", help="Recording: CSV, JSON lines or Parquet. May be given several times."
        ),
    ],
    output: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("report.html"),
    pipeline: Annotated[
        str | None, typer.Option(help="Pipeline to show; needed if there are several.")
    ] = None,
    asset: Asset = None,
    asset_column: AssetColumn = None,
    time_column: TimeColumn = None,
    time_unit: TimeUnit = None,
    time_zone: TimeZone = None,
    time_format: TimeFormat = None,
    delimiter: Delimiter = ",",
    encoding: Encoding = "utf-8",
    evenly_spaced: Annotated[
        bool,
        typer.Option(
            "--evenly-spaced", help="Rows of a table have no time: they are a sample period apart."
        ),
    ] = False,
) -> None:
    """Run a pipeline over recordings and write an HTML page: fields, estimates, alarms."""
    from edgeai.paths import OutputFile, refuse_overwriting
    from edgeai.recordings.tables import TableOptions
    from edgeai.report.make import make_report
    from edgeai.report.page import render_page

    log_to_stderr(choose_style(None, None, default_level="warning"))
    options = TableOptions(
        asset=asset, asset_column=asset_column, time_column=time_column,
        time_unit=time_unit, time_zone=time_zone, time_format=time_format, delimiter=delimiter,
        encoding=encoding,
    )  # fmt: skip
    _check_table_options(time_unit, time_zone, delimiter, encoding)
    refuse_overwriting(files, [output])
    with progress_bar("report", _total_bytes(files)) as advance:
        made = make_report(
            what, files, pipeline=pipeline, options=options, evenly_spaced=evenly_spaced,
            advance=advance,
        )  # fmt: skip
    with OutputFile(output) as file:
        file.write(render_page(made).encode())
    windows = sum(seen.qualities.total() for seen in made.assets)
    alarms = sum(len(seen.alarms) for seen in made.assets)
    typer.echo(f"{output}: {windows} windows, alarms: {alarms}")
    for line in made.summary.dropped:
        typer.echo(line, err=True)


def _total_bytes(files: list[Path]) -> int:
    return sum(file.stat().st_size for file in files if file.is_file())


def _check_table_options(
    time_unit: str | None, time_zone: str | None, delimiter: str, encoding: str
) -> None:
    """Raise a usage error if an option of tables breaks a rule."""
    from edgeai.recordings.tables import ENCODING_RULE, is_encoding
    from edgeai.recordings.times import is_time_zone

    if time_unit not in {None, "s", "ms", "us", "ns", "iso"}:
        raise typer.BadParameter("--time-unit must be one of s, ms, us, ns, iso")
    if len(delimiter) != 1:
        raise typer.BadParameter("--delimiter must be one character")
    if not is_encoding(encoding):
        raise typer.BadParameter(f"--encoding {ENCODING_RULE}")
    if time_zone is not None and not is_time_zone(time_zone):
        raise typer.BadParameter("--time-zone must be an IANA time zone, such as Asia/Seoul")
