"""How the network sees a graph."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class View:
    """What decides the states of a graph.

    layers: message passing steps. contracted: only configurable nodes, an edge where a path between two meets no other.
    direction: "both", "producers" or "consumers", what a node hears of along the edges. normalised: it hears of all
    around it and of itself at once, divided by the square roots of both degrees (graph convolution). overridden: a
    configured output layout takes the place of the node's own. copies: states of their own for the relayout copies that
    can lie between two nodes. shared: equal states once; else every node in every configuration, the dense network.
    constants: the readout needs nodes that are the same in all configurations. partition, segment_nodes: see
    `segments`.
    """

    layers: int
    contracted: bool = False
    direction: str = "both"
    normalised: bool = False
    overridden: bool = False
    copies: bool = True
    shared: bool = True
    constants: bool = False
    partition: str = "contiguous"
    segment_nodes: int | None = None

    @property
    def relations(self) -> int:
        """Kinds of messages, with that of a node to itself."""
        return 1 + (2 if self.direction == "both" and not self.normalised else 1)
