"""Which recipe stands beside which original, and how our weights are named there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from stages.winners import (
    fifth_place,
    first_place_layout,
    first_place_tile,
    fourteenth_place,
    gst_paper,
    official_layout,
    official_tile,
    second_place,
    sixth_place,
    third_place,
)
from stages.winners.parts import Recipe

Names = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Case:
    """A network beside its original.

    Attributes:
        name: In the table.
        recipe: Ours.
        collection: Whose settings are taken, and whose kind of graphs.
        original: Subfolder of the clones.
        driver: Of the original, a file in theirs/.
        names: Patterns in our weights' names and what they become in theirs, tried in order; the first that matches
            the beginning of a name counts.
        member: Which of the recipe's networks.
        configurations: How many are compared.
        tensorflow: Whether the original needs it.
        heavy: Whether a network has all nodes of a graph, so that one real graph and few configurations must do.
        extra: What the driver is told besides.
    """

    name: str
    recipe: Recipe
    collection: str
    original: str
    driver: str
    names: Names = ()
    member: int = 0
    configurations: int = 6
    tensorflow: bool = False
    heavy: bool = False
    extra: dict = field(default_factory=dict)

    @property
    def process(self) -> tuple[str, ...]:
        """What cases have in common that one process of the original can do; names of modules clash between others."""
        return self.original, self.driver, str(self.extra.get("messages")), str(self.tensorflow and self.collection)

    def theirs(self, name: str) -> str:
        """The original's name of one of our weights."""
        for pattern, replacement in self.names:
            if re.match(pattern, name):
                return re.sub(f"^{pattern}", replacement, name)
        return name


_LAYERS = [
    (r"opcodes\.", "embedding_op."),
    (r"layouts\.", "embedding_layout_cfg."),
    (r"inputs\.0\.linear", "linear.linear"),
    (r"inputs\.1\.linear", "linear2.linear"),
    (r"inputs\.0\.channels\.gate\.0", "linear.attn.linear1"),
    (r"inputs\.0\.channels\.gate\.2", "linear.attn.linear2"),
    (r"inputs\.1\.channels\.gate\.0", "linear2.attn.linear1"),
    (r"inputs\.1\.channels\.gate\.2", "linear2.attn.linear2"),
    (r"inputs\.0\.attention", "linear.cross_attn"),
    (r"inputs\.1\.attention", "linear2.cross_attn"),
    (r"blocks\.(\d)\.messages", r"convs.\1.conv"),
    (r"blocks\.(\d)\.channels\.gate\.0", r"convs.\1.attn.linear1"),
    (r"blocks\.(\d)\.channels\.gate\.2", r"convs.\1.attn.linear2"),
    (r"blocks\.(\d)\.attention", r"convs.\1.cross_attn"),
]
_FIRST = [*_LAYERS, (r"head\.", "classifier.")]
_FIRST_TILE = [*_LAYERS, (r"configurations\.", "dense_cfg."), (r"head\.", "dense.")]
_SECOND = [
    (r"columns\.", "node_feat_embedding."),
    (r"opcodes\.", "node_opcode_embedding."),
    (r"shaping\.", "input_shaping."),
    (r"messages\.", "convs."),
    (r"latency\.", "output_shaping."),
]
_THIRD = [
    (r"opcodes\.", "embedding_layer.emb."),
    (r"first\.", "embedding_layer.mlp."),
    (r"walks\.", "lpe_projection."),
    (r"layers\.(\d)\.messages\.own\.", r"feature_sage_convs.\1.linear."),
    (r"layers\.(\d)\.messages\.consumers\.", r"feature_sage_convs.\1.agg_linear_in."),
    (r"layers\.(\d)\.messages\.producers\.", r"feature_sage_convs.\1.agg_linear_out."),
    (r"layers\.(\d)\.messages\.out\.", r"feature_sage_convs.\1.mlp_out."),
    (r"layers\.(\d)\.walks\.own\.", r"lpe_sage_convs.\1.linear."),
    (r"layers\.(\d)\.walks\.consumers\.", r"lpe_sage_convs.\1.agg_linear_in."),
    (r"layers\.(\d)\.walks\.producers\.", r"lpe_sage_convs.\1.agg_linear_out."),
    (r"layers\.(\d)\.walks\.out\.", r"lpe_sage_convs.\1.mlp_out."),
    (r"layers\.(\d)\.attention\.keys\.", r"linformers.\1.key_layer."),
    (r"layers\.(\d)\.attention\.queries\.", r"linformers.\1.query_layer."),
    (r"layers\.(\d)\.attention\.values\.", r"linformers.\1.value_layer."),
    (r"layers\.(\d)\.joint\.", r"combination_nets.\1."),
    (r"last\.", "mlp."),
    (r"head\.", "projection_network."),
]
_THIRD_TILE = [
    (r"opcodes\.", "embedding_layer.emb."),
    (r"first\.0\.", "embedding_layer.linear."),
    (r"first\.2\.", "embedding_layer.layernorm."),
    (r"layers\.(\d)\.own\.", r"message_network.\1.linear."),
    (r"layers\.(\d)\.consumers\.", r"message_network.\1.agg_linear."),
    (r"layers\.(\d)\.norm\.", r"message_network.\1.layernorm."),
    (r"head\.", "projection_network."),
]
_FIFTH = [
    (r"opcodes\.", "gnn.opcode_embed."),
    (r"linear\.", "gnn.pre_linear.0."),
    (r"messages\.along\.", "gnn.convs."),
    (r"messages\.against\.", "gnn.rev_convs."),
    (r"head\.", "gnn.head."),
    (r"attention\.linear\.", "gnn.transformer.mlp.0."),
    (r"attention\.layers\.", "gnn.transformer.transformer."),
]
_SIXTH = [
    (r"standardised\.mean", "node_feat_mean"),
    (r"standardised\.deviation", "node_feat_std"),
    (r"configurations\.mean", "config_feat_mean"),
    (r"configurations\.deviation", "config_feat_std"),
    (r"opcodes\.", "node_opcode_embed."),
    (r"early\.", "early_mlp."),
    (r"messages\.", "gconv."),
    (r"head\.6\.", "predict."),
    (r"head\.", "late_mlp."),
]
_GST = [
    (r"opcodes\.", "emb."),
    (r"opcode_scale", "op_weights"),
    (r"configuration_scale", "config_weights"),
    (r"first\.", "linear_map."),
    (r"before\.0\.", "model.pre_mp.Layer_0.layer.model."),
    (r"before\.2\.", "model.pre_mp.Layer_0.post_layer.1."),
    (r"messages\.(\d)\.", r"model.gnn_layers.\1.model."),
    (r"head\.0\.", "model.post_mp.layer_post_mp.model.0.Layer_0.layer.model."),
    (r"head\.3\.", "model.post_mp.layer_post_mp.model.1.model."),
]
_FOURTEENTH = [
    (r"blocks\.(\d)\.near\.", r"gcns.\1.main_edge_block."),
    (r"blocks\.(\d)\.meta\.", r"gcns.\1.alternate_edge_block."),
    (r"head\.", "mlp."),
]
_XLA, _NLP, _TILE = "layout:xla:default", "layout:nlp:default", "tile:xla"
_FIRST_FOLDER, _SIXTH_FOLDER = "google_fast_or_slow", "solution-predict-ai-model-runtime"
_THIRD_FOLDER = "kaggle_tpu_graph"
_FOURTEENTH_FOLDER = "kaggle-fast-or-slow"
_FIFTH_FOLDER, _SECOND_FOLDER = "kaggle-tpu-graph-5th-place", "kaggle_latenciaga"

CASES = (
    Case(
        "first-place layout:*:default",
        first_place_layout.RECIPE,
        _XLA,
        _FIRST_FOLDER,
        "first_place",
        _FIRST,
        extra={"attention": True},
    ),
    Case(
        "first-place layout:*:random",
        first_place_layout.RECIPE,
        "layout:xla:random",
        _FIRST_FOLDER,
        "first_place",
        _FIRST,
        extra={"attention": False},
    ),
    Case("first-place tile", first_place_tile.RECIPE, _TILE, _FIRST_FOLDER, "first_place", _FIRST_TILE),
    Case(
        "sixth-place layout",
        sixth_place.LAYOUT_RECIPE,
        _XLA,
        _SIXTH_FOLDER,
        "sixth_place",
        _SIXTH,
        heavy=True,
        extra={"messages": "sage"},
    ),
    Case(
        "sixth-place layout:xla:default, GIN",
        sixth_place.LAYOUT_RECIPE,
        _XLA,
        _SIXTH_FOLDER,
        "sixth_place",
        _SIXTH,
        member=1,
        heavy=True,
        extra={"messages": "gin"},
    ),
    Case(
        "sixth-place tile",
        sixth_place.TILE_RECIPE,
        _TILE,
        _SIXTH_FOLDER,
        "sixth_place",
        _SIXTH,
        extra={"messages": "gat"},
    ),
    Case(
        "second-place layout:nlp:*",
        second_place.NLP_RECIPE,
        _NLP,
        _SECOND_FOLDER,
        "second_place",
        _SECOND,
        configurations=10,
        heavy=True,
        extra={"tile": False, "nlp": True},
    ),
    Case(
        "second-place layout:xla:*",
        second_place.XLA_RECIPE,
        _XLA,
        f"{_SECOND_FOLDER}_diff_mat",
        "second_place",
        _SECOND,
        configurations=4,
        heavy=True,
        extra={"tile": False, "nlp": False},
    ),
    Case(
        "second-place tile",
        second_place.TILE_RECIPE,
        _TILE,
        f"{_SECOND_FOLDER}_diff_mat",
        "second_place",
        _SECOND,
        configurations=10,
        extra={"tile": True, "nlp": False},
    ),
    Case(
        "third-place layout",
        third_place.LAYOUT_RECIPE,
        _XLA,
        _THIRD_FOLDER,
        "third_place",
        _THIRD,
        configurations=16,
        heavy=True,
    ),
    Case(
        "third-place tile",
        third_place.TILE_RECIPE,
        _TILE,
        f"{_THIRD_FOLDER}_tile",
        "third_place",
        _THIRD_TILE,
        configurations=16,
    ),
    Case(
        "fifth-place layout",
        fifth_place.LAYOUT_RECIPE,
        _XLA,
        _FIFTH_FOLDER,
        "fifth_place",
        _FIFTH,
        configurations=8,
        heavy=True,
        extra={"config": "default.yaml"},
    ),
    Case(
        "fifth-place tile steps of the layout network",
        fifth_place.JOINT_TILE_RECIPE,
        _TILE,
        _FIFTH_FOLDER,
        "fifth_place",
        _FIFTH,
        configurations=8,
        extra={"config": "default.yaml"},
    ),
    Case(
        "fifth-place tile",
        fifth_place.TILE_RECIPE,
        _TILE,
        _FIFTH_FOLDER,
        "fifth_place",
        _FIFTH,
        configurations=8,
        extra={"config": "tile.yaml"},
    ),
    Case(
        "fourteenth-place layout:xla:*",
        fourteenth_place.LIST_RECIPE,
        _XLA,
        _FOURTEENTH_FOLDER,
        "fourteenth_place",
        _FOURTEENTH,
        configurations=8,
        heavy=True,
        extra={
            "dense_width": 128,
            "dense": 1,
            "heads": 8,
            "meta": "gat",
            "pairs": False,
            "rate": 2.8e-4,
            "decay": 0.004,
        },
    ),
    Case(
        "fourteenth-place layout:nlp:*, pairs",
        fourteenth_place.PAIR_RECIPE,
        _NLP,
        _FOURTEENTH_FOLDER,
        "fourteenth_place",
        _FOURTEENTH,
        configurations=8,  # whose pairs are fewer than are drawn
        heavy=True,
        extra={"dense_width": 64, "dense": 3, "heads": 1, "meta": "sage", "pairs": True, "rate": 1e-4, "decay": 0.007},
    ),
    Case("gst-paper layout", gst_paper.RECIPE, _XLA, "GST", "gst_paper", _GST, configurations=32, heavy=True),
    Case(
        "official layout",
        official_layout.RECIPE,
        _XLA,
        "tpu_graphs",
        "official",
        tensorflow=True,
        configurations=16,
        heavy=True,
        extra={"stretch": -1},
    ),
    Case(
        "official layout, a stretch with gradients",
        official_layout.RECIPE,
        _XLA,
        "tpu_graphs",
        "official",
        tensorflow=True,
        configurations=16,
        heavy=True,
        extra={"stretch": 1},
    ),
    Case(
        "official tile",
        official_tile.RECIPE,
        _TILE,
        "tpu_graphs",
        "official",
        tensorflow=True,
        configurations=10,
    ),
)
