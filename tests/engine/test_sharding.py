"""Which streams a worker takes."""

from __future__ import annotations

import pytest

from edgeai.engine.sharding import MAX_WORKERS, Shard, ShardedSource
from edgeai.messages import AT_ONCE, Due, Message

ASSETS = [f"press-{number}" for number in range(1, 51)]


def test_each_key_belongs_to_one_worker() -> None:
    keys = [*ASSETS, "ligne-é/四", "\ud800", ""]
    for of in (1, 2, 3, 8, MAX_WORKERS):
        for key in keys:
            assert sum(Shard(number, of).takes(key) for number in range(1, of + 1)) == 1
    # Fixed values: another hash would move streams between workers when a plant is updated.
    assert [1 + Shard(2, 2).takes(f"press-{n}") for n in range(1, 9)] == [1, 1, 1, 2, 2, 2, 2, 1]
    for of in (2, 4):
        for number in range(1, of + 1):
            assert sum(map(Shard(number, of).takes, ASSETS)) >= 0.7 * len(ASSETS) / of


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/65", "-1/2", "1/2/3", "a/b", "1/ 2"])
def test_invalid_shares(text: str) -> None:
    with pytest.raises(ValueError, match="must be NUMBER/OF, such as 2/4"):
        Shard.parse(text)
    assert Shard.parse("2/4") == Shard(2, 4)


class Batches:
    """A source that returns one batch after the other."""

    def __init__(self, *batches: list[str]) -> None:
        self.batches = [[(topic, b"", 0, False) for topic in batch] for batch in batches]
        self.commits = 0

    def receive(self, timeout_seconds: float, due: Due = AT_ONCE) -> list[Message]:
        return self.batches.pop(0) if self.batches else []

    def commit(self) -> None:
        self.commits += 1


def test_messages_of_others_are_left_acknowledged_and_counted() -> None:
    mine = [asset for asset in ASSETS if Shard(2, 2).takes(asset)]
    others = [asset for asset in ASSETS if asset not in mine]
    left: list[int] = []
    asked: list[str] = []

    def keys_of(topic: str) -> list[str]:
        asked.append(topic)
        return [] if topic == "nobody's" else [topic]

    source = Batches(others, others[:3], ["nobody's", *ASSETS], others)
    own = ShardedSource(source, Shard(2, 2), keys_of, left.append)
    assert [topic for topic, *_ in own.receive(5)] == mine
    assert left == [len(others), 3, len(others) + 1]
    assert source.commits == 2, "messages of other workers are acknowledged at once"
    own.commit()
    assert source.commits == 3
    assert len(asked) == len(ASSETS) + 1, "each topic is decided once"
    assert own.receive(0) == []
    first = ShardedSource(Batches(["nobody's"]), Shard(1, 2), keys_of, left.append)
    assert len(first.receive(0)) == 1, "topics without a pipeline belong to the first worker"


def test_a_topic_of_two_pipelines_goes_to_both_workers() -> None:
    keys = ["press-1", "press-4"]  # of workers 1 and 2
    for number in (1, 2):
        own = ShardedSource(Batches(["t"]), Shard(number, 2), lambda _: keys, lambda _: None)
        assert len(own.receive(0)) == 1
