"""Every command of the documentation is run as it is printed, or its page says why not."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from tests.support.live import patient
from tests.support.pages import BLOCK, Block, Desk, blocks, commands, page_before, pattern_of, walk
from tests.support.paths import REPOSITORY

DOCS = REPOSITORY / "docs"

RUN_ELSEWHERE = {
    "docs/training.md": "tests/training/test_docs.py",
    "docs/python.md": "tests/test_python_page.py",
    "docs/monitoring.md": "tests/system/test_deploy.py",
}
"""Pages whose blocks another test runs. All other pages are run here."""

TRANSLATIONS = {
    "README.ko.md": "README.md",
    "docs/ko/first-hour.md": "docs/first-hour.md",
}
"""Korean pages: their blocks are those of the English page, which are run."""

NOT_PAGES = {
    "CONTRIBUTING.md": "for those who change edgeai; its commands are those of the Makefile",
    "CHANGELOG.md": "has no commands",
}

PAGES = {
    str(path.relative_to(REPOSITORY)): path
    for path in sorted(
        [
            *REPOSITORY.glob("*.md"), *DOCS.rglob("*.md"), *REPOSITORY.glob("benchmarks/*.md"),
            *REPOSITORY.glob("models/*/*.md"),
        ]
    )
    if path.name not in NOT_PAGES
}  # fmt: skip

RUN_HERE = [
    name
    for name, path in PAGES.items()
    if name not in RUN_ELSEWHERE and name not in TRANSLATIONS
    if any(block.is_run_here for block in commands(path.read_text()))
]

BEFORE = {name: page_before(PAGES[name].read_text()) for name in RUN_HERE}
"""The page after which each page goes on, or None."""

REASON_CHARACTERS = 15
COMMAND = re.compile(
    r"^ {4}(\$ )?(edgeai|python3?|pip|make|mosquitto\w*|docker|sudo|curl|apt\S*|npm|git) ", re.M
)
TEST = re.compile(r"\b(?:tests|benchmarks)(?:/\w+)+(?:\.py)?")


@pytest.mark.timeout(patient(240))
@pytest.mark.broker
@pytest.mark.parametrize("name", [name for name in RUN_HERE if BEFORE[name] is None])
def test_the_commands_of_a_page(name: str, tmp_path: Path) -> None:
    """In a folder and a network of its own, with what pages name of a checkout."""
    for part in ("configs", "examples", "models"):
        (tmp_path / part).symlink_to(REPOSITORY / part)
    with Desk(tmp_path) as desk:
        desk.start_broker()
        for page in [name, *(other for other in RUN_HERE if BEFORE[other] == name)]:
            walk(PAGES[page], desk)


def test_each_page_has_one_test_that_runs_it() -> None:
    assert set(BEFORE.values()) <= {None, *RUN_HERE}
    for name, test in RUN_ELSEWHERE.items():
        assert name in PAGES, f"{name} is gone"
        assert Path(name).name in (REPOSITORY / test).read_text(), f"{test} does not name {name}"
    with_commands = {name for name, path in PAGES.items() if commands(path.read_text())}
    for name in with_commands - set(RUN_HERE) - set(RUN_ELSEWHERE) - set(TRANSLATIONS):
        assert not any(block.is_run_here for block in commands(PAGES[name].read_text())), name


def test_what_is_not_run_has_a_reason_and_the_tests_that_it_names_exist() -> None:
    """`pytest -s` lists the reasons."""
    count = 0
    for name, path in PAGES.items():
        for block in commands(path.read_text()):
            reason = block.marks.get("not run", block.marks.get("run by"))
            if reason is None:
                continue
            count += 1
            print(f"{name}:{block.line}: {reason}")
            named = TEST.findall(reason)
            assert len(reason) >= REASON_CHARACTERS, f"{name}:{block.line}: {reason!r}"
            assert named or "run by" not in block.marks, f"{name}:{block.line}: names no test"
            for test in named:
                assert (REPOSITORY / test).exists(), f"{name}:{block.line}: there is no {test}"
    assert count > 0


@pytest.mark.parametrize("name", PAGES)
def test_commands_stand_in_blocks_that_are_run(name: str) -> None:
    """A command in an indented block, or in a block of another kind, would not be run."""
    text = PAGES[name].read_text()
    assert [found[0] for found in COMMAND.finditer(BLOCK.sub("", text))] == []
    untyped = "\n".join(textwrap.indent(one.text, "    ") for one in blocks(text) if not one.kind)
    assert [found[0] for found in COMMAND.finditer(untyped)] == []
    assert not {"bash", "shell", "console", "zsh"} & {block.kind for block in blocks(text)}
    fences = re.findall(r"^```", text, re.MULTILINE)
    assert len(fences) == 2 * len(blocks(text)), "a fence that the tests do not see"


@pytest.mark.parametrize(("korean", "english"), TRANSLATIONS.items())
def test_a_translation_has_all_of_its_page(korean: str, english: str) -> None:
    """The same headings, blocks, tables and links, and a link to each other."""
    texts = [PAGES[name].read_text() for name in (korean, english)]
    ours, theirs = ([(one.kind, one.text, one.marks) for one in blocks(text)] for text in texts)
    assert ours == theirs
    for pattern in (r"^#+ ", r"^\|", r"^\d\. ", r"^!\[", r"^- "):
        counts = [len(re.findall(pattern, text, re.MULTILINE)) for text in texts]
        assert counts[0] == counts[1], pattern
    linked = [_links(name) for name in (korean, english)]
    pair = {PAGES[korean], PAGES[english]}
    assert pair <= linked[0] | {PAGES[korean]}
    assert pair <= linked[1] | {PAGES[english]}
    others = {PAGES[one] for both in TRANSLATIONS.items() for one in both}
    assert linked[0] - others == linked[1] - others
    assert re.search("[가-힣]", texts[0])


@pytest.mark.parametrize("name", [name for name in PAGES if not name.startswith("docs/")])
def test_links_of_pages_outside_the_site_lead_somewhere(name: str) -> None:
    """`make check` looks at those of the site."""
    outside = {link for link in _links(name) if "http" not in str(link)}
    assert [str(link) for link in outside if not link.exists()] == []


def _links(name: str) -> set[Path]:
    """Return the files that a page links."""
    path = PAGES[name]
    found = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text())
    return {(path.parent / link).resolve() for link in found}


# ------------------------------------------------------------------- the instrument finds faults


@pytest.mark.parametrize(
    ("page", "told"),
    [
        ("```sh\necho one\n```\n\n```text\ntwo\n```\n", "printed:\none"),
        ("```sh\necho one\necho two\n```\n\n```text\none\n```\n", "printed:\none\ntwo"),
        ("```sh\nfalse\ntrue\n```\n", "exit code 1"),
        ("```sh\nfalse | true\n```\n", "exit code 1"),
        ("<!-- exit code: 2 -->\n```sh\ntrue\n```\n", "exit code 0"),
        ("```text\none\n```\n", "no command before this block"),
        ("```sh\nmkdir /opt/edgeai\n```\n", "would change this machine: [' /opt/edgeai']"),
        ("```sh\nsudo true\n```\n", "would change this machine: ['sudo']"),
        ("# one.yaml\n\n```yaml\n# one.yaml\na: 1\n```\n\n```sh\ncat two.yaml\n```\n", "No such"),
    ],
)
def test_a_page_that_is_wrong_is_found(page: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(page)
    with Desk(tmp_path) as desk, pytest.raises(AssertionError) as caught:
        walk(tmp_path / "page.md", desk)
    assert told in str(caught.value)


def test_output_is_compared_with_what_may_differ() -> None:
    page = "```text\na ... c\n...\nlast\n```\n"
    pattern = pattern_of(blocks(page)[0].text)
    assert re.fullmatch(pattern, "a b c\nlast\n")
    assert re.fullmatch(pattern, "a b c\nmore\nand more\nlast \n")
    assert not re.fullmatch(pattern, "a b d\nlast\n")
    assert not re.fullmatch(pattern, "a b c\nlast\nmore\n")


def test_the_comment_before_a_block_belongs_to_it() -> None:
    page = "<!-- not run: no engine: none -->\n```sh\nx\n```\n\n<!-- more -->\n\n```sh\ny\n```\n"
    assert commands(page) == [
        Block("sh", "x\n", {"not run": "no engine: none"}, 1),
        Block("sh", "y\n", {}, 8),
    ]
