"""Change one operator, number or statement at a time, and list the changes that no test finds.

    python scripts/mutate.py streams --minutes 15 [--seed 1]

Works in a copy of the checkout. Each mutant is tested with the tests of its own room only, so a
survivor shows what these tests leave to others.
"""

import argparse
import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEST_SECONDS = 240
COPIED = ("edgeai", "tests", "benchmarks", "models", "devices", "configs", "pyproject.toml")

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn,
    ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And, ast.Add: ast.Sub, ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult,
}  # fmt: skip

Mutation = tuple[int, str, Callable[[ast.Module], None]]
"""Line, description, and the function that changes a tree of the same source."""


def mutations(source: str) -> Iterator[Mutation]:
    """Yield the mutations of a module."""
    tree = ast.parse(source)
    for index, node in enumerate(ast.walk(tree)):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
            yield line, _named("comparison", node.ops[0]), _at(index, _swap_comparison)
        elif isinstance(node, ast.BoolOp) or (
            isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in SWAPS
        ):
            yield line, _named("operator", node.op), _at(index, _swap_operator)
        elif isinstance(node, ast.Constant) and type(node.value) in {int, bool}:
            new = not node.value if isinstance(node.value, bool) else node.value + 1
            yield line, f"{node.value} -> {new}", _at(index, _change_constant)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield line, "`not` removed", _at(index, _remove_not)
        elif (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)) or (
            isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute)
        ):
            yield line, f"removed: {ast.unparse(node)[:60]}", _at(index, _remove_statement)


def _named(what: str, operator: ast.AST) -> str:
    return f"{what} {type(operator).__name__} -> {SWAPS[type(operator)].__name__}"


def _at(index: int, change: Callable[[ast.Module, ast.AST], None]) -> Callable[[ast.Module], None]:
    def apply(tree: ast.Module) -> None:
        for number, node in enumerate(ast.walk(tree)):
            if number == index:
                change(tree, node)
                return

    return apply


def _swap_comparison(_: ast.Module, node: ast.AST) -> None:
    assert isinstance(node, ast.Compare)
    node.ops[0] = SWAPS[type(node.ops[0])]()  # type: ignore[call-overload]


def _swap_operator(_: ast.Module, node: ast.AST) -> None:
    node.op = SWAPS[type(node.op)]()  # type: ignore[attr-defined]


def _change_constant(_: ast.Module, node: ast.AST) -> None:
    assert isinstance(node, ast.Constant)
    node.value = not node.value if isinstance(node.value, bool) else node.value + 1  # type: ignore[operator]


def _remove_not(tree: ast.Module, node: ast.AST) -> None:
    _replace(tree, node, node.operand)  # type: ignore[attr-defined]


def _remove_statement(tree: ast.Module, node: ast.AST) -> None:
    _replace(tree, node, ast.copy_location(ast.Pass(), node))  # type: ignore[type-var]


def _replace(tree: ast.Module, old: ast.AST, new: ast.AST) -> None:
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
            elif isinstance(value, list) and old in value:
                value[value.index(old)] = new


def test(folder: Path, tests: list[str]) -> bool:
    """Return whether the tests pass."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
    ]
    environment = {**os.environ, "PYTHONPATH": str(folder), "CI": "1"}
    try:
        done = subprocess.run(
            [*command, *tests], cwd=folder, env=environment, capture_output=True,
            timeout=TEST_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def main() -> None:
    """Sample mutants until the time is over, and print the survivors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("room")
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    tests = [f"tests/{arguments.room}"]
    with tempfile.TemporaryDirectory(prefix="mutate-") as name:
        folder = Path(name)
        for part in COPIED:
            source = ROOT / part
            (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / part)
        began = time.monotonic()
        if not test(folder, tests):
            sys.exit("the tests fail without a mutation")
        print(f"{arguments.room}: the tests take {time.monotonic() - began:.0f} s", flush=True)
        modules = sorted((folder / "edgeai" / arguments.room).rglob("*.py"))
        texts = {path: path.read_text() for path in modules}
        every = [(path, one) for path, text in texts.items() for one in mutations(text)]
        random.Random(arguments.seed).shuffle(every)  # noqa: S311  a sample, not a secret
        tried = survived = 0
        for path, (line, what, apply) in every:
            if time.monotonic() - began > arguments.minutes * 60:
                break
            tree = copy.deepcopy(ast.parse(texts[path]))
            apply(tree)
            path.write_text(ast.unparse(ast.fix_missing_locations(tree)))
            tried += 1
            if test(folder, tests):
                survived += 1
                print(f"survived: {path.relative_to(folder)}:{line}: {what}", flush=True)
            path.write_text(texts[path])
        print(f"{arguments.room}: {survived} of {tried} mutants survived, of {len(every)} possible")


if __name__ == "__main__":
    main()
