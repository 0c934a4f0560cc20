"""The runtime: latency, queues, what is refused or lost, memory, CPU, broker."""

from .layout import Dashboard, Row, pipeline_variable
from .panels import Query, lines, stat, timeline
from .queries import metric, own, quantile, rate
from .texts import legend
from .values import (
    AGO,
    BAD,
    BYTES,
    BYTES_PER_SECOND,
    FINE,
    NUMBER,
    PER_SECOND,
    RATIO,
    SECONDS,
    WARN,
    at_least,
    below,
)

NODE = "{{instance}}"
WORKERS = (
    f"{metric('edgeai_workers_ready')} or max by (job, instance) ({metric('edgeai_build_info')})"
)
"""Processes that serve; a node without workers is one."""

NOW = Row(
    "now",
    [
        stat(
            "ready",
            Query(metric("edgeai_ready"), NODE),
            mappings=FINE,
            shows="value_and_name",
        ),
        stat(
            "broker",
            Query(metric("edgeai_broker_connected"), NODE),
            mappings=FINE,
            shows="value_and_name",
        ),
        stat(
            "workers_ready",
            Query(WORKERS, NODE),
            shows="value_and_name",
            thresholds=below(1),
        ),
        stat(
            "started",
            Query(f"({own('process_start_time_seconds')}) * 1000", NODE),
            unit=AGO,
            shows="value_and_name",
        ),
        stat(
            "version",
            Query(metric("edgeai_build_info"), "{{version}} " + NODE),
            shows="name",
        ),
        stat(
            "last_message_age",
            Query(f"time() - {metric('edgeai_last_message_timestamp_seconds')}", NODE),
            unit=SECONDS,
            thresholds=at_least({WARN: 10, BAD: 60}),
            shows="value_and_name",
            decimals=1,
        ),
        stat("streams", f"sum({metric('edgeai_streams', of='pipeline')})"),
        stat(
            "restarts",
            f"(sum(increase({metric('edgeai_worker_restarts_total')}[$__range])) or vector(0))",
            thresholds=at_least({WARN: 1e-9}),
            decimals=0,
        ),
    ],
)

LATENCY = Row(
    "latency",
    [
        lines(
            "end_to_end",
            Query(
                quantile(0.5, "edgeai_end_to_end_seconds", "pipeline", of="pipeline"),
                "p50 {{pipeline}}",
            ),
            Query(
                quantile(0.99, "edgeai_end_to_end_seconds", "pipeline", of="pipeline"),
                "p99 {{pipeline}}",
            ),
            Query(
                f"max by (pipeline) ({metric('edgeai_latency_budget_seconds', of='pipeline')})",
                legend("budget", "{{pipeline}}"),
            ),
            unit=SECONDS,
            size=(12, 9),
            dashed="C",
        ),
        lines(
            "turn",
            Query(quantile(0.5, "edgeai_turn_seconds", "instance"), "p50 " + NODE),
            Query(quantile(0.99, "edgeai_turn_seconds", "instance"), "p99 " + NODE),
            unit=SECONDS,
            size=(12, 9),
        ),
        lines(
            "turn_messages",
            Query(quantile(0.5, "edgeai_turn_messages", "instance"), "p50 " + NODE),
            Query(quantile(0.99, "edgeai_turn_messages", "instance"), "p99 " + NODE),
            size=(12, 8),
        ),
        lines(
            "throughput",
            Query(rate("edgeai_messages_received_total", "instance"), legend("messages", NODE)),
            Query(
                rate("edgeai_predictions_total", "instance", of="pipeline"),
                legend("predictions", NODE),
            ),
            unit=PER_SECOND,
            size=(12, 8),
        ),
    ],
)

QUEUES = Row(
    "queues",
    [
        lines(
            "waiting",
            Query(metric("edgeai_publications_waiting"), NODE),
            unit=NUMBER,
            size=(8, 8),
        ),
        lines(
            "publications_lost",
            Query(rate("edgeai_publications_dropped_total", "instance"), legend("dropped", NODE)),
            Query(
                rate("edgeai_publications_unconfirmed_total", "instance"),
                legend("unconfirmed", NODE),
            ),
            Query(
                rate("edgeai_broker_dropped_messages_total", "instance"),
                legend("broker_dropped", NODE),
            ),
            unit=PER_SECOND,
            size=(8, 8),
        ),
        lines(
            "input",
            Query(rate("edgeai_received_bytes_total", "instance"), NODE),
            unit=BYTES_PER_SECOND,
            size=(8, 8),
        ),
        lines(
            "refused_by_reason",
            Query(
                rate("edgeai_dropped_total", "pipeline, reason", of="pipeline"),
                "{{reason}} {{pipeline}}",
            ),
            unit=PER_SECOND,
            size=(12, 9),
        ),
        lines(
            "unrouted_by_reason",
            Query(rate("edgeai_messages_unrouted_total", "instance, reason"), "{{reason}} " + NODE),
            unit=PER_SECOND,
            size=(12, 9),
        ),
        lines(
            "gaps",
            Query(
                rate("edgeai_frames_missed_total", "pipeline", of="pipeline"),
                legend("frames_missed", "{{pipeline}}"),
            ),
            Query(
                rate("edgeai_samples_missing_total", "pipeline", of="pipeline"),
                legend("missing", "{{pipeline}}"),
            ),
            Query(
                rate("edgeai_streams_evicted_total", "pipeline", of="pipeline"),
                legend("evicted", "{{pipeline}}"),
            ),
            unit=PER_SECOND,
            size=(12, 8),
        ),
        lines(
            "answers",
            Query(
                rate("edgeai_answers_total", "pipeline, answer, outcome", of="pipeline"),
                "{{answer}} {{outcome}} {{pipeline}}",
            ),
            unit=PER_SECOND,
            size=(12, 8),
        ),
        lines(
            "answers_faulty",
            Query(
                rate(
                    "edgeai_answer_values_substituted_total",
                    "pipeline, answer, reason",
                    of="pipeline",
                ),
                legend("substituted", "{{reason}} {{answer}} {{pipeline}}"),
            ),
            Query(
                rate("edgeai_answers_dropped_total", "pipeline, answer, reason", of="pipeline"),
                legend("dropped", "{{reason}} {{answer}} {{pipeline}}"),
            ),
            unit=PER_SECOND,
            size=(12, 8),
        ),
        timeline(
            "pipelines",
            Query(
                metric("edgeai_pipeline_ready", of="pipeline"),
                legend("ready", "{{pipeline}} " + NODE),
            ),
            Query(
                f"1 - {metric('edgeai_set_aside', of='pipeline')}",
                legend("serving", "{{pipeline}} " + NODE),
            ),
            mappings=FINE,
        ),
    ],
)

RESOURCES = Row(
    "resources",
    [
        lines("memory", Query(own("process_resident_memory_bytes"), NODE), unit=BYTES, size=(8, 8)),
        lines(
            "cpu",
            Query(
                f"rate({metric('process_cpu_seconds_total')}[$__rate_interval])"
                f" and on (job, instance) {metric('edgeai_build_info')}",
                NODE,
            ),
            unit=RATIO,
            size=(8, 8),
        ),
        lines(
            "descriptors",
            Query(own("process_open_fds"), legend("open", NODE)),
            Query(own("process_max_fds"), legend("limit", NODE)),
            size=(8, 8),
            dashed="B",
        ),
        lines(
            "connections",
            Query(rate("edgeai_broker_connects_total", "instance"), legend("connects", NODE)),
            Query(
                rate("edgeai_broker_connect_failures_total", "instance"), legend("failures", NODE)
            ),
            Query(
                rate("edgeai_broker_sessions_lost_total", "instance"), legend("sessions_lost", NODE)
            ),
            unit=PER_SECOND,
            size=(8, 8),
        ),
        lines(
            "scrape",
            Query(own("scrape_duration_seconds"), NODE),
            unit=SECONDS,
            size=(8, 8),
        ),
        lines(
            "series",
            Query(own("scrape_samples_scraped"), legend("series", NODE)),
            Query(metric("edgeai_assets_without_detail"), legend("without_detail", NODE)),
            size=(8, 8),
        ),
    ],
)

DASHBOARD = Dashboard("runtime", [NOW, LATENCY, QUEUES, RESOURCES], variables=[pipeline_variable()])
