"""Compare the candidates of a device on networks of several kinds.

    python -m benchmarks.choice DEVICE.yaml

Prints the table of `edgeai devices` as Markdown. The latency of an accelerator includes the
transfer to its child process and back; CPU and accelerator are measured alternately.
"""

import sys
import tempfile
from pathlib import Path

from edgeai import paths
from edgeai.config.device import load_device
from edgeai.model.package import Package, load_package
from edgeai.providers.selection.choose import latency_ratio
from edgeai.providers.selection.hardware import resolve_auto
from edgeai.providers.selection.survey import Survey, survey
from tests.support.networks import chain_graph, conv_graph, dense_graph
from tests.support.packages import write_package

NETWORKS = {
    "mlp-small": (dense_graph(16, 4, [16]), 16, 4),
    "mlp-large": (dense_graph(64, 10, [1024, 1024]), 64, 10),
    "conv-silu": (conv_graph(256, 8, 16, 6), 256, 8),
    "chain": (chain_graph(512, 16, 64), 512, 16),
}


def main() -> None:
    """Verify and measure the candidates, and print the table."""
    device = resolve_auto(load_device(Path(sys.argv[1])))
    with tempfile.TemporaryDirectory() as folder:
        packages = [*_load_shipped(), *_write_networks(Path(folder))]
        result = survey(packages, device, Path(folder) / "state", report_progress=_print_progress)
    print(as_markdown(result))


def as_markdown(result: Survey) -> str:
    """Return one table for all packages, with latency p50 / p99 in us."""
    batches = result.device.measure_batches
    heads = [
        "model",
        "provider",
        "proven",
        "parity error",
        *(f"batch {one}" for one in batches),
        "to CPU",
    ]
    lines = [
        "| " + " | ".join([*heads, "chosen"]) + " |",
        "|" + "---|" * (len(heads) + 1),
    ]
    for one in result.packages:
        for verdict in one.choice.verdicts:
            latency = [verdict.latency.get(batch) for batch in batches]
            error = verdict.parity_error
            cells = [
                one.package.manifest.name,
                verdict.provider,
                "yes" if verdict.proven else f"no: {verdict.reason}",
                "" if error is None else f"{error:.0e}",
                *(
                    "" if at is None else f"{at.p50 * 1e6:.0f} / {at.p99 * 1e6:.0f}"
                    for at in latency
                ),
                f"{latency_ratio(verdict):.2f}" if verdict.latency else "",
                "yes" if verdict.provider == one.choice.provider else "",
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _print_progress(text: str) -> None:
    print(text, file=sys.stderr)


def _load_shipped() -> list[Package]:
    return [load_package(one.parent) for one in paths.shipped("models").glob("*/model.yaml")]


def _write_networks(folder: Path) -> list[Package]:
    found = []
    for name, (graph, length, channels) in NETWORKS.items():
        signals = [f"s{index}" for index in range(channels)]
        write_package(folder / name, model=graph, signals=signals, length=length, threshold=1e6)
        found.append(load_package(folder / name))
    return found


if __name__ == "__main__":
    main()
