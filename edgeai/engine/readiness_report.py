"""Tell that a pipeline stopped or began to serve."""

import logging
from collections.abc import Sequence

from edgeai.engine.recent_events import RecentEvents
from edgeai.engine.refusals import example_of
from edgeai.engine.sample_watch import Found, SampleWatch
from edgeai.log_events import event
from edgeai.messages import Message

log = logging.getLogger("edgeai.monitor")


def tell_readiness(
    watch: SampleWatch, found: Found, messages: Sequence[Message], recent: RecentEvents
) -> None:
    """Tell that a pipeline is not ready, or ready again: in its metric, the log, and on the page.

    Args:
        watch: Of the pipeline.
        found: By its scan.
        messages: Of this turn, for an example.
        recent: Receives what the page shows.
    """
    ready = watch.pipeline.metrics.ready
    if found.fault is not None:
        ready.set(0)
        mine = [one for one in messages if watch.pipeline.find_key(one[0]) is not None]
        example = f"; {example_of(mine[-1][0], mine[-1][1])}" if mine else ""
        log.warning(
            "not ready: %s%s", found.fault, example if watch.makes_no_window else "",
            extra=event(
                "pipeline_not_ready", pipeline=watch.pipeline.name, reason=found.fault
            ),
        )  # fmt: skip
        recent.add("not_ready", watch.pipeline.name, text=found.fault)
    elif found.ready_again:
        ready.set(1)
        name = watch.pipeline.name
        log.info(
            "ready again: pipeline %s makes %s", name, found.ready_again,
            extra=event("pipeline_ready", pipeline=name),
        )  # fmt: skip
        recent.add("ready", name)
