"""Replace what controllers may still see of the run before, at the start and at the end."""

import logging
from collections.abc import Sequence
from pathlib import Path

from edgeai.engine.answer_publisher import cleared
from edgeai.engine.answer_topics import AnswerTopics
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.sharding import Shard
from edgeai.log_events import event
from edgeai.messages import Publication

log = logging.getLogger("edgeai.answers")


def answers_folder(state_folder: Path, alarms: Path) -> Path:
    """Return the folder of the topics of a node's answers, named as that of its alarms."""
    return state_folder / "answers" / alarms.name


def replace_answers(
    pipelines: Sequence[Pipeline], folder: Path, shard: Shard | None = None
) -> list[Publication]:
    """Return what replaces the answers of the run before; the topics are kept from now on.

    Call it after alarms and assets are restored.

    Args:
        pipelines: Of the node.
        folder: From `answers_folder`.
        shard: The streams of this process; None: all.
    """
    shard = shard or Shard()
    by_name = {one.name: one for one in pipelines}
    with_answers = [one.answers for one in pipelines if one.answers is not None]
    if not with_answers and not folder.is_dir():
        return []
    answer_topics = with_answers[0].topics if with_answers else AnswerTopics(1)
    publications: list[Publication] = []
    gone = 0
    for kept in answer_topics.keep_in(folder, shard.number, shard.takes):
        pipeline = by_name.get(kept.owner.pipeline)
        if pipeline is None or pipeline.answers is None:
            answer_topics.release(kept.owner)
            found = cleared(kept)
        else:
            key = kept.owner.asset
            found = pipeline.answers.start(
                kept, pipeline.streams.get(key), is_served=pipeline.serves(key)
            )
        gone += sum(not one.payload for one in found)
        publications += found
    answer_topics.write()
    if publications:
        log.info(
            "answers to controllers of before the restart: %d are replaced by ones that are not "
            "live, %d are cleared, as they are not configured any more",
            len(publications) - gone, gone,
            extra=event("answers_replaced", count=len(publications) - gone, cleared=gone),
        )  # fmt: skip
    return publications


def end_answers(pipelines: Sequence[Pipeline]) -> list[Publication]:
    """Return the last answers of all pipelines: the node stops."""
    return [
        publication
        for pipeline in pipelines
        if pipeline.answers is not None
        for publication in pipeline.answers.stop()
    ]
