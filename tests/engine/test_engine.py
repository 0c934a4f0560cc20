"""The turn, from messages to publications: real pipelines, a source and a sink of lists."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgeai.assembly.plan import Plan, check
from edgeai.engine.engine import COUNT_AFTER_ENTRIES
from edgeai.engine.exported import asset_states
from edgeai.engine.intake import tags
from edgeai.messages import BACKLOG, REDELIVERED, Message, Publication
from tests.support.engine import NS, RESET, SOURCE, Node, totals
from tests.support.packages import write_config, write_package
from tests.support.shared import own_state


def row(t: float, a: Any = 1, b: Any = 1, *, asset: str = "m", **more: Any) -> Message:
    document = {"t": t, "a": a, "b": b, **more}
    return (f"factory/{asset}/sensors", json.dumps(document).encode(), round(t * NS), False)


Plans = Callable[..., Plan]


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> Plans:
    """Make a checked plan of pipelines; the graphs are inspected once for all tests here."""
    folder = tmp_path_factory.mktemp("engine")
    ranges = {"a": [-50.0, 50.0]}
    write_package(folder / "mean", ranges=ranges)  # window 4, hop 1, 1 Hz, threshold 10
    write_package(folder / "latest", length=1, ranges=ranges)
    write_package(folder / "event", length=1, rate_hz=None)
    write_package(folder / "other", signals=["b", "c"], length=2, hop=2)
    write_package(folder / "root", length=1, rate_hz=None, model=root_graph())
    numbers = iter(range(10**6))

    def make(pipelines: dict[str, Any], **more: Any) -> Plan:
        complete = {
            name: {"model": "mean", **pipeline, "source": {**SOURCE, **pipeline.get("source", {})}}
            for name, pipeline in pipelines.items()
        }
        path = folder / f"config-{next(numbers)}.yaml"
        write_config(path, 1883, complete, state_folder=str(own_state(folder)), **more)
        return check(path)

    return make


def root_graph() -> onnx.ModelProto:
    """Score = sqrt(a + 100): no number below -100. Contribution = the sample."""
    constants = [
        numpy_helper.from_array(np.array([[1], [0]], np.float32), "first"),
        numpy_helper.from_array(np.array([100], np.float32), "hundred"),
        numpy_helper.from_array(np.array([-1, 2], np.int64), "flat"),
        numpy_helper.from_array(np.array([-1], np.int64), "line"),
    ]
    nodes = [
        helper.make_node("Reshape", ["window", "flat"], ["contribution"]),
        helper.make_node("MatMul", ["contribution", "first"], ["column"]),
        helper.make_node("Reshape", ["column", "line"], ["a"]),
        helper.make_node("Add", ["a", "hundred"], ["sum"]),
        helper.make_node("Sqrt", ["sum"], ["score"]),
    ]
    graph = helper.make_graph(
        nodes,
        "root",
        [helper.make_tensor_value_info("window", TensorProto.FLOAT, ["B", 1, 2])],
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["B"]),
            helper.make_tensor_value_info("contribution", TensorProto.FLOAT, ["B", 2]),
        ],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


# ------------------------------------------------------------------------------------ one pipeline


def test_a_prediction_says_everything(plans: Plans) -> None:
    node = Node(plans({"p": {"publish": {"qos": 1}}}), now_ns=6 * NS)
    node.turns([row(t, a=t, b=10) for t in range(1, 5)])
    one = node.sink.all[0]
    assert (one.topic, one.qos, one.retain) == ("edgeai/test/predictions/p/m", 1, False)
    assert json.loads(one.payload) == {
        "timestamp": 4 * NS, "asset": "m", "model": "mean", "version": "1.0.0", "score": 12.5,
        "threshold": 10.0, "alarm": "active", "quality": "good", "provider": "cpu",
        "requested": "cpu", "reason": "", "id": "p/m:4000000000", "outputs": {},
        "top": [["b", 10.0], ["a", 2.5]],
    }  # fmt: skip
    assert node.value("predictions_total", pipeline="p", quality="good") == 1
    assert node.value("end_to_end_seconds_sum", pipeline="p") == 2


def test_inputs_are_acknowledged_after_their_predictions_were_handed_over(plans: Plans) -> None:
    node = Node(plans({"p": {"model": "latest"}})).turns([row(1)], [], [row(2)])
    assert node.log == ["publish", "commit", "commit", "publish", "commit"]


def test_without_a_time_field_the_arrival_counts(plans: Plans) -> None:
    node = Node(plans({"p": {"model": "latest", "source": {"time": None}}}))
    node.turns([("factory/m/sensors", b'{"a": 1, "b": 2}', 77, False)])
    assert [one["timestamp"] for one in node.predictions()] == [77]


def test_streams_do_not_mix(plans: Plans) -> None:
    node = Node(plans({"p": {}}))
    node.turns([row(t, a=number, asset=f"m{number}") for t in range(5) for number in (1, 2, 3)])
    for number in (1, 2, 3):
        scores = [one["score"] for one in node.predictions(asset=f"m{number}")]
        assert scores == [number + 1] * 2
    assert node.value("streams", pipeline="p") == 3


def test_batches_beyond_the_limit_give_the_same(plans: Plans) -> None:
    messages = [row(t, a=t, asset=f"m{t % 3}") for t in range(60)]
    published = []
    for limit in (1, 7, 1024):
        node = Node(plans({"p": {"model": "latest"}}, limits={"batch_windows": limit}))
        published.append(node.turns(messages).sink.all)
        calls = node.value("inference_seconds_count", model="latest", provider="cpu")
        assert calls == math.ceil(60 / limit)
        assert node.value("batch_windows_sum", model="latest") == 60
    assert len(published[0]) == 60 + 3  # each of three alarms once
    assert published[0] == published[1] == published[2]


def test_what_waits_for_late_samples_is_given_out_at_the_end(plans: Plans) -> None:
    node = Node(plans({"p": {"model": "latest", "stream": {"lateness_seconds": 10}}}))
    node.turns([row(3), row(1), row(2)])
    assert node.predictions() == []
    assert [one["timestamp"] // NS for one in node.finish().predictions()] == [1, 2, 3]


# ------------------------------------------------------------------------------------------ routes


def test_two_pipelines_on_one_topic(plans: Plans) -> None:
    node = Node(plans({"p": {}, "q": {"model": "other"}}))
    node.turns([row(t, a=0, b=t, c=1) for t in range(1, 7)])
    assert [one["timestamp"] // NS for one in node.predictions("p")] == [4, 5, 6]
    assert [one["timestamp"] // NS for one in node.predictions("q")] == [2, 4, 6]
    assert [one["score"] for one in node.predictions("q")] == [2.5, 4.5, 6.5]
    assert node.value("messages_received_total") == 6
    assert node.value("pipeline_messages_total", pipeline="p") == 6
    assert node.value("pipeline_messages_total", pipeline="q") == 6


def test_a_pipeline_without_its_signals_in_a_shared_message(plans: Plans) -> None:
    node = Node(plans({"p": {"model": "latest"}, "q": {"model": "other"}}))
    node.turns([("factory/m/sensors", b'{"t": 1, "a": 5}', 0, False)])
    assert node.counts("dropped", "reason", "p") == {"invalid_value": 1}  # b never had a value
    assert node.counts("dropped", "reason", "q") == {"no_signal": 1}


def test_asset_patterns_choose_the_pipeline(plans: Plans) -> None:
    node = Node(
        plans(
            {
                "p": {"model": "latest", "source": {"assets": ["press-*", "old"]}},
                "q": {"model": "event", "source": {"assets": ["oven-?", "port[1]"]}},
            }
        )
    )
    assets = ["press-1", "press-", "xpress-1", "old", "oven-1", "oven-10", "PRESS-1"]
    assets += ["port1", "port[1]"]
    node.turns([row(1, asset=asset) for asset in assets])
    topics = sorted(one.topic.removeprefix("edgeai/test/predictions/") for one in node.sink.all)
    assert topics == ["p/old", "p/press-", "p/press-1", "q/oven-1", "q/port[1]"]
    assert node.counts("messages_unrouted", "reason", None) == {"unexpected_topic": 4}


def test_turns_do_not_gather_where_nobody_asks_for_them(plans: Plans) -> None:
    node = Node(plans({"p": {}}))
    t = 0
    for messages in [1] * COUNT_AFTER_ENTRIES + [COUNT_AFTER_ENTRIES // 3] * 10:
        node.turns([row(t := t + 1) for _ in range(messages)])
        noted = node.engine._log._turns
        windows = sum(len(call[3]) for turn in noted for call in turn[3])
        assert len(noted) + windows < COUNT_AFTER_ENTRIES
    assert node.value("turn_seconds_count") == COUNT_AFTER_ENTRIES + 10
    assert node.value("end_to_end_seconds_count", pipeline="p") == t - 3


def test_score_and_contributions_are_not_among_the_other_outputs(plans: Plans) -> None:
    (prediction,) = Node(plans({"p": {"model": "latest"}})).turns([row(1)]).predictions()
    assert prediction["outputs"] == {}
    assert prediction["top"] == [["a", 1.0], ["b", 1.0]]


def test_the_arrival_of_the_last_message_is_exported(plans: Plans) -> None:
    node = Node(plans({"p": {}})).turns([row(1), row(2)], [row(7)])
    assert node.value("last_message_timestamp_seconds") == 7


def test_a_stream_is_decoded_with_the_others_again_after_a_strange_message(plans: Plans) -> None:
    node = Node(plans({"p": {}}))
    decoder = node.engine.pipelines[0].intake.decoder
    many = decoder.decode_many
    sizes: list[int] = []
    decoder.decode_many = lambda taken: sizes.append(len(taken)) or many(taken)
    assets = ["a", "b", "c"]
    turns = [[row(t, asset=asset) for asset in assets for t in (n, n + 0.5)] for n in range(1, 5)]
    strange = [*turns[1][:-1], row(2.5, None, asset="c")]
    node.turns(turns[0], strange, turns[2])
    sizes.clear()
    node.turns(turns[3])
    assert sizes == [6], "one call for all streams"


def test_topics_of_nobody(plans: Plans) -> None:
    node = Node(plans({"p": {"model": "latest"}}))
    strange = ["factory/m", "factory//sensors", "factory/a/b/sensors", "other", "$SYS/x/sensors"]
    invalid = ["", "fac\x00tory", "a/+", "a/#"]
    node.turns([(topic, b"{}", 0, False) for topic in strange + invalid] * 2)
    assert node.counts("messages_unrouted", "reason", None) == {
        "unexpected_topic": 2 * len(strange),
        "invalid_topic": 2 * len(invalid),
    }
    assert node.value("pipeline_messages_total", pipeline="p") == 0


@pytest.mark.parametrize(
    "asset",
    [
        "a\x00b",
        "a+",
        "#",
        "a\nb",
        "\x7f",
        "￾",
    ],
)
def test_an_asset_that_cannot_be_published_is_refused(plans: Plans, asset: str) -> None:
    node = Node(plans({"p": {"model": "latest"}}))
    node.turns([row(1, asset=asset), row(2, asset=asset)], [row(3, asset=asset), row(1)])
    assert len(node.sink.all) == 1
    assert node.counts("dropped", "reason") == {"invalid_topic": 3}
    assert node.value("streams", pipeline="p") == 1


def test_streams_are_limited_and_those_that_are_there_go_on(plans: Plans) -> None:
    node = Node(plans({"p": {"model": "latest"}}, limits={"streams": 2}))
    messages = [row(t, asset=f"m{number}") for t in (1, 2) for number in range(5)]
    node.turns(messages)
    assert sorted(one.topic[-2:] for one in node.sink.all) == ["m0", "m0", "m1", "m1"]
    assert node.counts("dropped", "reason") == {"too_many_streams": 6}


# ------------------------------------------------------------------------------------------- tags


def tag(t: float, name: str, value: Any, **more: Any) -> Message:
    return (f"f/m/{name}", json.dumps({"t": t, "value": value, **more}).encode(), 0, False)


TAGS = {"topic": "f/{asset}/{signal}", "layout": "tag"}


def test_tags_named_by_the_topic(plans: Plans) -> None:
    source = {**TAGS, "signals": {"b": {"tag": "B1", "scale": 2.0}}}
    node = Node(plans({"p": {"source": source, "stream": {"alignment": "hold"}}}))
    for t in range(1, 7):
        node.turns([tag(t, "a", t), tag(t, "B1", 1), tag(t, "c", 5)])
    assert [one["timestamp"] // NS for one in node.predictions()] == [4, 5]
    assert [one["score"] for one in node.predictions()] == [2.5 + 2, 3.5 + 2]
    assert node.counts("dropped", "reason") == {"unknown_tag": 6}
    assert [one["timestamp"] // NS for one in node.finish().predictions()] == [4, 5, 6]


def test_payloads_may_be_views_of_what_was_read(plans: Plans) -> None:
    """Long ones come so; rows alone, several together, and tags."""
    stream = {"alignment": "hold"}
    pipelines = {"p": {}, "q": {"source": TAGS, "stream": stream}}
    rows = [row(t, a=t, asset=asset) for t in range(1, 9) for asset in "mno"]
    tags = [tag(t, name, t) for t in range(1, 9) for name in "ab"]
    found = []
    for view in (bytes, memoryview):
        node = Node(plans(pipelines))
        sent = [(topic, view(payload), *rest) for topic, payload, *rest in rows + tags]
        node.turns(sent[:1], sent[1:20], sent[20:], [("factory/m/sensors", view(b"{"), 0, False)])
        found.append((node.finish().sink.all, node.counts("dropped", "reason")))
    assert found[0] == found[1]
    assert len(found[0][0]) > 15
    assert found[0][1] == {"invalid_json": 1}


def test_tags_named_by_the_payload(plans: Plans) -> None:
    source = {
        "topic": "f/{asset}/#",
        "merge_topics": True,
        "layout": "tag",
        "name_path": "id",
        "value_path": "v.x",
    }
    stream = {"alignment": "linear"}
    node = Node(plans({"p": {"model": "latest", "source": source, "stream": stream}}))
    for t in range(1, 5):
        for name, value in [("a", 2 * t), ("b", 1)]:
            body = json.dumps({"t": t, "id": name, "v": {"x": value}}).encode()
            node.turns([(f"f/m/{name}", body, 0, False)])
    assert [one["score"] for one in node.predictions()] == [3, 5, 7]


@pytest.mark.parametrize(("policy", "score"), [("keep", 99), ("hold", 1), ("drop", 1)])
def test_tags_out_of_range(plans: Plans, policy: str, score: float) -> None:
    stream = {"alignment": "hold", "out_of_range": policy}
    node = Node(plans({"p": {"model": "latest", "source": TAGS, "stream": stream}}))
    for t, a in [(1, 1), (2, 99), (3, 3), (4, 4)]:
        node.turns([tag(t, "a", a), tag(t, "b", 0)])
    assert [one["score"] for one in node.predictions()] == [1, score, 3]
    if policy == "keep":
        qualities = [one["quality"] for one in node.predictions()]
        assert qualities == ["good", "uncertain", "good"]
    assert node.counts("invalid_values", "reason") == {"out_of_range": 1}


# ---------------------------------------------------------------------------------------- quality


def test_substituted_values_mark_the_quality_and_many_stop_the_alarm(plans: Plans) -> None:
    node = Node(plans({"p": {}}))
    values = [1, 1, 1, 1, None, "Bad", 1, 1, 1, 1]
    node.turns([row(t, a=a, b=a if t < 9 else 99) for t, a in enumerate(values)])
    #    of 8 values in a window: 2 are 25 % and more than a fifth, b is substituted with a
    assert [one["quality"] for one in node.predictions()] == ["good"] + ["bad"] * 5 + ["good"]
    assert node.counts("invalid_values", "reason") == {"missing": 2, "not_a_number": 2}
    assert node.transitions() == [(9, "normal", "active")]


def test_a_bad_window_gives_no_alarm_and_ends_none(plans: Plans) -> None:
    node = Node(plans({"p": {"model": "latest", "stream": {"max_invalid_ratio": 0.4}}}))
    node.turns([row(1, b=99), row(2, a=None, b=0), row(3, b=0), row(4, a=None, b=99), row(5)])
    assert [one["quality"] for one in node.predictions()] == ["good", "bad", "good", "bad", "good"]
    assert [one["alarm"] for one in node.predictions()] == ["active", "active"] + ["normal"] * 3
    assert node.transitions() == [(1, "normal", "active"), (3, "active", "normal")]


@pytest.mark.parametrize(
    ("policy", "times", "qualities"),
    [
        ("keep", [1, 2, 3], ["good", "uncertain", "good"]),
        ("hold", [1, 2, 3], ["good", "bad", "good"]),
        ("drop", [1, 3], ["good", "good"]),
    ],
)
def test_rows_out_of_range(
    plans: Plans, policy: str, times: list[int], qualities: list[str]
) -> None:
    node = Node(plans({"p": {"model": "latest", "stream": {"out_of_range": policy}}}))
    node.turns([row(1), row(2, a=99), row(3)])
    assert [one["timestamp"] // NS for one in node.predictions()] == times
    assert [one["quality"] for one in node.predictions()] == qualities
    assert node.counts("invalid_values", "reason") == {"out_of_range": 1}
    assert node.counts("dropped", "reason") == ({"invalid_value": 1} if policy == "drop" else {})


def test_a_dropped_row_beside_one_with_a_missing_value(plans: Plans) -> None:
    node = Node(plans({"p": {"model": "latest", "stream": {"out_of_range": "drop"}}}))
    node.turns([row(1), row(2, a=99), row(3), row(4, b=None), row(5, a=99, b=None), row(6)])
    assert [one["timestamp"] // NS for one in node.predictions()] == [1, 3, 4, 6]
    assert [one["score"] for one in node.predictions()] == [2, 2, 2, 2]
    assert [one["quality"] for one in node.predictions()] == ["good", "good", "bad", "good"]
    assert node.counts("dropped", "reason") == {"invalid_value": 2}
    assert node.counts("invalid_values", "reason") == {"out_of_range": 2, "missing": 2}


def test_a_number_too_large_for_float32_never_reaches_the_model(plans: Plans) -> None:
    node = Node(plans({"p": {"model": "event"}}))  # its signals have no range
    node.turns([row(1), row(2, a=1e300), row(3, a=-1e39), row(4)])
    assert [one["score"] for one in node.predictions()] == [2, 2, 2, 2]
    assert [one["quality"] for one in node.predictions()] == ["good", "bad", "bad", "good"]
    assert node.counts("invalid_values", "reason") == {"not_finite": 2}


def test_a_score_that_is_no_number(plans: Plans) -> None:
    rule = {"threshold": 10.5, "latch": True}
    node = Node(plans({"p": {"model": "root", "alarm": rule}}))
    node.turns([row(t, a=a) for t, a in [(1, 0), (2, -200), (3, 44), (4, -200), (5, 0)]])
    scores = [one["score"] for one in node.predictions()]
    assert scores == [10, None, 12, None, 10]
    assert [one["quality"] for one in node.predictions()] == ["good", "bad", "good", "bad", "good"]
    alarms = [one["alarm"] for one in node.predictions()]
    assert alarms == ["normal", "active", "active", "active", "latched"]
    assert node.value("scores_not_finite_total", pipeline="p") == 2
    assert node.counts("predictions", "quality") == {"good": 3, "bad": 2}


# ----------------------------------------------------------------------------------------- alarms


@pytest.mark.parametrize("together", [False, True])
def test_messages_the_broker_sends_again_are_duplicates(plans: Plans, together: bool) -> None:
    """Not late, and no clock set back, however many: the window goes on."""
    first = [row(t, t) for t in range(1, 101)]
    again = [(*message[:3], True) for message in first[40:]]
    after = [row(t, t) for t in range(101, 104)]
    node = Node(plans({"p": {}}))
    node.turns(first + again + after) if together else node.turns(first, again, after)
    assert [one["timestamp"] // NS for one in node.predictions()] == list(range(4, 104))
    assert node.counts("dropped", "reason") == {"duplicate": 60}
    assert node.counts("window_resets", "reason") == {}


@pytest.mark.parametrize("together", [False, True])
def test_what_is_sent_again_may_be_out_of_order(plans: Plans, together: bool) -> None:
    """After a connection was lost much comes marked as sent again that was never taken."""
    node = Node(plans({"p": {"stream": {"lateness_seconds": 3}}}))
    times = [1, 2, 4, 3, 6, 5, 5, 8, 7, 9, 10, 11, 12, 13]
    again = [(*row(t, t)[:3], True) for t in times]
    node.turns(again) if together else node.turns(*[[message] for message in again])
    node.finish()
    assert [one["timestamp"] // NS for one in node.predictions()] == list(range(4, 14))
    assert node.counts("dropped", "reason") == {"duplicate": 1}


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(
    "changes", [{"stream": {"lateness_seconds": 3}}, {"stream": {"alignment": "hold"}}, {}]
)
def test_what_is_sent_again_in_the_turn_of_the_first_time(
    plans: Plans, together: bool, changes: dict[str, Any]
) -> None:
    """Not late, however many: otherwise the clock would seem to have been set back."""
    fresh = [row(t, t) for t in range(1, 41)]
    again = [(*message[:3], True) for message in fresh]
    after = [row(t, t) for t in range(41, 51)]
    node = Node(plans({"p": changes}))
    node.turns(fresh + again, after) if together else node.turns(
        *[[m] for m in fresh + again + after]
    )
    node.finish()
    moments = [one["timestamp"] // NS for one in node.predictions()]
    assert moments == sorted(set(moments))
    assert len(moments) >= 46
    assert node.counts("dropped", "reason") == {"duplicate": 40}
    assert node.counts("window_resets", "reason") == {}


@pytest.mark.parametrize("together", [False, True])
def test_what_was_dropped_does_not_make_duplicates(plans: Plans, together: bool) -> None:
    """Nor does what was late: with what is sent again only the stream's own past counts."""
    node = Node(plans({"p": {"stream": {"out_of_range": "drop"}}}))
    fresh = [*[row(t, t) for t in range(1, 31)], row(5, 5), row(32, 99)]
    again = [(*row(t, t)[:3], True) for t in range(6, 32)]
    messages = [*fresh, *again, row(33, 33)]
    node.turns(messages) if together else node.turns(*[[message] for message in messages])
    moments = [one["timestamp"] // NS for one in node.predictions()]
    assert moments == [*range(4, 32), 33]
    dropped = node.counts("dropped", "reason")
    assert dropped == {"duplicate": 26, "invalid_value": 1}


def test_the_on_delay_does_not_run_across_a_gap(plans: Plans) -> None:
    #   score   high at 1..4 s, then an hour of nothing, then high again
    #   on delay of 5 s: neither part lasts it, the second not before 3609 s
    node = Node(plans({"p": {"alarm": {"on_delay_seconds": 5, "threshold": 5}}}))
    node.turns([row(t, 100) for t in range(1, 7)])
    node.turns([row(3600 + t, 100) for t in range(1, 12)])
    assert node.transitions() == [(3609, "normal", "active")]


TOLD_NS = 1_800_000_000 * NS


def reset(target: str) -> Message:
    return (f"{RESET}{target}", b"", 0, False)


LATCH = {"model": "latest", "alarm": {"latch": True}}


def test_transitions_are_published_retained_at_qos_1(plans: Plans) -> None:
    node = Node(plans({"p": {"model": "latest"}})).turns([row(1, b=99), row(2, b=98), row(3)])
    order = [one.topic.split("/")[2] for one in node.sink.all]
    assert order == ["predictions", "alarms", "predictions", "predictions", "alarms"]
    alarms = [one for one in node.sink.all if one.retain]
    assert [(one.topic, one.qos) for one in alarms] == [("edgeai/test/alarms/p/m", 1)] * 2
    first = json.loads(alarms[0].payload)
    assert (first["pipeline"], first["asset"], first["score"]) == ("p", "m", 100)
    assert first["top"] == [["b", 99], ["a", 1]]
    assert node.counts("alarm_transitions", "state") == {"active": 1, "normal": 1}


@pytest.mark.parametrize("together", [False, True])
def test_a_latched_alarm_waits_for_its_reset(plans: Plans, together: bool) -> None:
    node = Node(plans({"p": LATCH, "q": LATCH}))
    messages = [row(1, b=99), row(2), reset("p/m"), row(3)]
    node.turns(*([messages] if together else [[message] for message in messages]))
    active = [(1, "normal", "active"), (2, "active", "latched")]
    assert node.transitions("p") == [*active, (2, "latched", "normal")]
    assert node.transitions("q") == active
    assert [one["alarm"] for one in node.predictions("p")] == ["active", "latched", "normal"]
    assert [one["alarm"] for one in node.predictions("q")] == ["active", "latched", "latched"]


@pytest.mark.parametrize(
    ("received_ns", "flags", "acknowledges"),
    [
        (TOLD_NS - 1, 0, False),  # it came in the turn that raised the alarm
        (TOLD_NS + 1, 0, True),
        (TOLD_NS + NS, BACKLOG, False),  # the broker held it while edgeai was away
        (TOLD_NS + NS, REDELIVERED | BACKLOG, False),
        (TOLD_NS + 61 * NS, BACKLOG, True),  # the connection was made after the alarm
    ],
)
@pytest.mark.parametrize("together", [False, True])
def test_a_reset_acknowledges_only_an_alarm_that_was_published_before(
    plans: Plans,
    caplog: pytest.LogCaptureFixture,
    received_ns: int,
    flags: int,
    *,
    acknowledges: bool,
    together: bool,
) -> None:
    """Sent before an alarm that nobody had seen, it used to end it in the same turn."""
    node = Node(plans({"p": LATCH}), TOLD_NS)
    messages = [row(1, b=99), row(2), (f"{RESET}p/m", b"", received_ns, flags)]
    node.turns(*([messages] if together else [[message] for message in messages]))
    assert node.under("alarms")[-1]["state"] == ("normal" if acknowledges else "latched")
    assert ("acknowledges nothing" in caplog.text) is not acknowledges


def test_every_transition_has_an_id_of_its_own(plans: Plans) -> None:
    """A consumer that drops a redelivery by its id must not drop a reset."""
    node = Node(plans({"p": LATCH})).turns([row(1, b=99), row(2), reset("p/m")])
    identities = [one["id"] for one in node.under("alarms")]
    assert len(set(identities)) == 3


@pytest.mark.parametrize("target", ["p", "p/", "p/other", "q/m", "m", "/m", "p/m/x", "p\x00/m", ""])
def test_a_reset_of_nothing(plans: Plans, target: str) -> None:
    node = Node(plans({"p": LATCH})).turns([row(1, b=99), row(2)])
    before = len(node.sink.all)
    node.turns([reset(target)])
    assert len(node.sink.all) == before
    assert node.under("alarms")[-1]["state"] == "latched"


def test_states_of_assets_as_prometheus_sees_them(plans: Plans) -> None:
    node = Node(plans({"p": LATCH, "q": {}})).turns([row(1, b=99), row(2), row(1, asset="n")])
    assert node.value("score", pipeline="p", asset="m") == 2
    assert node.value("alarm_state", pipeline="p", asset="m") == 2
    assert node.value("alarm_state", pipeline="p", asset="n") == 0
    found = [(*one[:3], one.alarm) for one in asset_states(node.engine.pipelines)]
    assert found == [
        ("p", "m", "current", "latched"),
        ("p", "n", "current", "normal"),
        ("q", "m", "unknown", "normal"),  # q has no window yet
        ("q", "n", "unknown", "normal"),
    ]


# ----------------------------------------------------------------------- accounting and invariance

ROWS = {"model": "latest", "source": {"qos": 1}}
MIXED: dict[str, Any] = {
    "plain": {"alarm": {"latch": True, "on_delay_seconds": 1}, "stream": {"max_gap_seconds": 3}},
    "late": {"window": {"hop": 3}, "stream": {"lateness_seconds": 2, "invalid": "drop"}},
    "hold": {"model": "latest", "stream": {"alignment": "hold", "max_age_seconds": 1.5}},
    "line": {"stream": {"alignment": "linear", "lateness_seconds": 1, "out_of_range": "drop"}},
    "other": {"model": "other", "source": {"assets": ["m1"], "numeric_text": True}},
    "tags": {**LATCH, "source": TAGS, "stream": {"alignment": "hold"}},
}


STRANGE = {
    "null": (row(8.5, None), 1),
    "text": (row(8.5, "Bad"), 1),
    "too large for float32": (row(8.5, 1e300), 1),
    "outside its range": (row(8.5, 99), 1),
    "no signal": (("factory/m/sensors", b'{"t": 8.5, "x": 1}', 0, False), 0),
    "no JSON": (("factory/m/sensors", b"{", 0, False), 0),
    "sent again": ((*row(8)[:3], True), 0),
    "late": (row(3), 0),
    "half a second": (row(8.5, 2), 1),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_a_strange_message_among_many_costs_itself_only(plans: Plans, kind: str) -> None:
    plan = plans({"p": {}, "scaled": {"source": {"signals": {"a": {"path": "a", "scale": 2}}}}})
    assets = ["k", "m", "n"]
    usual = [row(t, t % 7, asset=asset) for t in range(1, 21) for asset in assets]
    strange, samples = STRANGE[kind]
    messages = [*usual[:24], strange, *usual[24:], *(row(t, 1) for t in range(21, 31))]
    singly = Node(plan).turns(*[[message] for message in messages])
    together = Node(plan)
    decoder = together.engine.pipelines[0].intake.decoder
    assert decoder is not None
    calls: list[Any] = []
    many = decoder.decode_many
    decoder.decode_many = lambda taken: calls.append((len(taken), many(taken))) or calls[-1][1]
    together.turns(messages[:-10], messages[-10:])
    assert by_stream(together) == by_stream(singly)
    assert totals(together) == totals(singly)
    assert len(together.predictions()) == 20 + samples + 10 - 3
    # Those of other streams were decoded at once, and in the next turn those of this one are again.
    taken = [size for size, found in calls if found is not None]
    assert taken[-1] == 10
    assert sum(taken) >= 2 * 20 + 10


def test_a_few_strange_messages_cost_few_of_the_others(plans: Plans) -> None:
    node = Node(plans({"p": {}}))
    decoder = node.engine.pipelines[0].intake.decoder
    assert decoder is not None
    one_by_one: list[bytes] = []
    single = decoder.decode
    decoder.decode = lambda payload: one_by_one.append(payload) or single(payload)
    assets = [f"m{number}" for number in range(200)]
    strange = {"m7", "m8", "m150"}
    turn = [row(1, None if asset in strange else 1, asset=asset) for asset in assets]
    node.turns(turn)
    assert len(one_by_one) == 3
    node.turns([row(2, 1, asset=asset) for asset in assets])  # all are well again
    assert len(one_by_one) == 3
    assert node.counts("invalid_values", "reason") == {"missing": 3}


def test_what_is_missing_is_counted_beside_what_was_sent_again(plans: Plans) -> None:
    again = (*row(1, "Bad", "Bad")[:3], True)
    messages = [row(1), again, row(2, None), row(3, None)]
    for turns in ([messages], [[message] for message in messages]):
        node = Node(plans({"p": {}})).turns(*turns)
        assert node.counts("invalid_values", "reason") == {"not_a_number": 2, "missing": 2}
        assert node.counts("dropped", "reason") == {"duplicate": 1}


def bad_payload(rng: random.Random) -> bytes:
    shapes = [b'{"t": 1}', b'{"a": 1, "b": 1}', b'{"t": "x", "a": 1}', b'{"t": -1, "a": 1}']
    return rng.choice([b"", b"[]", b"{", b"\xff", b"[" * 5000, *shapes])


def traffic(seed: int, count: int) -> list[Message]:
    """What a rough day may bring: good rows and tags, and everything else, to three assets."""
    rng = random.Random(seed)
    now = [100.0, 5000.0, 90_000.0]
    messages: list[Message] = []
    while len(messages) < count:
        index = rng.randrange(3)
        now[index] += rng.choice([1.0] * 20 + [0.5, 0.0, -1.0, 2.0, 10.0])
        if rng.random() < 0.003:
            now[index] = max(0.0, now[index] - 60)
        t = now[index] + (rng.choice([-0.4, 0.4, -1.5]) if rng.random() < 0.1 else 0)
        value: Any = rng.choice([0, 1, 2, 3, 40])
        if rng.random() < 0.1:
            value = rng.choice([None, "Bad", "7", True, 1e300, 99, 10**400])
        kind = rng.random()
        if kind < 0.6:
            b = rng.choice([1, 9, 20])
            messages.append(row(t, value, b, asset=f"m{index}", c=rng.random()))
        elif kind < 0.85:
            body = json.dumps({"t": t, "value": value}).encode()
            arrived_ns = round(now[index] * NS)
            messages.append((f"f/m{index}/{rng.choice('abx')}", body, arrived_ns, False))
        elif kind < 0.9:
            pipeline = rng.choice(["plain", "tags", "none"])
            messages.append(reset(f"{pipeline}/m{index}"))
        elif kind < 0.95:
            topic = rng.choice(["factory/m0/sensors", "f/m0/a", "nowhere", "\x00", "f/\x01/a"])
            messages.append((topic, bad_payload(rng), 0, False))
        elif messages:
            messages.append(rng.choice(messages[-20:]))  # again
    return messages


@pytest.fixture(scope="module")
def mixed(plans: Plans) -> Plan:
    return plans(MIXED, limits={"batch_windows": 13})


def by_stream(node: Node) -> dict[tuple[str, ...], list[Publication]]:
    """Publications of each stream in their order, predictions and transitions together."""
    streams: dict[tuple[str, ...], list[Publication]] = {}
    for one in node.sink.all:
        streams.setdefault(tuple(one.topic.split("/")[3:]), []).append(one)
    return streams


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), cuts=st.integers(0, 10**6), mean=st.sampled_from([2, 10, 100]))
def test_the_turns_do_not_matter(mixed: Plan, seed: int, cuts: int, mean: int) -> None:
    messages = traffic(seed, 300)
    rng = random.Random(cuts)
    pieces, rest = [], messages
    while rest:
        size = 1 + int(rng.expovariate(1 / mean))
        pieces.append(rest[:size])
        rest = rest[size:]
    at_once = Node(mixed).turns(messages)
    in_pieces = Node(mixed).turns(*pieces)
    assert by_stream(in_pieces) == by_stream(at_once)
    in_pieces.finish()
    at_once.finish()
    assert by_stream(in_pieces) == by_stream(at_once)
    assert totals(in_pieces) == totals(at_once)
    assert at_once.engine.predicted > 100


@settings(deadline=None, max_examples=25)
@example(75, {"lateness_seconds": 2.0, "invalid": "hold", "out_of_range": "keep"})
@example(124, {"lateness_seconds": 0.0, "invalid": "drop", "out_of_range": "keep"})
@example(63820, {"lateness_seconds": 0.0, "invalid": "hold", "out_of_range": "keep"})
@given(
    seed=st.integers(0, 10**6),
    stream=st.fixed_dictionaries(
        {
            "lateness_seconds": st.sampled_from([0.0, 2.0]),
            "invalid": st.sampled_from(["hold", "drop"]),
            "out_of_range": st.sampled_from(["keep", "hold", "drop"]),
        }
    ),
)
def test_every_message_is_accounted_for(plans: Plans, seed: int, stream: dict[str, Any]) -> None:
    """With windows of one sample: received = unrouted + resets + predictions + drops."""
    plan = plans({"p": {**ROWS, "stream": stream}}, limits={"streams": 2})
    messages = traffic(seed, 300)
    node = Node(plan)
    for start in range(0, 300, 40):
        node.turns(messages[start : start + 40])
    node.finish()
    resets = sum(topic.startswith(RESET) for topic, *_ in messages)
    unrouted = sum(node.counts("messages_unrouted", "reason", None).values())
    routed = node.value("pipeline_messages_total", pipeline="p")
    dropped = Counter(node.counts("dropped", "reason"))
    # Before a time turned out to be wrong, its sample had its window, unless it still waited.
    implausible = dropped.pop("implausible_time", 0)
    predictions = sum(node.counts("predictions", "quality").values())
    assert node.value("messages_received_total") == 300 == resets + unrouted + routed
    reordered = node.value("samples_reordered_total", pipeline="p")
    accounted = predictions + dropped.total() + reordered
    assert accounted <= routed <= accounted + implausible
    published = [one for one in node.sink.all if not one.retain]
    assert predictions == node.engine.predicted == len(published)


def test_the_engine_says_when_a_window_can_be_due(plans: Plans) -> None:
    """Windows of 4 with hop 3 at 1 Hz, of two machines; asked before each message."""
    node = Node(plans({"p": {"window": {"hop": 3}}}))
    made = []
    for t in range(1, 14):
        for machine in "mn":
            before = node.engine.predicted
            node.turns([row(t + (0.2 if machine == "n" else 0), asset=machine)])
            made.append(node.engine.predicted > before)
    assert [turn // 2 + 1 for turn in np.flatnonzero(made)] == [6, 6, 9, 9, 12, 12]
    for turn, said in enumerate(node.source.due):
        nearest = made[turn:].index(True) + 1 if any(made[turn:]) else 99
        assert 1 <= said.messages <= nearest
        assert said.messages <= said.usual_messages
        assert said.seconds <= 2.0
    assert node.source.due[0] == (4, 4, 2.0)
    assert max(said.messages for said in node.source.due[13:]) >= 2


@pytest.mark.parametrize("alignment", ["hold", "linear"])
def test_the_engine_says_when_tags_can_complete_a_window(plans: Plans, alignment: str) -> None:
    """Windows of 4 with hop 3 at 1 Hz, of two machines with two tags each; a gap at the end."""
    stream = {"alignment": alignment, "max_gap_seconds": 5.0}
    node = Node(plans({"p": {"source": TAGS, "stream": stream, "window": {"hop": 3}}}))
    made = []
    for t in (*range(1, 14), 99):
        for machine in "mn":
            for name in "ab":
                before = node.engine.predicted
                at = t + 0.25 * (name == "b")
                topic = f"f/{machine}/{name}"
                payload = json.dumps({"t": at, "value": 1}).encode()
                node.turns([(topic, payload, round(at * NS), False)])
                made.append(node.engine.predicted > before)
    assert sum(made) >= 6
    for turn, said in enumerate(node.source.due):
        nearest = made[turn:].index(True) + 1 if any(made[turn:]) else 99
        assert 1 <= said.messages <= nearest
        assert said.messages <= said.usual_messages
        assert said.seconds <= 2.0
    assert node.source.due[0] == (4, 7, 2.0)
    assert max(said.messages for said in node.source.due[30:]) >= 2
    assert max(said.usual_messages for said in node.source.due[30:]) >= 5


@pytest.mark.parametrize("every", [2, 3, 4])
def test_a_slow_tag_that_releases_grid_points_is_not_overlooked(plans: Plans, every: int) -> None:
    """Between its values the grid points wait; the next one releases several at once."""
    stream = {"alignment": "linear", "max_gap_seconds": 30.0, "max_age_seconds": 100.0}
    node = Node(plans({"p": {"source": TAGS, "stream": stream, "window": {"hop": 3}}}))
    made = []
    for t in range(1, 40):
        for name in "ab" if t % every == 0 else "a":
            before = node.engine.predicted
            node.turns([tag(t, name, 1)])
            made.append(node.engine.predicted > before)
    assert sum(made) >= 5
    for turn, said in enumerate(node.source.due):
        assert said.messages <= (made[turn:].index(True) + 1 if any(made[turn:]) else 99)


VALUES = st.sampled_from(
    [1.5, 0.1, -50.0, 50.0, 50.000001, 49.9999999, -50.0000001, 51, 1e39, 1e300, 2**53, -0.0,
     5e-324, None, "x", True]
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(
    turns=st.lists(
        st.lists(
            st.tuples(st.sampled_from("abc"), VALUES | st.floats(-60, 60), st.integers(0, 4)),
            max_size=4,
        ),
        min_size=4,
        max_size=12,
    ),
    scale=st.sampled_from([1.0, 0.1]),
    policy=st.sampled_from(["keep", "hold", "drop"]),
)
def test_a_few_tags_are_taken_as_many_are(
    plans: Plans, turns: list[list[tuple[str, Any, int]]], scale: float, policy: str
) -> None:
    """The short way for a few values and the way for a block give the same bytes and counts."""
    signals = {"a": {"scale": scale}, "b": {"scale": scale}}
    pipeline = {
        "source": {**TAGS, "signals": signals},
        "stream": {"alignment": "linear", "out_of_range": policy, "max_invalid_ratio": 1.0},
    }
    found = []
    for most in (0, tags.MAX_FEW):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tags, "MAX_FEW", most)
            node = Node(plans({"p": pipeline}))
            for number, turn in enumerate(turns):
                node.turns([tag(number + back / 4, name, value) for name, value, back in turn])
            node.finish()
            found.append((node.sink.all, totals(node)))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "change",
    [
        {"stream": {"lateness_seconds": 2.0}},
        {"stream": {"alignment": "hold"}},
        {"source": {"time": None}},  # taken from the arrival
    ],
)
def test_where_a_message_may_release_others_or_has_no_time_none_is_left(
    plans: Plans, change: dict[str, Any]
) -> None:
    node = Node(plans({"p": change}))
    node.turns(*([row(t)] for t in range(1, 9)))
    assert {due.messages for due in node.source.due} == {1}
