"""Commands for the first contact with a line: what arrives, and what becomes of it."""

from pathlib import Path
from typing import Annotated

import typer

from edgeai import stop_signals
from edgeai.cli.logs import LogStyle, choose_style, log_to_stderr
from edgeai.cli.options import ConfigArgument, number

MEGABYTE = 1_000_000
HOUR_SECONDS = 3600.0
Topics = Annotated[
    list[str] | None,
    typer.Option(
        "--topic",
        metavar="FILTER",
        help="Topic filter, such as 'line/#'. May be given several times. Default: the topics of "
        "the config's sources.",
    ),
]
Seconds = Annotated[
    float | None,
    typer.Option(
        help="Stop after this time. Default: until Ctrl-C.",
        metavar="SECONDS",
        parser=number(float, "a number of seconds", 0, 1e9),
    ),
]


def record(
    config: ConfigArgument,
    output: Annotated[Path, typer.Option(help="Folder of the recording; it is made if needed.")],
    topic: Topics = None,
    seconds: Seconds = None,
    max_megabytes: Annotated[
        float,
        typer.Option(
            help="Size of the recording. Beyond it the oldest messages leave.",
            parser=number(float, "a number of megabytes", 0.1, 1e9),
        ),
    ] = 1000.0,
    max_age_hours: Annotated[
        float,
        typer.Option(
            help="Age of its oldest messages. Older ones leave.",
            parser=number(float, "a number of hours", 0.001, 1e6),
        ),
    ] = 168.0,
) -> None:
    """Store what arrives at the broker, for replay and training; the models need not exist yet."""
    from edgeai.config.node import find_config, load_config
    from edgeai.onboarding.record import described
    from edgeai.onboarding.record import record as record_messages
    from edgeai.onboarding.subscriber import Subscriber, checked_filters, source_filters
    from edgeai.recordings.writer import RecordingWriter

    log_to_stderr(LogStyle("error", choose_style(None, None).form))
    loaded = load_config(find_config(config))
    filters = checked_filters(topic) if topic else source_filters(loaded)
    with stop_signals.interruptible():
        writer = RecordingWriter(
            output, round(max_megabytes * MEGABYTE), max_age_hours * HOUR_SECONDS
        )
        subscriber = Subscriber(
            loaded.broker, f"{loaded.client_id}-record", filters, loaded.limits, _tell
        )
    with stop_signals.collected(*stop_signals.STOPPING) as stop:
        done = record_messages(
            subscriber, writer, seconds=seconds, is_stopped=lambda: bool(stop), tell=_tell
        )
    typer.echo(f"{output}: {described(done)}", err=True)
    _tell_refused(subscriber.refused)


def listen(
    config: Annotated[
        str | None,
        typer.Argument(
            metavar="[CONFIG]",
            help="YAML file, or name of a shipped config: also says what becomes of each message.",
        ),
    ] = None,
    broker: Annotated[
        str | None,
        typer.Option(
            metavar="HOST[:PORT]", help="Broker, if there is no config yet; needs --topic."
        ),
    ] = None,
    topic: Topics = None,
    seconds: Seconds = None,
    count: Annotated[
        int | None,
        typer.Option(help="Stop after so many messages.", parser=number(int, "a whole number", 1)),
    ] = None,
) -> None:
    """Show live what arrives: a line for each message, with what becomes of it and why."""
    from edgeai.config.limits import Limits
    from edgeai.onboarding.listen import listen_with, show
    from edgeai.onboarding.subscriber import (
        Subscriber,
        broker_at,
        checked_filters,
        source_filters,
    )

    if (config is None) == (broker is None):
        raise typer.BadParameter("give either a CONFIG or --broker")
    if broker is not None and not topic:
        raise typer.BadParameter("--broker needs at least one --topic, such as --topic '#'")
    log_to_stderr(LogStyle("critical", "text"))  # what is logged is also shown
    listener = None
    filters = checked_filters(topic) if topic else {}
    limits = Limits()
    with stop_signals.interruptible():
        if broker is not None:
            address, client_id = broker_at(broker), "edgeai"
        else:
            from edgeai.assembly.plan import check as make_plan
            from edgeai.config.node import find_config

            plan = make_plan(find_config(config or ""))
            listener = listen_with(plan)
            address, client_id, limits = (
                plan.config.broker,
                plan.config.client_id,
                plan.config.limits,
            )
            filters = filters or source_filters(plan.config)
    subscriber = Subscriber(address, f"{client_id}-listen", filters, limits, _tell)
    with stop_signals.collected(*stop_signals.STOPPING) as stop:
        shown = show(
            subscriber, listener, seconds=seconds, count=count, is_stopped=lambda: bool(stop),
            write=typer.echo,
        )  # fmt: skip
    typer.echo(f"{shown:,} messages", err=True)
    _tell_refused(subscriber.refused)


def _tell_refused(refused: dict[str, int]) -> None:
    from edgeai.errors import DROP_REASONS

    for reason, count in refused.items():
        _tell(f"{count:,} messages not taken, {reason}: {DROP_REASONS.get(reason, reason)}")


def _tell(text: str) -> None:
    typer.echo(f"edgeai: {text}", err=True)
