"""Which execution provider computes, which one was asked for, why they differ, and how fast."""

from .layout import Dashboard, Row, pipeline_variable
from .panels import Column, Query, lines, stat, table, timeline
from .queries import count, increase, metric, quantile, rate, rows, total
from .texts import WORDS
from .values import DEGRADED, NONE_IS_FINE, PER_SECOND, RATIO, SECONDS, WARN, at_least

MODEL = "{{model}} {{provider}}"
DEGRADED_NOW = metric("edgeai_degraded", of="pipeline")
INFO = metric("edgeai_session_info", of="pipeline")
PIPELINE = "job, instance, pipeline"

NOW = Row(
    "now",
    [
        table(
            "providers",
            [
                rows(INFO, f"{PIPELINE}, provider, requested, reason, model, version"),
                rows(f"{DEGRADED_NOW} or on ({PIPELINE}) {INFO} * 0", PIPELINE),
            ],
            [
                Column("pipeline", WORDS["pipeline"]),
                Column("Value #B", WORDS["state"], {"mappings": DEGRADED}),
                Column("provider", WORDS["used"]),
                Column("requested", WORDS["requested"]),
                Column("reason", WORDS["reason"]),
                Column("model", WORDS["model"]),
                Column("version", WORDS["version"]),
                Column("instance", WORDS["node"]),
            ],
            size=(24, 8),
        ),
    ],
)

OUTAGES = Row(
    "outages",
    [
        stat(
            "pipelines_degraded",
            count(f"{DEGRADED_NOW} == 1"),
            mappings=NONE_IS_FINE,
            thresholds=at_least({WARN: 1e-9}),
            size=(4, 8),
        ),
        stat(
            "failovers",
            total("edgeai_failovers_total", of="pipeline"),
            mappings=NONE_IS_FINE,
            thresholds=at_least({WARN: 1e-9}),
            size=(4, 8),
            decimals=0,
        ),
        stat(
            "parity_failures",
            total("edgeai_parity_failures_total", of="pipeline"),
            mappings=NONE_IS_FINE,
            thresholds=at_least({WARN: 1e-9}),
            size=(4, 8),
            decimals=0,
        ),
        timeline(
            "degraded_history",
            Query(DEGRADED_NOW, "{{pipeline}} {{instance}}"),
            mappings=DEGRADED,
        ),
        lines(
            "failovers_by_cause",
            Query(
                increase("edgeai_failovers_total", "pipeline, cause", of="pipeline"),
                "{{cause}} {{pipeline}}",
            ),
        ),
        lines(
            "readmissions",
            Query(increase("edgeai_readmissions_total", "pipeline", of="pipeline"), "{{pipeline}}"),
        ),
    ],
)

SPEED = Row(
    "speed",
    [
        lines(
            "inference",
            Query(quantile(0.5, "edgeai_inference_seconds", "model, provider"), "p50 " + MODEL),
            Query(quantile(0.99, "edgeai_inference_seconds", "model, provider"), "p99 " + MODEL),
            unit=SECONDS,
            size=(12, 9),
        ),
        lines(
            "calls",
            Query(rate("edgeai_inference_seconds_count", "model, provider"), MODEL),
            unit=PER_SECOND,
            size=(12, 9),
        ),
        lines(
            "busy",
            Query(rate("edgeai_inference_seconds_sum", "model, provider"), MODEL),
            unit=RATIO,
            size=(12, 8),
        ),
        lines(
            "batch",
            Query(quantile(0.5, "edgeai_batch_windows", "model"), "p50 {{model}}"),
            Query(quantile(0.99, "edgeai_batch_windows", "model"), "p99 {{model}}"),
            size=(12, 8),
        ),
    ],
)

DASHBOARD = Dashboard("providers", [NOW, OUTAGES, SPEED], variables=[pipeline_variable()])
