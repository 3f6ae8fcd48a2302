"""Driver of knshnb/kaggle-tpu-graph-5th-place: src/dataset.py, src/nn.py, scripts/train.py, config/*.yaml."""

import os

import exchange
import numpy as np


def results(original, case):
    os.chdir(original)
    exchange.on_path(original)
    import torch
    import torch_geometric.loader  # noqa: F401

    class Module(torch.nn.Module):
        def save_hyperparameters(self, *args):
            pass

    exchange.stub("transformers", "wandb", "pytorch_lightning.loggers", "pytorch_lightning.callbacks")
    exchange.stub("pytorch_lightning", LightningModule=Module, LightningDataModule=object, Trainer=object)
    from config.config import load_config
    from scripts.train import KaggleModel
    from src.dataset import KaggleDataset
    from torch_geometric.data import Batch

    own = case.path("config")
    config = load_config(os.path.join("config", own), "config/default.yaml")
    kind = "layout" if "layout" in case else "tile"
    count = len(np.load(case.path("chosen"))["config_runtime"])
    dataset = KaggleDataset([case.path("chosen")], count, config, None, config_from_npy=False, dataset_type=kind)
    data = dataset[0]["data"]
    step = {"graph_idx": torch.tensor([0]), "config_idx": torch.arange(count)[None]}
    step["is_tile"] = torch.tensor([kind == "tile"])
    kept = {}

    def forward(network, dtype):
        given = Batch.from_data_list([data.clone()])
        for name in ("x", "y", "dim_feat", "tile_feat", "layout_feat"):
            given[name] = given[name].to(dtype)
        kept.update(network.training_step(step | {"data": given}, 0))
        return kept["pred"][0]

    nodes = len(np.load(case.path("chosen"))["node_opcode"])  # without the virtual one
    found = {
        "features": np.concatenate([data.x.numpy(), data.dim_feat.flatten(1).numpy()], axis=1)[:nodes],
        "opcode": data.node_opcode.numpy()[:nodes],
        "configurations": data.tile_feat[0].numpy().reshape(count, 18),
        "labels": data.y.numpy()[0],
    }
    return found | exchange.torch_results(
        lambda: KaggleModel(config),
        case,
        forward,
        lambda scores: kept["loss"],
        lambda network: torch.optim.AdamW(network.parameters(), config.lr, weight_decay=config.weight_decay),
        lambda network: torch.nn.utils.clip_grad_norm_(network.parameters(), config.gradient_clip_val),
    )


exchange.main(results)
