"""The graph network: LayoutNetwork and TileNetwork, trained by a pairwise ranking loss; entry point `run`."""

from stages.gnn.stage import run

__all__ = ["run"]
