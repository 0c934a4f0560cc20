"""Derive what a child must load from a candidate of a device profile and a package."""

import hashlib
import os
from pathlib import Path

from edgeai.config.base import Precision
from edgeai.config.candidates import AnyAccelerator, Compiled
from edgeai.errors import ModelError, listed
from edgeai.model.manifest import CONTEXT_NAME, INPUT_NAME, MANIFEST
from edgeai.model.package import Package
from edgeai.providers.child.spec import ChildSpec
from edgeai.providers.selection.cache import mark_used
from edgeai.providers.session import batch_capacity


def child_spec(candidate: AnyAccelerator, package: Package, state_folder: Path) -> ChildSpec:
    """Return what the child must load; the provider's own cache is in the state folder.

    Raises:
        ModelError: The package does not contain the variant or artefact.
    """
    manifest = package.manifest
    graph = graph_of(candidate, package)
    window = manifest.input_shape
    return ChildSpec(
        kind=candidate.kind,
        graph=str(graph.absolute()),
        input_name=INPUT_NAME,
        outputs=[output.name for output in manifest.outputs],
        window=window,
        dtype=manifest.input_dtype,
        provider=candidate.execution_provider,
        provider_options=_with_context(
            candidate.options(_cache_folder(candidate, graph, package, state_folder), window),
            len(manifest.context),
        ),
        library=candidate.plugin,
        device=candidate.device,
        threads=candidate.threads,
        batch_sizes=_batch_sizes(candidate, manifest.input_bytes),
        environment=candidate.environment,
        io_binding=candidate.io_binding and candidate.kind == "ort" and not manifest.context,
        min_nodes_share=candidate.min_nodes_share,
        context=len(manifest.context),
    )


def _with_context(options: dict[str, str], context: int) -> dict[str, str]:
    """Add the shape of the second input to the options that name the shapes of all inputs."""
    if not context:
        return options
    found = dict(options)
    for name, value in options.items():
        if "_profile_" in name:  # window:SIZExWxC
            size = value.partition(":")[2].partition("x")[0]
            found[name] = f"{value},{CONTEXT_NAME}:{size}x{context}"
    return found


def graph_of(candidate: AnyAccelerator, package: Package) -> Path:
    """Return the file to load; ModelError if the package does not contain it."""
    if not isinstance(candidate, Compiled) or candidate.source == "graph":
        return package.variant(candidate.variant)
    device = candidate.device_type or ""
    artefact = package.compiled(candidate.backend, device)
    if artefact is None:
        known = [f"{one.backend} {one.device}".strip() for one in package.manifest.compiled]
        wanted = f"{candidate.backend} {device}".rstrip()
        rule = f"holds nothing compiled for {wanted}; compiled files: {listed(known)}"
        raise ModelError(str(package.folder / MANIFEST), rule)
    return package.folder / artefact.file


def precision_of(candidate: AnyAccelerator, package: Package) -> Precision:
    """Return the precision of the arithmetic, which decides the tolerance."""
    if isinstance(candidate, Compiled) and candidate.source == "artefact":
        artefact = package.compiled(candidate.backend, candidate.device_type or "")
        if artefact is not None:
            return artefact.precision
    return candidate.precision


def _batch_sizes(candidate: AnyAccelerator, window_bytes: int) -> list[int]:
    """Return the batch sizes that the engine can fill: with large windows its batches are small."""
    sizes = sorted(set(candidate.batch_sizes))
    capacity = batch_capacity(sizes[-1], window_bytes)
    return [size for size in sizes if size <= capacity] or sizes[:1]


def _cache_folder(
    candidate: AnyAccelerator, graph: Path, package: Package, state_folder: Path
) -> Path | None:
    """Return the folder of compiled models for this graph, provider and environment.

    Return None if it cannot be written; then each start compiles the model again.
    """
    known = [package.manifest.files[graph.name], candidate.label, candidate.python or ""]
    name = hashlib.sha256("\n".join(known).encode()).hexdigest()[:24]
    folder = state_folder.absolute() / "providers" / "compiled" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    if not os.access(folder, os.W_OK):
        return None
    mark_used(folder)
    return folder
