"""Whether a pipeline makes windows of its samples, and if not, what its time stamps show."""

from edgeai.engine.pipeline import Pipeline


def time_stamp_remedy(pipeline: Pipeline) -> str:
    """Return what to do about samples that share a time stamp."""
    fields = {"row": "source.time", "frame": "source.frame.time"}
    field = fields.get(pipeline.config.source.layout)
    finer = "Let the sender send finer time stamps"
    if field is None:
        return finer
    path = f"pipelines.{pipeline.name}.{field}.resolution_seconds"
    return f"{finer}, or declare the step of its clock: {path}"
