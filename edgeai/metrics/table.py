"""Every Prometheus metric of edgeai at a glance: name, type, labels and help text, in groups.

Names hold base units, and counters end in `_total`. Labels come from closed sets (`LABELS`), apart
from `asset`, which `MAX_ASSET_SERIES` bounds, and `signal`, `output` and `unit`, which the model
packages declare. scripts/write_metrics.py writes docs/metrics.md from this module.
"""

from typing import Literal, NamedTuple

LATENCY_BUCKETS = (
    0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
)  # seconds  # fmt: skip
CYCLE_BUCKETS = (
    0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 14_400.0,
    43_200.0,
)  # seconds: from the stroke of a press to a batch of half a day  # fmt: skip
COUNT_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
MAX_ASSET_SERIES = 500  # assets with series of their own
MAX_DETAIL_SERIES = 2000  # series of outputs and contributions, of all assets together
MAX_OUTPUT_ELEMENTS = 64  # a longer vector is not exported

UNROUTED_REASONS = (
    "unexpected_topic", "invalid_topic", "too_large", "retained", "duplicate", "internal_error",
)  # fmt: skip
INVALID_REASONS = (
    "missing", "not_a_number", "not_finite", "bad_quality", "out_of_range", "too_coarse",
)  # fmt: skip
RECORD_OUTCOMES = ("taken", "other_name", "other_asset", "other_worker", "refused")
ORDINARY_OUTCOMES = frozenset({"other_name", "other_asset", "other_worker"})
"""Records that are left out because nobody wants them here: no fault of their message."""
FAILOVER_CAUSES = (
    "crashed", "deadline", "exception", "wrong_shape", "not_finite", "parity", "out_of_memory",
    "start_failed", "start_timeout", "protocol",
)  # fmt: skip
RESET_REASONS = ("gap", "clock_back", "failure")
CYCLE_OUTCOMES = (
    "complete", "broken", "overlong", "too_short", "overlapping", "start_unseen", "unfinished",
)  # fmt: skip
ANSWER_OUTCOMES = ("live", "not_live")
ANSWER_FAULTS = (
    "missing", "not_finite", "out_of_range", "too_long", "not_encodable", "no_code",
)  # fmt: skip
ANSWER_DROPS = ("too_many_topics", "topic_taken", "invalid_topic", "failed")
ALARM_VALUES = {"normal": 0, "active": 1, "latched": 2}
ALARM_STATUSES = ("unacknowledged", "acknowledged", "returned", "shelved", "suppressed")
ALARM_COMMANDS = ("acknowledge", "shelve", "unshelve", "unknown")
SUPPRESSION_CAUSES = ("alarm", "source", "broker_connection")
STANDING_SECONDS = 86_400.0  # an alarm that is active for longer is standing (ISA-18.2)
QUALITY_VALUES = {"good": 0, "uncertain": 1, "bad": 2}
PRESENCE_VALUES = {"unknown": 0, "current": 1, "stale": 2}


UNITS = {
    "_timestamp_seconds": "seconds since 1970, UTC",
    "_seconds": "seconds",
    "_bytes_total": "bytes",
    "_total": "count",
    "_info": "always 1",
}
"""Unit of a metric's value, by the end of its name; the first that fits. Others have none."""

LABELS = {
    "answer": "name of the answer in `publish.answers`",
    "asset": f"name of the asset; of more than {MAX_ASSET_SERIES} assets, those with an alarm come "
    "first, then silent ones, then those that were judged; the largest clock skews",
    "bound": "`low` or `high` end of a range",
    "cause": "why an accelerator failed ([causes](mqtt.md#who-computed-it)); why an alarm was "
    "suppressed: `alarm` (`alarm.caused_by`), `source` or `broker_connection`",
    "command": "`acknowledge`, `shelve`, `unshelve`, or `unknown` for every other name",
    "certificate": "`broker`: the one that the broker sent; `ca`: that of `broker.tls.ca_file`, "
    "the first to expire; `client`: that of `broker.tls.cert_file`",
    "element": "`value` of a scalar, `low` or `high` of an interval, or the position in a vector "
    f"of at most {MAX_OUTPUT_ELEMENTS} elements",
    "key": "first 16 digits of the id of the trusted key that signed the package "
    "([signatures](security.md#signatures-of-model-packages)); empty: not signed, or not looked at",
    "kind": "of the diagnosis, from the model package",
    "model": "name of the model package",
    "outcome": "of a record: `taken`; `other_name`: of a signal that the model does not have; "
    "`other_asset`: left out by `source.assets`; `other_worker`: another worker takes it; "
    "`refused`: counted by reason in `edgeai_dropped_total`. Of a cycle: what became of it "
    "([outcomes](cycles.md#what-can-be-amiss-with-a-cycle)). Of an answer: `live`, or `not_live` "
    "([answers](answers.md#when-an-answer-is-not-live))",
    "output": "name of a model's output; of an interval, the output whose interval it is",
    "pipeline": "name of the pipeline in the configuration",
    "position": "operator position (`alarm.position`)",
    "priority": "`critical`, `high`, `medium` or `low`",
    "provider": "execution provider that computed",
    "quality": "`good`, `uncertain` or `bad`",
    "reason": "why; a closed set for each metric. For `edgeai_session_info`: why `provider` and "
    "`requested` differ, empty if they do not",
    "requested": "execution provider that the configuration requests",
    "role": "of the output ([roles](models.md))",
    "result": "`ok` or `refused`",
    "signal": "name of a model's signal",
    "state": "`normal`, `active` or `latched`",
    "status": "what an alarm means for its operator ([states](alarms.md#states))",
    "unit": "of the output, from the model package",
    "version": "version of edgeai, or of the model package",
    "worker": "number of the worker, from 1",
}
"""What the values of a label are."""


class Definition(NamedTuple):
    """One metric."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram's buckets, rising, without infinity."""

    @property
    def unit(self) -> str:
        """The unit of the value, as the name says it."""
        return next((unit for ending, unit in UNITS.items() if self.name.endswith(ending)), "")

    @property
    def series(self) -> tuple[str, ...]:
        """The names of the series that Prometheus stores."""
        if self.kind == "histogram":
            return tuple(f"{self.name}_{part}" for part in ("bucket", "sum", "count"))
        return (self.name,)


CONNECTION = (
    Definition(
        "edgeai_broker_connected", "gauge", (), "1 while edgeai is connected to the broker, else 0."
    ),
    Definition("edgeai_broker_connects_total", "counter", (), "Connections made to the broker."),
    Definition(
        "edgeai_broker_connect_failures_total", "counter", (),
        "Failed attempts to connect to the broker.",
    ),
    Definition(
        "edgeai_broker_sessions_lost_total", "counter", (),
        "Reconnects at which the broker had forgotten the session with its QoS 1 messages.",
    ),
    Definition(
        "edgeai_broker_dropped_messages_total", "counter", (),
        "Messages that the broker has dropped since this node connected first, for all the "
        "broker's clients ($SYS, mosquitto).",
    ),
    Definition(
        "edgeai_certificate_expiry_timestamp_seconds", "gauge", ("certificate",),
        "When a certificate of the connection to the broker expires; absent without TLS.",
    ),
    Definition("edgeai_messages_received_total", "counter", (), "Messages read from the broker."),
    Definition(
        "edgeai_messages_left_total", "counter", (),
        "Messages read and left to the worker that their stream belongs to.",
    ),
    Definition(
        "edgeai_received_bytes_total", "counter", (), "Payload bytes read from the broker."
    ),
    Definition(
        "edgeai_messages_unrouted_total", "counter", ("reason",), "Messages that no pipeline takes."
    ),
    Definition(
        "edgeai_publications_dropped_total", "counter", (),
        "Publications dropped: too many waited, or the broker does not accept them.",
    ),
    Definition(
        "edgeai_publications_waiting", "gauge", (),
        "Publications that have not reached the broker yet.",
    ),
    Definition(
        "edgeai_publications_unconfirmed_total", "counter", (),
        "Publications at QoS 0 that may not have arrived: sent just before the connection broke.",
    ),
    Definition(
        "edgeai_last_heartbeat_timestamp_seconds", "gauge", (),
        "When the last beat was sent (`heartbeat`), in seconds since 1970-01-01, UTC; 0: none "
        "was.",
    ),
)  # fmt: skip

ENGINE = (
    Definition("edgeai_build_info", "gauge", ("version",), "Always 1; the version of edgeai."),
    Definition(
        "edgeai_ready", "gauge", (), "1 while /readyz answers that the node is ready, else 0."
    ),
    Definition("edgeai_turn_messages", "histogram", (), "Messages in one turn.", COUNT_BUCKETS),
    Definition(
        "edgeai_turn_seconds", "histogram", (),
        "Time from having read the messages of a turn to having acknowledged them.",
        LATENCY_BUCKETS,
    ),
    Definition(
        "edgeai_last_message_timestamp_seconds", "gauge", (),
        "When the last message arrived, in seconds since 1970-01-01, UTC.",
    ),
    Definition(
        "edgeai_last_prediction_timestamp_seconds", "gauge", (),
        "When the last prediction was made, in seconds since 1970-01-01, UTC.",
    ),
)  # fmt: skip

PIPELINE = (
    Definition(
        "edgeai_pipeline_messages_total", "counter", ("pipeline",),
        "Messages routed to the pipeline.",
    ),
    Definition(
        "edgeai_pipeline_last_message_timestamp_seconds", "gauge", ("pipeline",),
        "When a message of the pipeline arrived last, to the second; before the first message, "
        "when edgeai began to wait for it. Messages that the broker had kept do not count.",
    ),
    Definition(
        "edgeai_pipeline_expected_seconds", "gauge", ("pipeline",),
        "Time within which a message of the pipeline is expected "
        "(`source.expect_within_seconds`).",
    ),
    Definition(
        "edgeai_dropped_total", "counter", ("pipeline", "reason"),
        "Messages and samples that were dropped.",
    ),
    Definition(
        "edgeai_records_total", "counter", ("pipeline", "outcome"),
        "Records of messages that hold several: values in the layout `tag`, samples in `row`.",
    ),
    Definition(
        "edgeai_invalid_values_total", "counter", ("pipeline", "reason"),
        "Values that could not be used, were outside their valid range, or too large for float32.",
    ),
    Definition(
        "edgeai_states_entered_total", "counter", ("pipeline", "state"),
        "How often machines came into an operating state (`states`), a declared one, "
        "`undeclared` or `unknown`.",
    ),
    Definition(
        "edgeai_state_samples_unknown_total", "counter", ("pipeline",),
        "Samples whose operating state was not known, because a signal of its condition had no "
        "value.",
    ),
    Definition(
        "edgeai_extra_values_missing_total", "counter", ("pipeline",),
        "Values of signals that only conditions use, which could not be used. The condition is "
        "unknown then.",
    ),
    Definition(
        "edgeai_window_resets_total", "counter", ("pipeline", "reason"),
        "Windows that were emptied.",
    ),
    Definition(
        "edgeai_frames_missed_total", "counter", ("pipeline",),
        "Frames that never arrived, according to the senders' sequence numbers.",
    ),
    Definition(
        "edgeai_samples_missing_total", "counter", ("pipeline",),
        "Samples that are missing by the sample rate between two that came: the model's rate, or "
        "with an alignment that of each channel.",
    ),
    Definition(
        "edgeai_samples_reordered_total", "counter", ("pipeline",),
        "Samples that came out of order and were put in the place of a missing one.",
    ),
    Definition(
        "edgeai_samples_misplaced_total", "counter", ("pipeline",),
        "Samples that share a time stamp of a coarse clock, where a sample of that stamp was "
        "lost, or more came than the rate allows: some were sent again, or the sender is fast. "
        "Which ones is not known, so all of the stamp are counted: their times may be wrong, "
        "and their windows were not marked.",
    ),
    Definition(
        "edgeai_predictions_total", "counter", ("pipeline", "quality"),
        "Predictions made, by the quality of the window.",
    ),
    Definition(
        "edgeai_cycles_total", "counter", ("pipeline", "outcome"),
        "Cycles that have ended, by what became of them; only of pipelines whose windows are "
        "cycles (`window.cycle`).",
    ),
    Definition(
        "edgeai_cycle_duration_seconds", "histogram", ("pipeline",),
        "Time from the first sample of a complete cycle to the first one after it.",
        CYCLE_BUCKETS,
    ),
    Definition(
        "edgeai_scores_not_finite_total", "counter", ("pipeline",),
        "Scores that were NaN or infinite.",
    ),
    Definition(
        "edgeai_alarm_transitions_total", "counter", ("pipeline", "state"),
        "Changes of an alarm's state, by the new state.",
    ),
    Definition(
        "edgeai_answers_total", "counter", ("pipeline", "answer", "outcome"),
        "Answers to controllers (`publish.answers`) that were published.",
    ),
    Definition(
        "edgeai_answer_values_substituted_total", "counter", ("pipeline", "answer", "reason"),
        "Values of live answers that could not be written as declared, so that their substitutes "
        "stand in their place.",
    ),
    Definition(
        "edgeai_answers_dropped_total", "counter", ("pipeline", "answer", "reason"),
        "Assets that could not have an answer, and answers that could not be made.",
    ),
    Definition(
        "edgeai_alarms", "gauge", ("pipeline", "position", "status"),
        "Alarms that are not normal, or shelved, by what they mean for their operator.",
    ),
    Definition(
        "edgeai_alarms_standing", "gauge", ("pipeline", "position"),
        "Alarms that have been active for more than a day.",
    ),
    Definition(
        "edgeai_alarms_chattering", "gauge", ("pipeline", "position"),
        "Alarms that go on and off now (`alarm.chattering`).",
    ),
    Definition(
        "edgeai_alarm_announcements_total", "counter", ("position", "priority"),
        "Alarms that were announced to an operator position: new ones, those that were there when "
        "shelving or a cause ended, machines that stopped sending (one for all that stop "
        "together), and a lost broker.",
    ),
    Definition(
        "edgeai_alarms_suppressed_total", "counter", ("pipeline", "cause"),
        "Alarms that were not announced because their cause was.",
    ),
    Definition(
        "edgeai_alarms_chattered_total", "counter", ("pipeline",),
        "How often an alarm began to chatter.",
    ),
    Definition(
        "edgeai_alarm_commands_total", "counter", ("command", "result"),
        "Commands of operators to an alarm.",
    ),
    Definition("edgeai_streams", "gauge", ("pipeline",), "Streams that the pipeline has now."),
    Definition(
        "edgeai_streams_evicted_total", "counter", ("pipeline",),
        "Silent streams that left because a limit was reached.",
    ),
    Definition(
        "edgeai_set_aside", "gauge", ("pipeline",),
        "1 while the pipeline is set aside because no window can be computed, else 0.",
    ),
    Definition(
        "edgeai_inference_seconds", "histogram", ("model", "provider"),
        "Time of one session call, by the provider that computed it.", LATENCY_BUCKETS,
    ),
    Definition(
        "edgeai_batch_windows", "histogram", ("model",), "Windows in one session call.",
        COUNT_BUCKETS,
    ),
    Definition(
        "edgeai_end_to_end_seconds", "histogram", ("pipeline",),
        "Time from a window's last sample, by its sender's clock, to the publication.",
        LATENCY_BUCKETS,
    ),
    Definition(
        "edgeai_latency_budget_seconds", "gauge", ("pipeline",),
        "Time that 99 of 100 predictions should keep in `edgeai_end_to_end_seconds` "
        "(`publish.latency_budget_seconds`).",
    ),
    Definition(
        "edgeai_stale_assets", "gauge", ("pipeline",),
        "Assets that have sent no sample for the time after which they are stale.",
    ),
    Definition(
        "edgeai_pipeline_ready", "gauge", ("pipeline",),
        "0 while the pipeline gets messages and makes no sample of them, or no window, else 1.",
    ),
    Definition(
        "edgeai_asset_state", "gauge", ("pipeline", "asset"),
        "State of the asset: 0 unknown (nothing was judged yet), 1 current, 2 stale.",
    ),
    Definition(
        "edgeai_score", "gauge", ("pipeline", "asset"),
        "Score of the last window; absent unless the asset is current.",
    ),
    Definition(
        "edgeai_threshold", "gauge", ("pipeline", "asset"),
        "Score above which a window is abnormal.",
    ),
    Definition(
        "edgeai_clock_skew_seconds", "gauge", ("pipeline", "asset"),
        "Time of the newest sample minus its arrival: positive if the sender's clock is ahead. Of "
        "tags that make no window, the time stamp of any signal that is furthest from its arrival.",
    ),
    Definition(
        "edgeai_alarm_state", "gauge", ("pipeline", "asset"),
        "State of the alarm: 0 normal, 1 active, 2 latched; normal only while the asset is "
        "current.",
    ),
    Definition(
        "edgeai_alarm_info", "gauge", ("pipeline", "asset", "status", "priority", "position"),
        "Always 1; what the alarm means for its operator; absent while it is normal and not "
        "shelved.",
    ),
    Definition(
        "edgeai_last_sample_timestamp_seconds", "gauge", ("pipeline", "asset"),
        "Time of the newest sample by its sender's clock, in seconds since 1970-01-01, UTC.",
    ),
    Definition(
        "edgeai_alarm_since_timestamp_seconds", "gauge", ("pipeline", "asset"),
        "When the alarm got its state, by the clock of edgeai's machine, in seconds since "
        "1970-01-01, UTC; absent while the alarm is normal.",
    ),
    Definition(
        "edgeai_quality", "gauge", ("pipeline", "asset"),
        "Quality of the last window: 0 good, 1 uncertain, 2 bad; absent unless the asset is "
        "current.",
    ),
    Definition(
        "edgeai_operating_state", "gauge", ("pipeline", "asset", "state"),
        "1 for the operating state that the machine is in (`states`), 0 for the other declared "
        "ones; absent without states, and unless the asset is current.",
    ),
    Definition(
        "edgeai_diagnosis_info", "gauge", ("pipeline", "asset", "kind"),
        "Always 1; the diagnosis of the last window; absent without one, and unless the asset is "
        "current.",
    ),
    Definition(
        "edgeai_contribution", "gauge", ("pipeline", "asset", "signal"),
        "Contribution of a signal to the score of the last window, of the signals that contribute "
        "most (publish.top); absent unless the asset is current.",
    ),
    Definition(
        "edgeai_output", "gauge", ("pipeline", "asset", "output", "element", "role", "unit"),
        "The model's other published outputs for the last window; absent unless the asset is "
        "current.",
    ),
    Definition(
        "edgeai_output_bound", "gauge", ("pipeline", "output", "bound"),
        "Range of an output in healthy operation, as the model package states it: its low and high "
        "end, or the edge of the model's domain (high).",
    ),
    Definition(
        "edgeai_assets_without_detail", "gauge", (),
        "Current assets whose outputs and contributions are left out to bound the scrape.",
    ),
)  # fmt: skip

PROVIDER = (
    Definition(
        "edgeai_failovers_total", "counter", ("pipeline", "cause"),
        "Outages of an accelerator, during which the CPU computes.",
    ),
    Definition(
        "edgeai_readmissions_total", "counter", ("pipeline",),
        "Outages that ended: the accelerator was restarted, tested, and computes again.",
    ),
    Definition(
        "edgeai_parity_failures_total", "counter", ("pipeline",),
        "Tests with the golden windows that an accelerator failed.",
    ),
    Definition(
        "edgeai_degraded", "gauge", ("pipeline",),
        "1 while the CPU computes because the accelerator failed, else 0.",
    ),
    Definition(
        "edgeai_session_info", "gauge",
        ("pipeline", "model", "version", "provider", "requested", "reason"),
        "Always 1; the provider that computes a pipeline, the one requested, and why they differ.",
    ),
    Definition(
        "edgeai_model_signed", "gauge", ("pipeline", "model", "key"),
        "1 if the signature of the model package was verified at the start, else 0.",
    ),
)  # fmt: skip

WORKERS = (
    Definition("edgeai_workers", "gauge", (), "Number of workers in the configuration."),
    Definition("edgeai_workers_ready", "gauge", (), "Number of workers that are ready."),
    Definition("edgeai_worker_restarts_total", "counter", ("worker",), "Restarts of a worker."),
)

METRICS = {one.name: one for one in (*CONNECTION, *ENGINE, *PIPELINE, *PROVIDER, *WORKERS)}
