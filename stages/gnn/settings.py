"""The knobs of the stage: the section gnn of params.yaml, and what of it is fit to be used together."""

from __future__ import annotations

import math
from dataclasses import dataclass

from stages.engine import checks
from stages.engine.errors import InputError
from stages.gnn.graph_view import GraphView
from stages.gnn.segments import PARTITIONS
from stages.graphs.collection import is_tile

CHOICES = {
    "graph": ("pruned", "contracted"),
    "direction": ("both", "producers", "consumers"),
    "messages": ("sage", "gatv2", "gcn"),
    "norm": ("layer", "instance", "none"),
    "readout": ("sum", "mean", "max"),
    "fusion": ("late", "early"),
    "loss": ("hinge", "listmle", "logistic", "margin"),
    "sampling": ("uniform", "spread"),
    "gst": ("full", "gst", "gst+e", "gst+ef", "gst+ed", "gst+efd"),
    "partition": PARTITIONS,
}
LEAST = {
    "seeds": 1,
    "width": 1,
    "layers": 0,
    "pool": 2,
    "configurations": 2,
    "graphs": 1,
    "epochs": 1,
    "patience": 1,
    "segment_nodes": 1,
    "segments": 1,
    "finetune": 0,
    "permutations": 1,
}


@dataclass(frozen=True)
class Settings:
    """The knobs and their types; params.yaml has the value of each, and says what it means.

    Raises:
        InputError: a value is of another type, or no training can use it.
    """

    seeds: int
    width: int
    layers: int
    graph: str
    direction: str
    messages: str
    facts: bool
    overridden: bool
    copies: bool
    norm: str
    channel_attention: bool
    cross_attention: bool
    readout: str
    fusion: str
    loss: str
    margin: float
    pool: int
    configurations: int
    sampling: str
    graphs: int
    epochs: int
    patience: int
    learning_rate: float
    weight_decay: float
    dropout: float
    average: float
    gst: str
    partition: str
    segment_nodes: int
    segments: int
    keep: float
    finetune: int
    permutations: int

    def __post_init__(self):
        checks.settings(self, "gnn")
        for name, choices in CHOICES.items():
            if (value := getattr(self, name)) not in choices:
                raise InputError(f"params.yaml, gnn.{name}: is {value!r}; choose one of {', '.join(choices)}")
        for name, least in LEAST.items():
            if (value := getattr(self, name)) < least:
                raise InputError(f"params.yaml, gnn.{name}: is {value}; give at least {least}")
        for name, low, high in (("dropout", 0, 1), ("average", 0, 1)):
            if not low <= (value := getattr(self, name)) < high:
                raise InputError(f"params.yaml, gnn.{name}: is {value}; give a number from {low} to below {high}")
        if not 0 < self.keep <= 1:
            raise InputError(f"params.yaml, gnn.keep: is {self.keep}; give a probability above 0")
        if not 0 < self.learning_rate < math.inf:
            raise InputError(f"params.yaml, gnn.learning_rate: is {self.learning_rate}; give a positive number")
        for name in ("weight_decay", "margin"):
            if not 0 <= (value := getattr(self, name)) < math.inf:
                raise InputError(f"params.yaml, gnn.{name}: is {value}; give 0 or more")
        if self.cross_attention and self.width % 2:
            raise InputError(f"params.yaml, gnn.width: is {self.width}; cross attention halves it, give an even number")
        if self.messages == "gcn" and self.direction != "both":
            raise InputError(f"params.yaml, gnn.direction: is {self.direction!r}; gcn hears of all, take 'both'")
        if self.gst != "full" and self.readout == "max":
            raise InputError("params.yaml, gnn.readout: is 'max', which segments can't be summed up to; take 'sum'")

    def view(self, collection: str) -> GraphView:
        """How the network of a collection sees a graph."""
        tile = is_tile(collection)
        return GraphView(
            layers=self.layers,
            contracted=self.graph == "contracted",
            direction=self.direction,
            normalised=self.messages == "gcn",
            overridden=self.overridden and not tile,
            copies=self.copies and not tile and self.readout != "max",
            shared=self.norm != "instance" and not (tile and self.fusion == "early"),
            constants=self.readout == "max" or tile,
            partition=self.partition,
            segment_nodes=None if tile or self.gst == "full" else self.segment_nodes,
        )

    def stores(self) -> bool:
        """Whether segments that are not sampled come from the table of historical embeddings."""
        return "+" in self.gst

    def drops(self) -> bool:
        """Whether some of those are dropped, and the others' weight raised."""
        return self.gst.endswith("d")

    def finetunes(self) -> bool:
        """Whether the head is trained on alone at the end."""
        return "f" in self.gst.partition("+")[2]
