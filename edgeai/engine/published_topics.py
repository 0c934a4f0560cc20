"""The topics of what a pipeline publishes of its assets."""

from edgeai import topics
from edgeai.config.publish import PublishConfig


class PublishedTopics:
    """Fills the topic templates of a pipeline."""

    def __init__(self, publish: PublishConfig, node: str, pipeline: str, model: str) -> None:
        """Keep what is the same for all assets.

        Args:
            publish: Holds the templates.
            node: Name of the node.
            pipeline: Name of the pipeline.
            model: Name of its model.
        """
        self._publish = publish
        self._fields = (("node", node), ("pipeline", pipeline), ("model", model))

    def prediction(self, key: str) -> str:
        """Return the topic of the predictions of a stream."""
        return self._fill(self._publish.topic, key)

    def alarm(self, key: str) -> str:
        """Return the topic of the alarm of a stream."""
        return self._fill(self._publish.alarm_topic, key)

    def state(self, key: str) -> str:
        """Return the topic of the operating state of a stream."""
        return self._fill(self._publish.state_topic, key)

    def _fill(self, template: str, key: str) -> str:
        return topics.fill(template, (*self._fields, ("asset", key)))
