"""Driver of thanhhau097/google_fast_or_slow: data/data_compression.py, dataset.py, model.py, engine.py."""

import os

import exchange
import numpy as np

#: of both networks
SIZES = {
    "hidden_channels": [256, 256],
    "graph_in": 256,
    "graph_out": 256,
    "hidden_dim": 256,
    "dropout": 0.2,
    "gat_droprate": 0.2,
    "op_embedding_dim": 16,
    "layout_embedding_dim": 4,
    "norm": "instance",
}


def results(original, case):
    exchange.on_path(original, os.path.join(original, "data"))
    exchange.stub_absent("seaborn")
    exchange.stub("transformers.integrations.deepspeed", "transformers.trainer_pt_utils", "transformers.trainer_utils")
    exchange.stub("transformers.utils", "transformers", Trainer=object)
    import torch

    layout = "layout" in case
    found = _layout(case) if layout else _tile(case)
    item, network = found.pop("item"), found.pop("network")
    engine = __import__("engine")

    def scores(model, dtype):
        given = exchange.floats(item, dtype)
        return model(*(given[name] for name in _arguments(layout)))

    return found | exchange.torch_results(
        network,
        case,
        scores,
        lambda given: engine.pairwise_hinge_loss(given, item["target"].to(given.dtype)),
        lambda model: torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-5),
        lambda model: torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0),
    )


def _arguments(layout):
    if layout:
        return "x_node_cfg", "x_feat", "x_node_layout_feat", "x_op", "edge_index", "node_config_ids"
    return "x_cfg", "x_feat", "x_node_layout_feat", "x_op", "edge_index"


def _layout(case):
    import data_compression
    import dataset
    import model
    import pandas as pd
    from sklearn.preprocessing import StandardScaler

    def row(path, distinct):
        """As data_compression.py's main part has it, which leaves no equal configurations in train."""
        data = data_compression.prune_graph(dict(np.load(path)))
        if distinct:
            data = data_compression.remove_dupplicated_node_configs(data)
        data["node_config_feat"] = data_compression.compress_configs(data["node_config_feat"])
        return data | {"file": os.path.basename(path), "search": "default"}

    np.random.seed(0)
    distinct = row(case.path("whole"), True)
    train = dataset.LayoutDataset(
        pd.DataFrame.from_dict([row(path, True) for path in case.paths("train")]),
        scaler=StandardScaler(),
        tgt_scaler=StandardScaler(),
    )
    frame = pd.DataFrame.from_dict([row(case.path("chosen"), False)])
    chosen = dataset.LayoutDataset(frame, split="valid", max_configs=10**6)
    chosen.scaler, chosen.tgt_scaler = train.scaler, train.tgt_scaler
    batch = dataset.layout_collate_fn([chosen[0]])
    pruned = row(case.path("chosen"), False)
    item = {
        "x_node_cfg": batch["node_config_feat"],
        "x_feat": batch["node_feat"],
        "x_node_layout_feat": batch["node_layout_feat"],
        "x_op": batch["node_opcode"],
        "edge_index": batch["edge_index"],
        "node_config_ids": batch["node_config_ids"],
        "target": batch["target"],
    }

    def network():
        return model.LayoutModel(
            **SIZES,
            use_cross_attn=bool(case["attention"]),
        )

    return {
        "item": item,
        "network": network,
        "nodes": pruned["node_feat"],
        "edges": pruned["edge_index"],
        "distinct": distinct["config_runtime"],
        "features": item["x_feat"].numpy(),
        "labels": item["target"].numpy(),
    }


def _tile(case):
    import dataset
    import model
    from sklearn.preprocessing import StandardScaler

    scalers = {name: StandardScaler() for name in ("scaler", "tgt_scaler", "cfg_scaler")}
    train = dataset.TileDataset("", "", case.path("train_folder"), split="train", **scalers)
    chosen = dataset.TileDataset("", "", case.path("chosen_folder"), split="train")
    chosen.scaler, chosen.tgt_scaler, chosen.cfg_scaler = train.scaler, train.tgt_scaler, train.cfg_scaler
    batch = dataset.tile_collate_fn([chosen[0]])
    item = {
        "x_cfg": batch["config_feat"],
        "x_feat": batch["node_feat"],
        "x_node_layout_feat": batch["node_layout_feat"],
        "x_op": batch["node_opcode"],
        "edge_index": batch["edge_index"],
        "target": batch["target"],
    }

    def network():
        return model.TileModel(
            **SIZES,
            use_cross_attn=True,
        )

    return {
        "item": item,
        "network": network,
        "features": item["x_feat"].numpy(),
        "labels": item["target"].numpy(),
        "configurations": item["x_cfg"].numpy(),
    }


exchange.main(results)
