"""Draw the rooms of edgeai and their imports into docs/architecture.md.

    python scripts/draw_rooms.py            # write the drawing and the table
    python scripts/draw_rooms.py --check    # exit with 1 if the page does not match the code

The drawing is a Mermaid flowchart, made from the imports; the table holds the first line of each
room's docstring. An arrow is left out if a longer way over other arrows leads to the same room.
"""

import argparse
import ast
import sys
import tomllib
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"
BEGIN = "<!-- rooms: begin; written by scripts/draw_rooms.py, run `make format` to update -->"
END = "<!-- rooms: end -->"
OMITTED = {"__main__"}  # only calls the room `cli`

Imports = dict[str, set[str]]


def find_imports() -> Imports:
    """Return, for each room, the rooms that it imports."""
    graph = grimp.build_graph("edgeai", exclude_type_checking_imports=True)
    rooms = {module.split(".")[1] for module in graph.find_children("edgeai")} - OMITTED
    imports: Imports = {room: set() for room in rooms}
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            pair = [name.split(".")[1] if "." in name else "" for name in (module, imported)]
            if pair[0] in rooms and pair[1] in rooms and pair[0] != pair[1]:
                imports[pair[0]].add(pair[1])
    return imports


def find_layers() -> list[list[str]]:
    """Return the order of the rooms, top to bottom, from the import contract."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    layers = next(one["layers"] for one in contracts if one.get("containers") == ["edgeai"])
    return [[room.strip() for room in layer.split("|")] for layer in layers]


def reduce_transitively(imports: Imports) -> Imports:
    """Remove each import that other imports imply."""
    below: Imports = {}

    def reach(room: str) -> set[str]:
        if room not in below:
            below[room] = set()
            for one in imports[room]:
                below[room] |= {one} | reach(one)
        return below[room]

    return {
        room: {one for one in found if not any(one in reach(other) for other in found - {one})}
        for room, found in imports.items()
    }


def describe(room: str) -> str:
    """Return the first line of a room's docstring."""
    file = ROOT / "edgeai" / f"{room}.py"
    if not file.is_file():
        file = ROOT / "edgeai" / room / "__init__.py"
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    if not text:
        sys.exit(f"{file.relative_to(ROOT)} has no docstring")
    return text.splitlines()[0].replace("|", "\\|")


def render() -> str:
    """Return the drawing and the table."""
    imports = find_imports()
    order = [room for layer in find_layers() for room in layer if room in imports]
    arrows = reduce_transitively(imports)
    lines = ["```mermaid", "flowchart TD"]
    for room in order:
        lines += [f"    {room} --> {one}" for one in order if one in arrows[room]]
    lines += ["```", "", "| room | what it does |", "|---|---|"]
    lines += [f"| `{room}` | {describe(room)} |" for room in order]
    return "\n".join(lines)


def main() -> None:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description="Draw the rooms into docs/architecture.md.")
    parser.add_argument("--check", action="store_true", help="only check that the page matches")
    arguments = parser.parse_args()
    page = PAGE.read_text(encoding="utf-8")
    before, found, rest = page.partition(BEGIN)
    _, found_end, after = rest.partition(END)
    if not found or not found_end:
        sys.exit(f"{PAGE.relative_to(ROOT)} lacks the lines {BEGIN} and {END}")
    wanted = f"{before}{BEGIN}\n\n{render()}\n\n{END}{after}"
    if arguments.check:
        if page != wanted:
            sys.exit("docs/architecture.md does not match the imports: run `make format`")
        print("docs/architecture.md matches the imports")
    elif page != wanted:
        PAGE.write_text(wanted, encoding="utf-8")


if __name__ == "__main__":
    main()
