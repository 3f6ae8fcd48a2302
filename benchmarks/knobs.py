"""The knobs of a network in a benchmark: those of params.yaml, but for what the benchmark states."""

from __future__ import annotations

from pathlib import Path

from stages.engine import params
from stages.gnn.settings import Settings

PARAMS = Path(__file__).parents[1] / "params.yaml"


def network_settings(collection: str, **changes: object) -> Settings:
    """The settings of the gnn stage for a collection, `changes` over them; from whatever folder it is called."""
    return params.settings(Settings, "gnn", collection, changes, PARAMS)
