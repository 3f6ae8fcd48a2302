"""Driver of hengck23/solution-predict-ai-model-runtime: dataset.py, model.py and myloss.py of one of its folders."""

import os
import tempfile

import exchange

FOLDERS = {
    "sage": "res-graphsage4-pair-hop5-layout",
    "gin": "res-gin4-pair-hop5-layout",
    "gat": "res-gatconv4-listmle-hop5-tile",
}


def results(original, case):
    exchange.on_path(os.path.join(original, "src", FOLDERS[case.path("messages")]))
    import dataset
    import model
    import torch

    statistics = os.path.join(tempfile.mkdtemp(), "train.pickle")
    dataset.run_make_mean_std_pickle_file(case.path("train_folder"), statistics)
    (graph,) = dataset.load_npz(case.path("chosen_folder"))
    edges = graph["edge_index"].numpy().T
    network = model.Net({"pickle_file": statistics})
    found = {
        "nodes": graph["node_feat"].numpy(),
        "edges": edges,
        "mean": network.node_feat_mean.detach().numpy(),
        "deviation": network.node_feat_std.detach().numpy(),
    }

    def forward(net, dtype):
        given = exchange.floats({key: graph[key] for key in dataset.tensor_key}, dtype)
        return _in(dtype, lambda: net.infer_one(given))

    return found | exchange.torch_results(
        lambda: model.Net({"pickle_file": statistics}),
        case,
        forward,
        lambda scores: _loss(model, scores, graph),
        lambda net: torch.optim.AdamW(net.parameters(), lr=0.0005),
        ignored=("norm.", "early_mlp.1.", "early_mlp.5.", "late_mlp.1.", "late_mlp.4.", ".nn.1.", ".nn.4."),
    )


def _loss(model, scores, graph):
    which = "F_listMLE" if "config_feat" in graph else "F_ordered_pair_loss"
    labels = graph["config_runtime"][None].to(scores.dtype)
    return _in(scores.dtype, lambda: getattr(model, which)(scores[None], labels))


def _in(dtype, function):
    """What a function gives that makes float32 of much by name, in another type."""
    import torch

    single = torch.Tensor.float
    torch.Tensor.float = lambda tensor: tensor.to(dtype)
    try:
        return function()
    finally:
        torch.Tensor.float = single


exchange.main(results)
