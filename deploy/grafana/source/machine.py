"""One machine: score against threshold, what contributes, what the model estimates, and quality."""

from .layout import Dashboard, Row, asset_variable, pipeline_variable, variable
from .panels import Query, bars, heatmap, lines, stat, timeline
from .queries import metric, rate
from .texts import WORDS, legend
from .values import (
    AGO,
    ALARM,
    BAD,
    IN_STATE,
    NO_ALARM,
    PER_SECOND,
    PRESENCE,
    PRESENT,
    QUALITY,
    SECONDS,
    WARN,
    at_least,
)

ALARM_STATE = metric("edgeai_alarm_state", of="asset")
SCORE, THRESHOLD = metric("edgeai_score", of="asset"), metric("edgeai_threshold", of="asset")
SINCE = metric("edgeai_alarm_since_timestamp_seconds", of="asset")
LAST_SAMPLE = metric("edgeai_last_sample_timestamp_seconds", of="asset")
SKEW = metric("edgeai_clock_skew_seconds", of="asset")
EACH = "{{asset}} {{pipeline}}"


def _output(*matchers: str) -> str:
    return metric("edgeai_output", *matchers, of="asset")


def _bound(role: str, bound: str, *matchers: str) -> str:
    """Return an end of the healthy range of the outputs with a role."""
    values = _output(f'role="{role}"', 'element="value"', *matchers)
    found = metric("edgeai_output_bound", f'bound="{bound}"', of="pipeline")
    return f"{found} and on (job, instance, pipeline, output) {values}"


NOW = Row(
    "now",
    [
        stat("alarm", ALARM_STATE, mappings=ALARM, size=(4, 4)),
        stat(
            "alarm_since",
            f"{SINCE} * 1000 or ({ALARM_STATE} == 0)",
            unit=AGO,
            mappings=NO_ALARM,
            size=(4, 4),
        ),
        stat("presence", metric("edgeai_asset_state", of="asset"), mappings=PRESENCE, size=(4, 4)),
        stat("quality", metric("edgeai_quality", of="asset"), mappings=QUALITY, size=(4, 4)),
        stat(
            "sample_age",
            f"time() - {LAST_SAMPLE}",
            unit=SECONDS,
            thresholds=at_least({WARN: 10, BAD: 60}),
            size=(4, 4),
            decimals=1,
        ),
        stat(
            "computed_by",
            Query(
                metric("edgeai_session_info", of="pipeline"), "{{provider}} · {{model}} {{version}}"
            ),
            shows="name",
            size=(4, 4),
        ),
    ],
)

WHY = Row(
    "score",
    [
        lines(
            "score",
            Query(SCORE, legend("score", EACH)),
            Query(THRESHOLD, legend("threshold", EACH)),
            size=(16, 9),
            dashed="B",
        ),
        bars(
            "contributing_signals",
            Query(f"sort_desc({metric('edgeai_contribution', of='asset')})", "{{signal}} " + EACH),
            size=(8, 9),
        ),
        timeline("alarm_history", Query(ALARM_STATE, EACH), mappings=ALARM, size=(8, 6)),
        timeline(
            "diagnosis",
            Query(metric("edgeai_diagnosis_info", of="asset"), "{{kind}} " + EACH),
            mappings=PRESENT,
            size=(8, 6),
        ),
        lines(
            "contributions",
            Query(metric("edgeai_contribution", of="asset"), "{{signal}} " + EACH),
            size=(8, 6),
        ),
        timeline(
            "operating_state",
            Query(metric("edgeai_operating_state", of="asset") + " == 1", "{{state}} " + EACH),
            mappings=IN_STATE,
            size=(24, 6),
        ),
    ],
)

ESTIMATES = Row(
    "estimates",
    [
        lines(
            "hidden_state",
            Query(_output('role="value"', 'element="value"'), "{{output}} ({{unit}})"),
            Query(_output('role="value"', 'element="low"'), legend("low", "{{output}}")),
            Query(_output('role="value"', 'element="high"'), legend("high", "{{output}}")),
            size=(12, 9),
            dashed="BC",
        ),
        heatmap(
            "hidden_field",
            Query(_output('role="value"', 'element=~"[0-9]+"'), "{{output}} {{element}}"),
            size=(12, 9),
        ),
        lines(
            "residual",
            Query(_output('role="residual"', 'element="value"'), "{{output}} ({{unit}})"),
            size=(8, 8),
        ),
        lines(
            "domain",
            Query(_output('role="domain"', 'element="value"'), "{{output}}"),
            Query(_bound("domain", "high"), legend("edge", "{{output}}")),
            size=(8, 8),
            dashed="B",
        ),
        lines(
            "advice",
            Query(_output('role="advice"', 'element="value"'), "{{output}} ({{unit}})"),
            size=(8, 8),
        ),
    ],
)

PARAMETERS_KNOWN = _output('role="parameter"')
PARAMETER = 'output=~"$parameter"'
PARAMETERS = Row(
    "parameters",
    [
        lines(
            "parameter",
            Query(
                _output('role="parameter"', 'element="value"', PARAMETER), "{{output}} ({{unit}})"
            ),
            Query(
                _output('role="parameter"', 'element="low"', PARAMETER), legend("low", "{{output}}")
            ),
            Query(
                _output('role="parameter"', 'element="high"', PARAMETER),
                legend("high", "{{output}}"),
            ),
            Query(_bound("parameter", "low", PARAMETER), legend("normal_low", "{{output}}")),
            Query(_bound("parameter", "high", PARAMETER), legend("normal_high", "{{output}}")),
            size=(8, 8),
            dashed="BCDE",
            repeat="parameter",
        ),
    ],
)

QUALITY_ROW = Row(
    "quality",
    [
        timeline(
            "quality_history",
            Query(metric("edgeai_quality", of="asset"), EACH),
            mappings=QUALITY,
            size=(12, 7),
        ),
        lines(
            "predictions_by_quality",
            Query(
                rate("edgeai_predictions_total", "pipeline, quality", of="pipeline"),
                "{{quality}} {{pipeline}}",
            ),
            unit=PER_SECOND,
            size=(12, 7),
            stacked=True,
        ),
        lines(
            "invalid_values",
            Query(
                rate("edgeai_invalid_values_total", "pipeline, reason", of="pipeline"),
                "{{reason}} {{pipeline}}",
            ),
            unit=PER_SECOND,
            size=(8, 8),
        ),
        lines(
            "samples",
            Query(
                rate("edgeai_samples_missing_total", "pipeline", of="pipeline"),
                legend("missing", "{{pipeline}}"),
            ),
            Query(
                rate("edgeai_samples_reordered_total", "pipeline", of="pipeline"),
                legend("reordered", "{{pipeline}}"),
            ),
            Query(
                rate("edgeai_window_resets_total", "pipeline, reason", of="pipeline"),
                legend("reset", "{{reason}} {{pipeline}}"),
            ),
            unit=PER_SECOND,
            size=(8, 8),
        ),
        lines("clock_skew", Query(SKEW, EACH), unit=SECONDS, size=(8, 8)),
    ],
)

DASHBOARD = Dashboard(
    "machine",
    [NOW, WHY, ESTIMATES, PARAMETERS, QUALITY_ROW],
    variables=[
        pipeline_variable(many=False),
        asset_variable(),
        variable(
            "parameter",
            WORDS["parameter"],
            f"label_values({PARAMETERS_KNOWN}, output)",
        ),
    ],
)
