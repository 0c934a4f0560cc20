"""PromQL of metrics that exist, with the matchers of the dashboard's variables."""

import re
from collections.abc import Iterator

from edgeai.metrics.table import METRICS

NODE = 'job=~"$job", instance=~"$instance"'
"""Matchers of the chosen nodes."""
WITHIN = {
    "node": NODE,
    "pipeline": f'{NODE}, pipeline=~"$pipeline"',
    "asset": f'{NODE}, pipeline=~"$pipeline", asset=~"$asset"',
}
STREAM = "job, instance, pipeline, asset"
"""The labels that name an asset of a pipeline on a node."""
HISTOGRAM_ENDINGS = ("_bucket", "_sum", "_count")
FOREIGN = re.compile(r"up|scrape_\w+|process_\w+|ALERTS|ALERTS_FOR_STATE")
"""Metrics of Prometheus and of its client; every exporter has them."""


def series_names() -> Iterator[str]:
    """Yield the names of all series of edgeai."""
    for name, one in METRICS.items():
        if one.kind == "histogram":
            yield from (name + ending for ending in HISTOGRAM_ENDINGS)
        else:
            yield name


KNOWN = frozenset(series_names())


def metric(name: str, *matchers: str, of: str = "node") -> str:
    """Return the selector of a metric.

    Args:
        name: Of the series.
        matchers: Further matchers, as `role="residual"`.
        of: `node`, `pipeline` or `asset`: which variables choose the series.

    Raises:
        ValueError: edgeai exports no such series, or it has not these labels.
    """
    if name not in KNOWN and not FOREIGN.fullmatch(name):
        raise ValueError(f"edgeai exports no series {name}")
    if name in KNOWN:
        base = METRICS.get(name) or METRICS[name.rpartition("_")[0]]
        used = set(re.findall(r"(\w+)=~", WITHIN[of])) - {"job", "instance"}
        used |= {re.split(r"[=!]", one)[0].strip() for one in matchers}
        if unknown := used - set(base.labels) - {"le"}:
            raise ValueError(f"{name} has no label {min(unknown)}; it has {base.labels}")
    return f"{name}{{{', '.join([WITHIN[of], *matchers])}}}"


def own(name: str) -> str:
    """Return a metric that every exporter has, of the nodes of edgeai only.

    With `All` the variable `job` matches every job of the Prometheus.
    """
    return f"{metric(name)} and on (job, instance) {metric('edgeai_build_info')}"


def rate(name: str, by: str, *matchers: str, of: str = "node") -> str:
    """Return the rate of a counter, summed by labels."""
    return f"sum by ({by}) (rate({metric(name, *matchers, of=of)}[$__rate_interval]))"


def total(*names: str, of: str = "node") -> str:
    """Return what counters have counted together in the time shown, 0 without any."""
    sums = [f"(sum(increase({metric(name, of=of)}[$__range])) or vector(0))" for name in names]
    return " + ".join(sums)


def increase(name: str, by: str, of: str = "node") -> str:
    """Return what a counter counts between two points of a curve, by labels; 0 without any."""
    counted = f"increase({metric(name, of=of)}[$__rate_interval])"
    return f"sum by ({by}) ({counted}) or vector(0)"


def quantile(share: float, histogram: str, by: str = "", *, of: str = "node") -> str:
    """Return a quantile of a histogram, by labels."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share:g}, {rate(f'{histogram}_bucket', labels, of=of)})"


def rows(expression: str, labels: str = STREAM) -> str:
    """Return an expression for a table: one row for each value of the labels.

    Grafana joins the rows of several queries by all columns that they share. The metric's name
    would be one of them, and no row would find its partner.
    """
    return f"max by ({labels}) ({expression})"


def count(condition: str) -> str:
    """Return how many series fulfil a condition; 0 if none does."""
    return f"count({condition}) or vector(0)"
