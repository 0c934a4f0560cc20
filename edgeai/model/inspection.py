"""Read the graph of a model in a child process with limits on memory and time, and check it.

A model file is untrusted input: a parser may crash on it, and a graph may need all memory. The
child (`edgeai.model.graph_facts`) prints facts, and this module applies the rules to them. Facts
are cached by the hash of the file and the versions of onnx and ONNX Runtime, so that a restart does
not need the child.
"""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edgeai.cgroups import usable
from edgeai.config.base import Precision
from edgeai.errors import ModelError
from edgeai.model.graph_facts import ALLOWED_DOMAINS, CONTEXT_NAME, CONTROL_FLOW, INPUT_NAME
from edgeai.model.manifest import MANIFEST, TESTED_OPSET, Manifest
from edgeai.model.package import Package
from edgeai.paths import write_atomically
from edgeai.runtime_build import installed_build

TIME_LIMIT_SECONDS = 60
MAX_GRAPH_BYTES = 1024**3
FACTS_VERSION = 3  # increased when the child prints other facts, so that old caches are not used
EXTERNAL_DATA = (
    "must hold its weights: export it with external_data=False (torch.onnx.export), or join the "
    "files with onnx.save(onnx.load(OLD), NEW); weights in"
)
NUMBERS = frozenset({"float32", "double", "float16", "int32", "int64"})


Refuse = Callable[[str, Any], None]
"""Takes a broken rule and the value found."""


def inspect_packages(packages: list[Package], state_folder: Path) -> list[ModelError]:
    """Check every graph of some packages; return one error for each broken rule.

    All variants of a package must keep the same rules. Graphs without cached facts are read by
    child processes, as many at a time as this process may use CPUs.
    """

    def inspect(graph: tuple[Package, Precision]) -> list[ModelError]:
        package, precision = graph
        try:
            facts = _cached_facts(package, precision, state_folder)
        except ModelError as error:
            return [error]
        return find_faults(facts, package.manifest, str(package.variant(precision)))

    graphs = [(package, precision) for package in packages for precision in package.variants]
    with ThreadPoolExecutor(usable().threads) as pool:
        return [error for errors in pool.map(inspect, graphs) for error in errors]


def describe_opset(manifest: Manifest) -> str:
    """Return a note about a graph that is newer than edgeai's tests; empty if it is not."""
    if manifest.onnx.opset <= TESTED_OPSET:
        return ""
    return (
        f"opset {manifest.onnx.opset} is newer than the newest that edgeai is tested with, "
        f"{TESTED_OPSET}; the installed ONNX Runtime runs it"
    )


def find_faults(facts: dict[str, Any], manifest: Manifest, file: str) -> list[ModelError]:
    """Apply the rules to the facts of the child; return one error for each broken rule.

    That onnx or ONNX Runtime refuses the graph is told only if no rule of edgeai's says why.
    """
    if facts.get("error"):
        return [ModelError(file, facts["error"])]
    faults: list[ModelError] = []

    def refuse(rule: str, value: Any) -> None:
        faults.append(ModelError(file, rule, value, has_value=True))

    if facts["external_data"]:
        refuse(EXTERNAL_DATA, facts["external_data"])
    foreign = sorted(set(facts["used_domains"]) - ALLOWED_DOMAINS)
    if foreign:
        refuse("must use standard operators only; foreign domain", foreign[0])
    if facts["functions"]:
        refuse("must not define functions of its own", facts["functions"][0])
    control = sorted(CONTROL_FLOW & set(facts["operators"]))
    if control and not manifest.onnx.control_flow:
        refuse("control flow needs onnx.control_flow: true in the manifest; operator", control[0])
    named = {output.name for output in manifest.outputs}
    for node, outputs in facts["random"]:
        if named & set(outputs):
            rule = (
                "must give the same outputs for the same window: export it in evaluation mode, "
                f"without sampling; output `{min(named & set(outputs))}` depends on"
            )
            refuse(rule, node)
    _check_versions(facts, manifest, refuse)
    _check_input(facts, manifest, refuse)
    _check_outputs(facts, manifest, refuse)
    if facts["fault"] and not faults:
        return [ModelError(file, facts["fault"])]
    if not faults:
        _check_run_shapes(facts, manifest, refuse)
    return faults


def _check_input(facts: dict[str, Any], manifest: Manifest, refuse: Refuse) -> None:
    shape, dtype = list(manifest.input_shape), manifest.input_dtype
    inputs = {name: (kind, dims) for name, kind, dims in facts["inputs"]}
    wanted = [INPUT_NAME, CONTEXT_NAME] if manifest.context else [INPUT_NAME]
    if sorted(inputs) != sorted(wanted):
        rule = f"must have one input, `{INPUT_NAME}`"
        if manifest.context:
            rule = f"must have the inputs `{INPUT_NAME}` and `{CONTEXT_NAME}`"
        elif sorted(inputs) == sorted([INPUT_NAME, CONTEXT_NAME]):
            rule += f"; a second input `{CONTEXT_NAME}` needs `context` in {MANIFEST}"
        refuse(rule, list(inputs))
        return
    if manifest.context:
        _check_context(*inputs[CONTEXT_NAME], len(manifest.context), refuse)
    kind, dims = inputs[INPUT_NAME]
    if kind != dtype or not dims or isinstance(dims[0], int) or dims[1:] != shape:
        sizes = ", ".join(map(str, shape))
        rule = f"input `{INPUT_NAME}` must be {dtype} of shape (B, {sizes}), B free"
        signals = len(manifest.signals)
        if len(dims) == len(shape) + 1 and dims[-1] != shape[-1] and shape[-1] == signals:
            rule = f"{MANIFEST} lists {signals} signals, the graph has {dims[-1]}: {rule}"
        if dims and isinstance(dims[0], int):
            batch = f"{{'{INPUT_NAME}': {{0: torch.export.Dim('B')}}}}"
            rule = f"{rule} (torch.onnx.export: dynamic_shapes={batch})"
        refuse(rule, f"{kind} {tuple(dims)}")


def _check_context(kind: str, dims: list[Any], values: int, refuse: Refuse) -> None:
    """Check the shape of the second input."""
    if kind != "float32" or len(dims) != 2 or isinstance(dims[0], int) or dims[1] != values:
        rule = (
            f"input `{CONTEXT_NAME}` must be float32 of shape (B, {values}), B free, for the "
            f"{values} values of `context` in {MANIFEST}"
        )
        refuse(rule, f"{kind} {tuple(dims)}")


def _check_versions(facts: dict[str, Any], manifest: Manifest, refuse: Refuse) -> None:
    """Check that the graph requires what the manifest states: opset, domains, IR version."""
    stated = manifest.onnx
    domains = facts["domains"]
    opset = domains.get("", domains.get("ai.onnx", 0))
    if opset != stated.opset:
        refuse(f"opset must be {stated.opset}, as the manifest says", opset)
    # The empty name and `ai.onnx` are the same domain (ONNX IR specification, operator sets).
    used = {name or "ai.onnx" for name in facts["used_domains"] if name in ALLOWED_DOMAINS}
    if not used <= {name or "ai.onnx" for name in stated.domains}:
        rule = f"operator domains must be among {sorted(stated.domains)}, as the manifest says"
        refuse(rule, sorted(used))
    if facts["ir_version"] != stated.ir_version:
        rule = f"IR version must be {stated.ir_version}, as the manifest says"
        refuse(rule, facts["ir_version"])


def _check_outputs(facts: dict[str, Any], manifest: Manifest, refuse: Refuse) -> None:
    kinds = {name: kind for name, kind, _ in facts["outputs"]}
    for output in manifest.outputs:
        if output.name not in kinds:
            rule = f"must have the output `{output.name}`, which the manifest names"
            refuse(rule, sorted(kinds))
        elif kinds[output.name] not in NUMBERS:
            refuse(f"output `{output.name}` must be of numbers", kinds[output.name])


def _check_run_shapes(facts: dict[str, Any], manifest: Manifest, refuse: Refuse) -> None:
    """Check that the output shapes of two windows match the roles of the outputs."""
    if facts["run_shapes"] is None:
        return
    wanted = {
        "score": [2],
        "contribution": [2, len(manifest.signals)],
        "residual": [2],
        "domain": [2],
        "interval": [2, 2],
        "evidence": [2, len(manifest.diagnosis)],
    }
    for output in manifest.outputs:
        actual = facts["run_shapes"][output.name]
        if actual[:1] != [2] or actual != wanted.get(output.role, actual):
            rule = f"output `{output.name}` must have one row a window; for 2 windows, shape"
            refuse(rule, tuple(actual))


def _cached_facts(package: Package, precision: Precision, state_folder: Path) -> dict[str, Any]:
    manifest = package.manifest
    graph = package.variant(precision)
    graph_hash = manifest.files[graph.name]
    shape = "x".join(map(str, manifest.input_shape))
    if manifest.context:
        shape += f"+{len(manifest.context)}"
    build = installed_build()
    versions = f"{version('onnx')}-{build.name}-{build.version}-{FACTS_VERSION}"
    allowed = "control-flow" if manifest.onnx.control_flow else "plain"
    cache = state_folder / "inspection" / f"{graph_hash}-{shape}-{allowed}-{versions}.facts"
    facts = _read_cache(cache)
    if facts is None:
        facts = _facts_from_child(graph, shape, allowed)
        text = json.dumps(facts)
        # Without a cache (the folder is read-only) the next start reads the graph again.
        with contextlib.suppress(OSError):
            write_atomically(cache, f"{_digest(text)}\n{text}".encode())
    return facts


def _read_cache(cache: Path) -> dict[str, Any] | None:
    """Return cached facts; None if there are none, or if the file is damaged in any way."""
    try:
        digest, _, text = cache.read_text(encoding="utf-8").partition("\n")
    except (OSError, UnicodeDecodeError):
        return None
    if digest != _digest(text):
        return None
    facts: dict[str, Any] = json.loads(text)
    return facts


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _facts_from_child(graph: Path, shape: str, allowed: str) -> dict[str, Any]:
    """Run the child process and return the facts that it prints."""
    if graph.stat().st_size > MAX_GRAPH_BYTES:
        rule = f"must not be larger than {MAX_GRAPH_BYTES} bytes"
        raise ModelError(str(graph), rule, graph.stat().st_size)
    environment = {k: v for k, v in os.environ.items() if k != "ORT_LOAD_CONFIG_FROM_MODEL"}
    # -P: modules of the working folder, such as a user's own onnx.py, are not imported.
    command = [sys.executable, "-P", "-m", "edgeai.model.graph_facts", str(graph), shape, allowed]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            timeout=TIME_LIMIT_SECONDS,
            env=environment,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        rule = f"did not load and run within {TIME_LIMIT_SECONDS} s"
        raise ModelError(str(graph), rule) from error
    try:
        facts: dict[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        rule = f"could not be read: the reader ended with {done.returncode}"
        raise ModelError(str(graph), rule, last[0] if last else None) from error
    return facts
