"""The line at one glance: what is wrong where, and since when; the worst first."""

from .layout import Dashboard, Row, pipeline_variable, uid
from .panels import Column, Panel, Query, lines, stat, table, timeline
from .queries import STREAM, count, metric, quantile, rate, rows, total
from .texts import WORDS, Text, legend
from .values import (
    AGO,
    ALARM,
    BAD,
    FINE,
    NONE_IS_FINE,
    PER_SECOND,
    QUALITY,
    SECONDS,
    SEVERITY,
    WARN,
    at_least,
)

ALARM_STATE = metric("edgeai_alarm_state", of="pipeline")
PRESENCE = metric("edgeai_asset_state", of="pipeline")
LAST_SAMPLE = metric("edgeai_last_sample_timestamp_seconds", of="pipeline")
SINCE = metric("edgeai_alarm_since_timestamp_seconds", of="pipeline")

INFO = "edgeai_alarm_info"
ASIDE = metric(INFO, 'status=~"shelved|suppressed"', of="pipeline")
SEEN_BY_SOMEBODY = metric(INFO, 'status="acknowledged"', of="pipeline")

SEEN = f"max_over_time({metric('edgeai_build_info')}[$__range])"
"""Nodes that were there in the time shown."""

WORST_STATE = (
    f"({ALARM_STATE} == 1 unless on ({STREAM}) {ASIDE} unless on ({STREAM}) {SEEN_BY_SOMEBODY}) + 6"
    f" or ({ALARM_STATE} == 2 unless on ({STREAM}) {ASIDE}) + 4"
    f" or ({ALARM_STATE} == 1 and on ({STREAM}) {SEEN_BY_SOMEBODY}) + 4"
    f" or ({PRESENCE} == 2) + 2"
    f" or ({ALARM_STATE} > 0 and on ({STREAM}) {ASIDE}) * 0 + 3"
    f" or ({PRESENCE} == 0) + 2"
    f" or ({metric('edgeai_quality', of='pipeline')} > 0) * 0 + 1"
    f" or ({PRESENCE} == 1) * 0"
)
"""The worst that is so of each machine, by the numbers of `values.SEVERITY`."""

WORST_SINCE = f"{SINCE} * 1000 or ({LAST_SAMPLE} * 1000 and on ({STREAM}) {PRESENCE} == 2)"
"""Since when, ms since 1970: the alarm, or of a silent machine its last sample."""

MAIN_SIGNAL = (
    f"topk by ({STREAM}) (1, {metric('edgeai_contribution', of='pipeline')})"
    f" and on ({STREAM}) {ALARM_STATE} > 0"
)

HAD_AN_ALARM = f"max_over_time({ALARM_STATE}[$__range] @ end()) > 0"

MACHINE_LINK = Text(
    *[
        f"/d/{one}?var-datasource=${{datasource}}&var-instance=${{__data.fields.instance}}"
        "&var-pipeline=${__data.fields.pipeline}&var-asset=${__data.fields.asset}"
        for one in uid("machine")
    ]
)


def _problem(key: str, expression: str, colour: str = BAD) -> Panel:
    """Return a number that should be 0."""
    return stat(
        key, expression, mappings=NONE_IS_FINE, thresholds=at_least({colour: 1e-9}), decimals=0
    )


def _down() -> str:
    """Return the nodes that do not answer; `up` alone would also count other exporters."""
    return f"{metric('up')} == 0 and on (job) {SEEN}"


NOW = Row(
    "now",
    [
        _problem("nodes_down", count(_down())),
        _problem("nodes_not_ready", count(f"{metric('edgeai_ready')} == 0")),
        _problem("alarms_active", count(f"{ALARM_STATE} == 1")),
        _problem("alarms_latched", count(f"{ALARM_STATE} == 2"), WARN),
        _problem("machines_silent", count(f"{PRESENCE} == 2"), WARN),
        _problem(
            "pipelines_degraded", count(f"{metric('edgeai_degraded', of='pipeline')} == 1"), WARN
        ),
        _problem("refused", total("edgeai_dropped_total", "edgeai_messages_unrouted_total"), WARN),
        _problem(
            "lost",
            total("edgeai_publications_dropped_total", "edgeai_broker_dropped_messages_total"),
        ),
    ],
)

MACHINES = Row(
    "machines",
    [
        table(
            "machines",
            [
                rows(WORST_STATE),
                rows(WORST_SINCE),
                rows(metric("edgeai_score", of="pipeline")),
                rows(metric("edgeai_threshold", of="pipeline")),
                rows(metric("edgeai_quality", of="pipeline")),
                rows(f"{LAST_SAMPLE} * 1000"),
                rows(metric("edgeai_diagnosis_info", of="pipeline"), f"{STREAM}, kind"),
                rows(MAIN_SIGNAL, f"{STREAM}, signal"),
            ],
            [
                Column("Value #A", WORDS["state"], {"mappings": SEVERITY, "custom.width": 150}),
                Column("asset", WORDS["machine"], link=MACHINE_LINK),
                Column("pipeline", WORDS["pipeline"]),
                Column("Value #B", WORDS["since"], {"unit": AGO}),
                Column("kind", WORDS["diagnosis"]),
                Column("signal", WORDS["main_signal"]),
                Column("Value #C", WORDS["score"], {"decimals": 2}),
                Column("Value #D", WORDS["threshold"], {"decimals": 2}),
                Column("Value #E", WORDS["quality"], {"mappings": QUALITY}),
                Column("Value #F", WORDS["last_sample"], {"unit": AGO}),
                Column("instance", WORDS["node"]),
            ],
            worst="Value #A",
        ),
    ],
)

HOURLY = f"sum by (position) (increase({metric('edgeai_alarm_announcements_total')}[1h]))"
"""Alarms an hour for each operator position, by which ISA-18.2 judges an alarm system."""


def _alarms(*matchers: str) -> str:
    return f"sum({metric('edgeai_alarms', *matchers, of='pipeline')}) or vector(0)"


ALARM_SYSTEM = Row(
    "alarm_system",
    [
        lines("alarms_per_hour", Query(HOURLY, "{{position}}"), size=(9, 8)),
        lines(
            "alarms_by_status",
            Query(
                f"sum by (status) ({metric('edgeai_alarms', of='pipeline')})", "{{status}}"
            ),
            size=(9, 8),
            stacked=True,
        ),
        stat("alarms_shelved", _alarms('status="shelved"'), mappings=NONE_IS_FINE, decimals=0),
        stat(
            "alarms_standing",
            f"sum({metric('edgeai_alarms_standing', of='pipeline')}) or vector(0)",
            mappings=NONE_IS_FINE, decimals=0,
        ),
        stat(
            "alarms_suppressed", _alarms('status="suppressed"'), mappings=NONE_IS_FINE, decimals=0
        ),
        stat(
            "alarms_chattering",
            f"sum({metric('edgeai_alarms_chattering', of='pipeline')}) or vector(0)",
            mappings=NONE_IS_FINE, decimals=0,
        ),
    ],
)  # fmt: skip

SINCE_WHEN = Row(
    "since_when",
    [
        timeline(
            "alarm_history",
            Query(
                f"{ALARM_STATE} and on ({STREAM}) {HAD_AN_ALARM}",
                "{{asset}} {{pipeline}} {{instance}}",
            ),
            mappings=ALARM,
        ),
        timeline(
            "node_history",
            Query(metric("edgeai_broker_connected"), legend("broker")),
            Query(metric("edgeai_ready"), legend("ready")),
            Query(metric("edgeai_pipeline_ready", of="pipeline"), legend("ready", "{{pipeline}}")),
            Query(
                f"1 - {metric('edgeai_degraded', of='pipeline')}",
                legend("provider", "{{pipeline}}"),
            ),
            mappings=FINE,
        ),
    ],
)

DATA = Row(
    "data",
    [
        lines(
            "refused_by_reason",
            Query(
                rate("edgeai_dropped_total", "pipeline, reason", of="pipeline")
                + " > 0 or "
                + rate("edgeai_messages_unrouted_total", "reason")
                + " > 0 or vector(0)",
                "{{reason}} {{pipeline}}",
            ),
            unit=PER_SECOND,
        ),
        lines(
            "work",
            Query(
                rate("edgeai_pipeline_messages_total", "pipeline", of="pipeline"),
                legend("messages", "{{pipeline}}"),
            ),
            Query(
                rate("edgeai_predictions_total", "pipeline", of="pipeline"),
                legend("predictions", "{{pipeline}}"),
            ),
            unit=PER_SECOND,
        ),
        lines(
            "cycles",
            Query(
                rate("edgeai_cycles_total", "pipeline, outcome", of="pipeline"),
                "{{outcome}} {{pipeline}}",
            ),
            unit=PER_SECOND,
            stacked=True,
        ),
        lines(
            "cycle_duration",
            *[
                Query(
                    quantile(share, "edgeai_cycle_duration_seconds", "pipeline", of="pipeline"),
                    f"p{100 * share:g} {{{{pipeline}}}}",
                )
                for share in (0.5, 0.95)
            ],
            unit=SECONDS,
        ),
    ],
)

FIRING_SINCE = (
    'ALERTS_FOR_STATE{alertname=~"Edgeai.*"} * 1000'
    ' and ignoring (alertstate) ALERTS{alertname=~"Edgeai.*", alertstate="firing"}'
)
"""Since when each alert is true, ms since 1970. An alert may have no job and instance."""

FIRING = Row(
    "firing",
    [
        table(
            "firing_alerts",
            [
                FIRING_SINCE,
            ],
            [
                Column("alertname", WORDS["alert"]),
                Column("severity", WORDS["severity"]),
                Column("Value", WORDS["since"], {"unit": AGO}),
                Column("asset", WORDS["machine"]),
                Column("pipeline", WORDS["pipeline"]),
                Column("instance", WORDS["node"]),
            ],
            size=(24, 8),
        ),
    ],
)

DASHBOARD = Dashboard(
    "overview",
    [NOW, MACHINES, ALARM_SYSTEM, SINCE_WHEN, DATA, FIRING],
    variables=[pipeline_variable()],
)
