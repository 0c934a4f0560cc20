"""How Sphinx builds the documentation into build/docs: `make docs`."""

import re
import shutil
from pathlib import Path

from sphinx.application import Sphinx

from edgeai.version import __version__

DOCS = Path(__file__).parent
OUTSIDE_LINK = re.compile(r"\[([^\[\]]+)\]\((\.\./[^)#\s]+)(?:#[^)\s]*)?\)")
FLOWCHART = re.compile(r"^```mermaid\nflowchart (TD|LR)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NODE = r'(\w+)(?:\["([^"]+)"\])?'
ARROW = re.compile(rf" *{NODE} -->(?:\|([^|]+)\|)? {NODE}")

project = "edgeai"
author = "the edgeai authors"
release = __version__
extensions = ["myst_parser", "sphinx.ext.graphviz"]
source_suffix = {".md": "markdown"}
myst_heading_anchors = 4  # links such as `config.md#device` lead to headings
graphviz_output_format = "svg"
highlight_language = "text"
nitpicky = True
suppress_warnings = ["misc.highlighting_failure"]  # such as `csv`, which Pygments does not know

# Everything that a page loads lies beside it: the site also works on a PC without a network.
html_theme = "furo"
html_title = f"edgeai {release}"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["docs.css"]


def name_outside_files(page: Path, text: str) -> str:
    """Replace links to files outside `docs` by their names: the site does not hold these files."""

    def name(link: re.Match[str]) -> str:
        target = (page.parent / link[2]).resolve()
        if target.is_relative_to(DOCS):
            return link[0]
        path = target.relative_to(DOCS.parent)
        if not target.exists():  # the strict build reports the link
            return link[0]
        label = link[1].strip("`/")
        return f"`{path}`" if label in str(path) else f"{link[1]} (`{path}`)"

    return OUTSIDE_LINK.sub(name, text)


def draw_flowcharts(text: str) -> str:
    """Replace Mermaid flowcharts, which need a script of their own, by drawings of Graphviz."""
    if shutil.which("dot") is None:
        return text.replace("```mermaid\n", "```text\n")

    def draw(found: re.Match[str]) -> str:
        lines = [
            "bgcolor=transparent",
            f"rankdir={'LR' if found[1] == 'LR' else 'TB'}",
            'node [shape=box, style="rounded,filled", fillcolor=white, fontname=sans]',
            'edge [fontname=sans, fontsize=10, color="#666666", fontcolor="#666666"]',
        ]
        for line in found[2].splitlines():
            arrow = ARROW.fullmatch(line)
            if arrow is None:
                raise ValueError(f"a flowchart holds a line that cannot be drawn: {line}")
            one, one_label, label, other, other_label = arrow.groups()
            lines += [f'"{one}" [label="{one_label}"]'] if one_label else []
            lines += [f'"{other}" [label="{other_label}"]'] if other_label else []
            lines.append(f'"{one}" -> "{other}"' + (f' [label=" {label} "]' if label else ""))
        return "\n".join(["```{graphviz}", "digraph {", *lines, "}", "```"])

    return FLOWCHART.sub(draw, text)


def prepare(app: Sphinx, name: str, source: list[str]) -> None:
    """Adapt the text of a page, which is written to be read in the repository too."""
    page = Path(app.env.doc2path(name))
    source[0] = draw_flowcharts(name_outside_files(page, source[0]))


def setup(app: Sphinx) -> None:
    """Register what adapts the pages."""
    app.connect("source-read", prepare)
