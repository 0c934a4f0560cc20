"""The events that edgeai writes to its log: a stable name for each, its meaning and its fields.

A line of the log has a text for people and an event for programs:

    log.warning("%s is full", name, extra=event("stream_evicted", pipeline=name))

The text may change with any version; names and fields only with a line in CHANGELOG.md. The page
docs/logs.md is written from this table (scripts/write_events.py), and a test compares the table
with every call in the code.
"""

from typing import Any, NamedTuple


class Event(NamedTuple):
    """What a line of the log means, and what it carries beside its text."""

    meaning: str
    fields: tuple[str, ...] = ()


FIXED = ("timestamp", "level", "logger", "event", "message", "process", "node")
"""Keys of every JSON line; no field has such a name."""
UNNAMED = "library"
"""Event of a line that no part of edgeai has written."""

EVENTS: dict[str, Event] = {
    # Start and end
    "node_started": Event("the node, or its supervisor, begins to serve", ("version", "workers")),
    "http_listening": Event("the HTTP server answers at this address", ("url",)),
    "node_stopping": Event("a signal ends the node", ("signal",)),
    "node_stopped": Event("the node has ended in order", ("messages", "predictions")),
    "start_interrupted": Event("a signal came before the node served", ("signal",)),
    "command_failed": Event("the command ends: a file of the user breaks a rule, or a failure"),
    "hangup_ignored": Event("SIGHUP was received; a changed configuration needs a restart"),
    "config_note": Event("what the configuration leads to on this machine"),
    "config_warning": Event("the configuration works, but not as an operator would want it"),
    # Broker
    "broker_connected": Event("both connections to the broker are made", ("broker", "protocol")),
    "broker_lost": Event(
        "no connection to the broker; once for each cause", ("client", "reason", "retry_seconds")
    ),
    "publications_unconfirmed": Event(
        "publications at QoS 0 before a loss may not have arrived", ("client", "count")
    ),
    "broker_limits": Event("the broker takes less than edgeai would use", ("client", "reason")),
    "broker_drops": Event(
        "the broker says that it has dropped messages, for all its clients", ("count",)
    ),
    "certificate_expires": Event(
        "a certificate expires soon, or has expired; once for each certificate",
        ("certificate", "expires", "days"),
    ),
    "files_kept": Event(
        "a file of a secret or certificate cannot be read again; what was read before stays in use",
        ("reason",),
    ),
    "session_lost": Event("the broker has forgotten the session and its messages", ("client",)),
    "subscription_refused": Event("the broker refuses a subscription", ("topic", "reason")),
    "subscription_qos_lowered": Event(
        "the broker grants a lower QoS than asked for", ("topic", "granted", "asked")
    ),
    "subscription_removed": Event(
        "a topic that left the configuration is unsubscribed", ("client", "topic")
    ),
    "drops_topic_left_out": Event("the broker's counter of drops is not read", ("client", "topic")),
    "no_messages": Event(
        "a topic delivers nothing, although the broker is connected",
        ("pipeline", "topic", "seconds"),
    ),
    "messages_arrive": Event("a topic that had delivered nothing delivers", ("pipeline",)),
    "publications_refused": Event("the broker refuses publications", ("topic", "reason")),
    "publications_accepted": Event("the broker accepts these publications again", ("topic",)),
    "publication_invalid": Event(
        "a publication is dropped: its topic is no valid name", ("topic",)
    ),
    "publication_too_large": Event(
        "a publication is dropped: the broker takes no packet of its size",
        ("topic", "size", "limit"),
    ),
    "publications_unsent": Event("the node has ended before all was sent", ("count",)),
    # Messages, samples, assets
    "message_refused": Event(
        "messages or samples are dropped; `reason` is a label of edgeai_dropped_total",
        ("pipeline", "reason", "count", "topic"),
    ),
    "value_unusable": Event(
        "a value cannot be used, the first of its signal in the pipeline; at most ten lines",
        ("pipeline", "topic"),
    ),
    "asset_new": Event("the first message of an asset", ("pipeline", "asset")),
    "assets_stale": Event(
        "assets have sent no sample for the declared time, or no window of theirs could be judged",
        ("pipeline", "assets", "count", "seconds", "cause"),
    ),
    "assets_refused": Event(
        "messages of assets come, and none was used for the declared time",
        ("pipeline", "assets", "count", "seconds", "reason"),
    ),
    "assets_back": Event("stale assets send again", ("pipeline", "assets", "count")),
    "source_stale": Event(
        "one of several sources of assets has sent nothing for the declared time, while others do",
        ("pipeline", "source", "assets", "count", "seconds"),
    ),
    "source_back": Event(
        "a silent source of assets sends again",
        ("pipeline", "source", "assets", "count", "seconds"),
    ),
    "assets_stale_without_broker": Event(
        "assets become stale because the broker is away; once an outage", ("count",)
    ),
    "assets_restored": Event(
        "assets of before the restart are known again; some may be forgotten, or find no room",
        ("count", "forgotten", "left_out"),
    ),
    "assets_forgotten": Event(
        "assets were silent for limits.forget_assets_after_hours and are forgotten",
        ("pipeline", "assets", "count"),
    ),
    "quality_changed": Event(
        "the quality of assets' windows is another now; `held`: signals without a good value",
        ("pipeline", "quality", "assets", "count", "held"),
    ),
    "clock_set_back": Event(
        "a sender's clock was set back", ("pipeline", "asset", "seconds", "number")
    ),
    "cycle_incomplete": Event(
        "a cycle was not complete; `outcome` is a label of edgeai_cycles_total",
        ("pipeline", "asset", "number", "outcome", "seconds"),
    ),
    "samples_of_one_time": Event(
        "new samples were refused, because another one has their time stamp",
        ("pipeline", "assets", "count"),
    ),
    "sample_rate_off": Event(
        "an asset's samples come at another rate than the model's, by more than 10 %",
        ("pipeline", "asset", "rate_hz", "model_rate_hz"),
    ),
    "values_too_coarse": Event(
        "float32 loses the steps that the model knows, or numbers of cycles", ("pipeline", "signal")
    ),
    "stream_evicted": Event(
        "no room for a new asset: the one that was silent longest has left", ("pipeline", "asset")
    ),
    "pipeline_not_ready": Event(
        "messages come, and no sample or no window", ("pipeline", "reason")
    ),
    "pipeline_ready": Event("the pipeline makes samples or windows again", ("pipeline",)),
    "lines_left_out": Event(
        "lines of one kind that were not written, as there were too many",
        ("pipeline", "subject", "count"),
    ),
    "answer_substituted": Event(
        "a value of an answer to controllers is substituted, the first of its kind; `reason` is a "
        "label of edgeai_answer_values_substituted_total",
        ("pipeline", "answer", "value", "asset", "reason"),
    ),
    "answer_dropped": Event(
        "an answer to controllers is not published, the first of its kind; `reason` is a label of "
        "edgeai_answers_dropped_total",
        ("pipeline", "answer", "asset", "reason"),
    ),
    "answers_replaced": Event(
        "at the start: answers of before are replaced, or cleared where they are configured no "
        "longer",
        ("count", "cleared"),
    ),
    "heartbeat_stopped": Event("no beats are sent: the node is not ready", ("reason",)),
    "heartbeat_beats": Event("beats are sent, for the first time or again", ("topic",)),
    # Alarms
    "alarm_changed": Event(
        "an alarm has another state",
        (
            "pipeline",
            "asset",
            "state",
            "status",
            "previous",
            "score",
            "threshold",
            "top",
            "diagnosis",
        ),
    ),
    "alarm_chatters": Event("an alarm goes on and off too often", ("pipeline", "asset")),
    "alarm_command": Event(
        "an operator has acknowledged, shelved or unshelved an alarm",
        ("pipeline", "asset", "command", "operator", "seconds", "reason"),
    ),
    "alarm_command_refused": Event("a command of an operator is not obeyed", ("target", "reason")),
    "commands_left_out": Event(
        "the broker lets the node read no commands of operators", ("client", "topic")
    ),
    "state_changed": Event(
        "a machine is in another operating state (`states`)",
        ("pipeline", "asset", "state", "previous"),
    ),
    "score_not_finite": Event("the model's score is NaN or infinite", ("pipeline", "asset")),
    "reset_without_effect": Event("a reset that acknowledges no alarm", ("target",)),
    "alarms_restored": Event("alarms of before the restart continue", ("count",)),
    "alarms_continued": Event(
        "alarms that only the broker knew continue: the state folder was lost", ("count",)
    ),
    "retained_not_read": Event(
        "own topics at the broker are not compared with the node's alarms", ("topic", "reason")
    ),
    "alarms_cleared": Event("alarms of removed pipelines and assets are cleared", ("count",)),
    "alarms_unknown_before": Event("the state folder holds no earlier alarm", ("path",)),
    "alarms_not_kept": Event("alarm states cannot be written", ("path", "reason")),
    "alarms_kept_again": Event("alarm states are written again", ("path",)),
    "alarms_too_many": Event("alarm states of further assets are not kept", ("limit",)),
    "state_file_unreadable": Event("a file of the state folder is not used", ("path", "reason")),
    "state_file_unwritable": Event("a file of the state folder is not kept", ("path", "reason")),
    # Defects
    "internal_error": Event(
        "an exception that nobody expected has cost a message or windows; `reason` is a label of "
        "edgeai_dropped_total",
        ("pipeline", "reason"),
    ),
    "step_failed": Event("a step of a turn has failed, and the turn goes on", ("step",)),
    "pipeline_set_aside": Event(
        "a pipeline cannot compute and is tried again later", ("pipeline", "reason", "seconds")
    ),
    "pipeline_serves_again": Event("a pipeline that was set aside computes", ("pipeline",)),
    "callback_failed": Event("an event of the MQTT library was skipped", ("callback",)),
    "http_failed": Event("a request to the HTTP server has failed", ("path",)),
    "http_not_accepting": Event("the HTTP server accepts no connection for now", ("reason",)),
    # Models and providers
    "model_verified": Event(
        "the signature of a model package is right", ("pipeline", "model", "key", "file")
    ),
    "model_note": Event("what to know of a model although it serves", ("model",)),
    "provider_candidates": Event("the providers that `auto` found for this machine", ("profiles",)),
    "provider_proving": Event("a provider is being proven; it may take minutes", ("provider",)),
    "provider_verdict": Event("the result of a proof", ("provider", "model", "reason")),
    "provider_not_chosen": Event(
        "another provider serves than the one asked for", ("model", "provider", "reason")
    ),
    "provider_serving": Event("an accelerator serves", ("provider",)),
    "provider_degraded": Event(
        "an accelerator has failed; the CPU computes", ("provider", "reason")
    ),
    "provider_restart_failed": Event("an accelerator has failed again", ("provider", "reason")),
    "provider_breaker_open": Event(
        "an accelerator failed too often and is left out for a while", ("provider", "seconds")
    ),
    "provider_readmitted": Event("an accelerator that had failed serves again", ("provider",)),
    "provider_stuck": Event("the process of an accelerator does not end", ("provider",)),
    # Workers
    "workers_ready": Event("another number of workers is ready", ("ready", "of", "reason")),
    "worker_ended": Event("a worker has ended and is restarted", ("worker", "reason", "seconds")),
    "worker_killed": Event("a worker that hangs, or does not stop, is killed", ("worker",)),
    "supervisor_lost": Event("the supervisor has ended, so this worker stops"),
    # The simulated line
    "plant_started": Event("the simulated line publishes", ("assets",)),
}
"""By name, in the order of the page."""


def event(name: str, **fields: object) -> dict[str, Any]:
    """Return the argument `extra` of a call of the log: the event and what it carries.

    Args:
        name: A key of `EVENTS`.
        fields: Values that `json.dumps` takes, by the names that the event declares.
    """
    return {"event": name, "fields": fields}
