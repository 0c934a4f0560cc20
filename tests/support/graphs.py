"""Facts about graphs, read in this process where the graph harms nobody."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgeai.model import graph_facts


def facts_here(graph: Path, shape: str, allowed: str) -> dict[str, Any]:
    """Return what the child of `edgeai.model.inspection` would print; takes 0.01 s, not 0.3 s.

    There is no limit of time and memory: a graph that needs one belongs into the child.
    """
    data = graph.read_bytes()
    facts = graph_facts.graph_facts(data)
    control_flow = allowed == "control-flow"
    if "error" not in facts and graph_facts._may_run(facts, control_flow=control_flow):
        graph_facts._run_once(data, facts, shape)
    found: dict[str, Any] = json.loads(json.dumps(facts))
    return found
