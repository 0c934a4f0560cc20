"""The Grafana dashboards as files: structure, languages, and the rules of Grafana's linter.

The linter itself is a Go program that cannot be installed here. Each rule below is written from its
documentation (github.com/grafana/dashboard-linter, docs/rules) and has its name.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as grafana

from deploy.grafana.source import dashboards as source
from deploy.grafana.source import layout, queries, texts
from tests.support.dashboards import (
    BY_NAME,
    DASHBOARDS,
    at_the_test,
    expressions_of,
    panels_of,
    variable_queries,
)
from tests.support.paths import REPOSITORY
from tests.support.prometheus import PROMTOOL

HANGUL = re.compile("[가-힣]")
UID = "${datasource}"
UNITS = {"none", "s", "bytes", "Bps", "percentunit", "cps", "dateTimeFromNow"}
"""Of the units that the linter knows, those that are used here."""
each_dashboard = pytest.mark.parametrize("name", BY_NAME, ids="-".join)


def selectors(expression: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the matchers of each selector."""
    for found in re.finditer(r"\b([a-zA-Z_:]\w*)\{([^}]*)\}", expression):
        yield found[1], found[2]


def outside_of_selectors(expression: str) -> str:
    return re.sub(r"\b\w+\{[^}]*\}", "", expression)


def exempt(name: tuple[str, str], rule: str) -> set[str]:
    """The titles of a dashboard's panels that the file `.lint` exempts from a rule."""
    path = REPOSITORY / "deploy" / "grafana" / "dashboards" / name[0] / ".lint"
    entry = yaml.safe_load(path.read_text())["exclusions"].get(rule, {"entries": []})
    assert entry["entries"] == [] or entry["reason"]
    title = BY_NAME[name]["title"]
    return {one["panel"] for one in entry["entries"] if one["dashboard"] == title}


# ------------------------------------------------------------------------------------ structure


def test_there_are_four_dashboards_in_two_languages() -> None:
    assert set(BY_NAME) == {
        (language, name)
        for language in ("en", "ko")
        for name in ("overview", "machine", "runtime", "providers")
    }


def test_the_files_fit_the_source_and_a_difference_is_found(tmp_path: Path) -> None:
    script = REPOSITORY / "scripts" / "write_dashboards.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    for part in ("scripts", "deploy", "edgeai"):
        shutil.copytree(
            REPOSITORY / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__")
        )
    changed = tmp_path / "deploy" / "grafana" / "dashboards" / "ko" / "runtime.json"
    changed.write_text(changed.read_text().replace("process_open_fds", "process_max_fds"))
    old = changed.with_name("old.json")
    old.write_text("{}")
    copy = tmp_path / "scripts" / "write_dashboards.py"
    done = subprocess.run([sys.executable, copy, "--check"], capture_output=True, check=False)
    assert done.returncode == 1
    assert b"ko/runtime.json" in done.stderr
    assert b"ko/old.json" in done.stderr


@each_dashboard
def test_a_dashboard_loads_from_a_file(name: tuple[str, str]) -> None:
    """Provisioning needs a fixed uid and no id; a link finds its dashboard by the uid."""
    dashboard = BY_NAME[name]
    assert "id" not in dashboard
    assert dashboard["uid"] == f"edgeai-{name[1]}-{name[0]}"
    assert len(dashboard["uid"]) <= 40  # longer ones are refused
    assert dashboard["schemaVersion"] == layout.SCHEMA_VERSION
    others = {one["uid"] for one in BY_NAME.values()}
    links = re.findall(r'"url": "/d/([^?"]+)', json.dumps(dashboard))
    assert set(links) <= others
    assert all(uid.endswith(f"-{name[0]}") for uid in links)


def test_titles_are_unique() -> None:
    titles = [one["title"] for one in BY_NAME.values()]
    assert len(set(titles)) == len(titles)


@each_dashboard
def test_panels_have_a_place_and_a_number_of_their_own(name: tuple[str, str]) -> None:
    panels = BY_NAME[name]["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        assert at["x"] >= 0
        assert at["x"] + at["w"] <= layout.COLUMNS
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not taken & cells, panel["title"]
        taken |= cells


@each_dashboard
def test_what_a_panel_refers_to_exists(name: tuple[str, str]) -> None:
    dashboard = BY_NAME[name]
    known = {one["name"] for one in dashboard["templating"]["list"]} | {
        "__range",
        "__rate_interval",
    }
    for panel in panels_of(dashboard):
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters)
        text = json.dumps([target["expr"] for target in panel["targets"]]) + panel["title"]
        assert set(re.findall(r"\$(\w+)", text)) <= known
        assert panel.get("repeat", "datasource") in known
        columns = set()
        for step in panel.get("transformations", []):
            columns |= set(step["options"].get("renameByName", {}).values())
            for field in step["options"].get("include", {}).get("names", []):
                value = re.fullmatch(r"Value(?: #(\w))?", field)
                assert value is None or (value[1] or "A") in letters
                # With one query, Grafana names the column without its letter.
                assert value is None or (value[1] is None) == (len(letters) == 1)
        for override in panel["fieldConfig"]["overrides"]:
            matcher = override["matcher"]
            allowed = letters if matcher["id"] == "byFrameRefID" else columns
            assert matcher["options"] in allowed, panel["title"]


@each_dashboard
def test_a_table_shows_labels_that_its_queries_return(name: tuple[str, str]) -> None:
    for panel in panels_of(BY_NAME[name]):
        if panel["type"] != "table" or len(panel["targets"]) == 1:
            continue
        returned = {
            label.strip()
            for target in panel["targets"]
            for labels in re.findall(r"^max by \(([^)]*)\)", target["expr"])
            for label in labels.split(",")
        }
        (shown,) = [
            step["options"]["include"]["names"]
            for step in panel["transformations"]
            if step["id"] == "filterFieldsByName"
        ]
        assert {one for one in shown if not one.startswith("Value")} <= returned


def differences(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """Yield where a tree differs from another, which may hold more keys."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            if key in theirs:
                yield from differences(value, theirs[key], f"{path}.{key}")
            else:
                yield f"{path}.{key}"
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(one, other, f"{path}[{number}]")
    elif ours != theirs:
        yield f"{path}: {ours!r}, {theirs!r}"


def through_the_types_of_grafana(dashboard: Any) -> Any:
    """Read a dashboard with the types that Grafana makes from its schemas, and write it again."""
    plugins.register_default_plugins()  # the options of each kind of panel
    return json.loads(JSONEncoder().encode(grafana.Dashboard.from_json(dashboard)))


@each_dashboard
def test_the_types_of_grafana_know_every_key(name: tuple[str, str]) -> None:
    """They leave out a key that they do not know."""
    assert list(differences(BY_NAME[name], through_the_types_of_grafana(BY_NAME[name]))) == []


def test_the_types_of_grafana_find_a_wrong_key() -> None:
    wrong = json.loads(json.dumps(BY_NAME["en", "runtime"]))
    curves = [panel for panel in panels_of(wrong) if panel["type"] == "timeseries"]
    curves[0]["options"]["legend"]["position"] = "bottom"
    curves[1]["fieldConfig"]["defaults"]["custom"]["lineColour"] = "red"
    found = list(differences(wrong, through_the_types_of_grafana(wrong)))
    assert [one.rpartition(".")[2] for one in found] == ["position", "lineColour"]


# ------------------------------------------------------------- languages, and colour with a text


def without_texts(tree: Any) -> Any:
    """Return a tree without what is translated."""
    translated = {
        "title", "description", "label", "text", "legendFormat", "uid", "tags", "url",
        "renameByName", "sort", "options", "overrides",
    }  # fmt: skip
    if isinstance(tree, dict):
        return {key: without_texts(one) for key, one in tree.items() if key not in translated}
    return [without_texts(one) for one in tree] if isinstance(tree, list) else tree


@pytest.mark.parametrize("name", ["overview", "machine", "runtime", "providers"])
def test_both_languages_show_the_same(name: str) -> None:
    english, korean = BY_NAME["en", name], BY_NAME["ko", name]
    assert without_texts(english) == without_texts(korean)
    assert not HANGUL.search(json.dumps(english, ensure_ascii=False))


def test_every_text_is_translated_and_used() -> None:
    same_in_both = {"CPU", "$parameter"}
    titled = [*texts.PANELS.values(), *texts.DASHBOARDS.values()]
    every = [text for one in titled for text in one]
    every += [*texts.ROWS.values(), *texts.WORDS.values()]
    for english, korean in every:
        assert english
        assert HANGUL.search(korean) or english == korean in same_in_both, korean
    rendered = json.dumps([layout.render(one, "ko") for one in source.ALL], ensure_ascii=False)
    unused = [
        text.ko for text in every if json.dumps(text.ko, ensure_ascii=False)[1:-1] not in rendered
    ]
    assert not unused


@each_dashboard
def test_a_state_has_a_text_beside_its_colour(name: tuple[str, str]) -> None:
    mapped = 0
    for panel in panels_of(BY_NAME[name]):
        defaults = panel["fieldConfig"]["defaults"]
        mappings = list(defaults["mappings"])
        for override in panel["fieldConfig"]["overrides"]:
            for one in override["properties"]:
                mappings += one["value"] if one["id"] == "mappings" else []
        for mapping in mappings:
            shown = [result["text"] for result in mapping["options"].values()]
            assert all(re.fullmatch(r"\S .+", text) for text in shown)  # a symbol and a word
            assert len({text[0] for text in shown}) == len(shown)
            assert len(set(shown)) == len(shown)
            mapped += 1
        if panel["type"] == "stat" and len(defaults["thresholds"]["steps"]) > 1:
            assert panel["options"]["textMode"] in {"auto", "value_and_name"}
    assert mapped >= 2


# --------------------------------------------------------- the rules of Grafana's dashboard linter


@each_dashboard
def test_template_datasource_rule(name: tuple[str, str]) -> None:
    (found,) = [one for one in BY_NAME[name]["templating"]["list"] if one["type"] == "datasource"]
    assert (found["name"], found["label"]) == ("datasource", "Data source")
    assert found["query"] == "prometheus"


@each_dashboard
@pytest.mark.parametrize("variable", ["job", "instance"])
def test_template_job_rule_and_template_instance_rule(name: tuple[str, str], variable: str) -> None:
    (found,) = [one for one in BY_NAME[name]["templating"]["list"] if one["name"] == variable]
    assert found["type"] == "query"
    assert found["label"] == variable
    assert found["datasource"]["uid"] == UID
    assert found["multi"] is True
    assert found["includeAll"] is True
    assert found["allValue"] == ".+"


@each_dashboard
def test_template_on_time_change_reload_rule(name: tuple[str, str]) -> None:
    found = [one for one in BY_NAME[name]["templating"]["list"] if one["type"] == "query"]
    assert len(found) >= 3
    assert all(one["refresh"] == 2 for one in found)


@each_dashboard
def test_uneditable_dashboard(name: tuple[str, str]) -> None:
    assert BY_NAME[name]["editable"] is False


@each_dashboard
def test_panel_datasource_rule(name: tuple[str, str]) -> None:
    for panel, target in expressions_of(BY_NAME[name]):
        assert panel["datasource"]["uid"] == target["datasource"]["uid"] == UID


@each_dashboard
def test_panel_no_targets_rule(name: tuple[str, str]) -> None:
    assert all(panel["targets"] for panel in panels_of(BY_NAME[name]))


@each_dashboard
def test_panel_title_description_rule(name: tuple[str, str]) -> None:
    for panel in panels_of(BY_NAME[name]):
        assert panel["title"].strip()
        assert panel["description"].strip().endswith(".")


@each_dashboard
def test_panel_units_rule(name: tuple[str, str]) -> None:
    for panel in panels_of(BY_NAME[name]):
        fields = panel["fieldConfig"]
        changed = [one for override in fields["overrides"] for one in override["properties"]]
        units = [one["value"] for one in changed if one["id"] == "unit"]
        assert {fields["defaults"]["unit"], *units} <= UNITS


@pytest.mark.skipif(PROMTOOL is None, reason="prometheus is not installed")
def test_target_promql_rule_and_template_label_promql_rule(tmp_path: Path) -> None:
    """All expressions are valid: promtool reads them as recording rules."""
    every = {
        at_the_test(target["expr"])
        for dashboard in BY_NAME.values()
        for _, target in expressions_of(dashboard)
    }
    for dashboard in BY_NAME.values():
        every |= {at_the_test(query) for query in variable_queries(dashboard)}
    rules = [{"record": f"expression_{n}", "expr": one} for n, one in enumerate(sorted(every))]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}))
    done = subprocess.run(
        [str(PROMTOOL), "check", "rules", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"{len(rules)} rules found" in done.stdout


@each_dashboard
@pytest.mark.parametrize("label", ["job", "instance"])
def test_target_job_rule_and_target_instance_rule(name: tuple[str, str], label: str) -> None:
    without = set()
    for panel, target in expressions_of(BY_NAME[name]):
        found = list(selectors(target["expr"]))
        assert found
        # A metric without braces would escape this test.
        rest = outside_of_selectors(target["expr"])
        assert not re.search(r"\b(edgeai|process|scrape)_|\bup\b|\bALERTS", rest), target["expr"]
        if any(f'{label}=~"${label}"' not in matchers for _, matchers in found):
            without.add(panel["title"])
    assert without == exempt(name, f"target-{label}-rule")


@each_dashboard
def test_target_rate_interval_rule(name: tuple[str, str]) -> None:
    without = set()
    for panel, target in expressions_of(BY_NAME[name]):
        for found in re.finditer(
            r"\b(?:rate|irate|increase)\(\w+\{[^}]*\}(\[[^]]*\])", target["expr"]
        ):
            if found[1] != "[$__rate_interval]":
                without.add(panel["title"])
    assert without == exempt(name, "target-rate-interval-rule")


@each_dashboard
def test_target_counter_agg_rule(name: tuple[str, str]) -> None:
    for _, target in expressions_of(BY_NAME[name]):
        without = re.sub(r"\b(?:rate|irate|increase)\(\w+\{[^}]*\}\[", "", target["expr"])
        for metric, _ in selectors(without):
            assert not metric.endswith(("_total", "_count", "_sum", "_bucket")), target["expr"]


# -------------------------------------------------------------------------------------- the source


def test_a_metric_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="edgeai exports no series edgeai_scores"):
        queries.metric("edgeai_scores")
    with pytest.raises(ValueError, match="has no label asset"):
        queries.metric("edgeai_streams", of="asset")
    with pytest.raises(ValueError, match="has no label provider"):
        queries.metric("edgeai_streams", 'provider="cpu"')
    assert queries.metric("edgeai_turn_seconds_bucket", 'le="1.0"').startswith("edgeai_turn")


def test_all_dashboards_are_files() -> None:
    assert len(DASHBOARDS) == len(source.ALL) * len(texts.LANGUAGES)
