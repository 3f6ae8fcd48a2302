"""Driver of mattdeak/kaggle-fast-or-slow: ml/layout_v1."""

import tempfile

import exchange
import numpy as np


def results(original, case):
    modules = _modules(original)
    import torch
    from torch_geometric.data import Batch

    graphs, nodes = modules["graph"].GraphProcessor(hops=3), modules["node"].NodeProcessor()
    nodes.fit(np.vstack([np.load(path)["node_feat"] for path in case.paths("train")]))
    before = modules["dataset"].LayoutTransforms(
        graph_transform=graphs,
        node_transform=nodes,
        config_transform=modules["config"].ConfigFeatureGenerator(),
        global_transform=modules["program"].GlobalFeatureGenerator("xla", "default", subtype_indicator=True),
    )
    after = modules["dataset"].LayoutTransforms(opcode_transform=modules["opcode"].OpcodeOHEEmbedder())
    data = modules["dataset"].LayoutDataset(
        directories=[case.path("chosen_folder")],
        processed_dir=tempfile.mkdtemp(),
        pretransforms=before,
        posttransforms=after,
        progress=False,
        multiprocess=False,
    )
    every = [data.get(number) for number in range(data.len())]
    columns = every[0].x.shape[1] - 42 - 121
    labels = torch.stack([each.y for each in every])

    def build():
        return modules["model"].GraphMLP(
            graph_input_dim=every[0].x.shape[1],
            global_features_dim=every[0].global_features.shape[1],
            graph_channels=128,
            graph_layers=4,
            linear_channels=int(case["dense_width"]),
            linear_layers=int(case["dense"]),
            dropout=0.0,
            graph_conv_kwargs={"heads": int(case["heads"])},
            graph_norm="layer",
            alt_block=case.path("meta"),
        )

    def forward(network, dtype):
        batch = Batch.from_data_list([each.clone() for each in every])
        batch.x, batch.global_features = batch.x.to(dtype), batch.global_features.to(dtype)
        return network(batch).squeeze(-1)

    def loss(scores):
        if bool(case["pairs"]):
            return modules["loss"].MarginLoss(1.0, 32)(scores, labels)
        return modules["loss"].ListMLELoss()(scores, labels)

    def optimizer(network):
        return torch.optim.AdamW(network.parameters(), lr=float(case["rate"]), weight_decay=float(case["decay"]))

    whole = np.load(case.path("whole"))
    cut = graphs(*(whole[name] for name in ("node_feat", "node_opcode", "edge_index", "node_config_ids")))
    found = {
        "nodes": cut.node_features,
        "edges": cut.edge_index,
        "features": every[0].x[:, :columns].numpy(),
        "opcode": every[0].x[:, -121:].argmax(1).numpy(),
        "labels": labels.numpy(),
    }
    return found | exchange.torch_results(build, case, forward, loss, optimizer)


def _modules(original):
    """What is imported of the original, which was written for an older NumPy."""
    np.float_ = np.float64
    exchange.on_path(original)
    from ml.layout_v1 import dataset, losses, model
    from ml.layout_v1.preprocessors import config_preproc, global_preproc, graph_preproc, node_preproc, opcode_preproc

    return {
        "dataset": dataset,
        "loss": losses,
        "model": model,
        "config": config_preproc,
        "program": global_preproc,
        "graph": graph_preproc,
        "node": node_preproc,
        "opcode": opcode_preproc,
    }


exchange.main(results)
