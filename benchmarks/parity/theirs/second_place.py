"""Driver of Obs01ete/kaggle_latenciaga: src/data.py, src/model.py, and the loss in the middle of src/main.py."""

import math
import os

import exchange
import numpy as np


def results(original, case):
    exchange.on_path(original)
    import torch
    from src import data, model, utils
    from torch_geometric.data import Batch, Data

    tile, nlp = bool(case["tile"]), bool(case["nlp"])
    whole = dict(np.load(case.path("whole")))
    distinct = data.delete_dupl(npz_dict=whole, is_tile=tile)
    file = {name: torch.tensor(array) for name, array in np.load(case.path("chosen")).items()}
    count = len(file["config_runtime"])
    # As their get() makes a slate, data.py, of the configurations in the file's order.
    labels = 1e-9 * file["config_runtime"]
    if tile:
        labels = file["config_runtime"] / file["config_runtime_normalizers"]
    triangle = utils.triu_vector(utils.make_diff_matrix(labels)).unsqueeze(0)
    pieces = []
    for place in range(count):
        piece = Data(edge_index=file["edge_index"].T.long())
        piece.node_feat, piece.node_opcode = file["node_feat"], file["node_opcode"]
        if tile:
            piece.config_feat = file["config_feat"][place]
        else:
            piece.node_config_feat, piece.node_config_ids = file["node_config_feat"][place], file["node_config_ids"]
        piece.config_runtime, piece.diff_triu_vector = labels[place], triangle
        pieces.append(piece)
    batch = Batch.from_data_list(pieces, follow_batch=data.LayoutData.FOLLOW_BATCH_KEYS)
    kept = {}

    def forward(network, dtype):
        feat, config, tiles = (
            None if part is None else part.to(dtype)
            for part in (batch.node_feat, getattr(batch, "node_config_feat", None), getattr(batch, "config_feat", None))
        )
        kept["scores"], kept["differences"] = _call(network, batch, feat, config, tiles, dtype, count)
        return kept["scores"]

    def loss(scores):
        return _loss(original, case, scores, kept["differences"], batch, scores.dtype, count)

    return {"distinct": np.sort(np.asarray(distinct["config_runtime"]))} | exchange.torch_results(
        lambda: model.Model(tile, nlp, False, False),
        case,
        forward,
        loss,
        lambda network: _optimizer(original, network),
        (lambda network: torch.nn.utils.clip_grad_norm_(network.parameters(), 100.0)) if nlp else None,
    )


def _call(network, batch, feat, config, tiles, dtype, count):
    import torch

    torch.set_default_dtype(dtype)  # their forward makes zeros of float32 by name for layouts
    zeros = torch.zeros
    torch.zeros = lambda *args, **kwargs: zeros(*args, **(kwargs | {"dtype": dtype}))
    try:
        return network(
            feat,
            batch.node_opcode,
            batch.batch,
            batch.ptr,
            config,
            getattr(batch, "node_config_ids", None),
            getattr(batch, "node_config_feat_ptr", None),
            tiles,
            getattr(batch, "config_feat_ptr", None),
            batch.edge_index,
            count,
        )
    finally:
        torch.zeros = zeros
        torch.set_default_dtype(torch.float32)


def _loss(original, case, scores, differences, batch, dtype, count):
    """The lines of their training loop between the network and the gradients."""
    import types

    import torch
    import torch.nn.functional as F

    main = os.path.join(original, "src", "main.py")
    self = types.SimpleNamespace(microbatch_size=count, is_tile=bool(case["tile"]), is_nlp=bool(case["nlp"]))
    self.loss_op = lambda given, true: _mape(given, true)
    batch = types.SimpleNamespace(
        config_runtime=batch.config_runtime.to(dtype), diff_triu_vector=batch.diff_triu_vector.to(dtype)
    )
    scope = {"torch": torch, "F": F, "self": self, "batch": batch, "pred": scores, "pred_diff_mat": differences}
    if case["nlp"]:
        from src.allrank_losses.listMLE import listMLE

        exec(exchange.lines(main, r"^def L2Clip", r"return clipped"), scope)
        scope["listMLE"] = listMLE
        exec(exchange.lines(main, r"target = batch\.config_runtime$", r"loss = listMLE"), scope)
    else:
        exec(exchange.lines(main, r"ranking_margin: float$", r"ranking_margin = 1e-2"), scope)
        within = r"pred, pred_diff_mat = self\.model\("
        exec(exchange.lines(main, r"if self\.is_tile:$", r"loss = loss_mape_sc", after=within), scope)
    return scope["loss"].reshape(())


def _mape(given, true):
    """torchmetrics' MeanAbsolutePercentageError, whose smallest divisor is 1.17e-06."""
    import torch

    return (torch.abs(given - true) / torch.clamp(torch.abs(true), min=1.17e-06)).mean()


def _optimizer(original, network):
    """The lines of their training function that make the optimiser and its schedule."""
    import typing

    import torch

    main = os.path.join(original, "src", "main.py")
    scope = vars(typing) | {"torch": torch, "math": math}
    exec(exchange.lines(main, r"^def get_parameter_names", r"^    return optimizer_grouped_parameters"), scope)

    class Trainer:
        model, weight_decay = network, 0.0

    scope["self"] = Trainer
    with open(main) as file:
        first = "output_shaping_wd" if "output_shaping_wd = " in file.read() else "optimized_parameters = "
    exec(exchange.lines(main, first, r"optimizer = torch\.optim"), scope)
    return scope["optimizer"]


exchange.main(results)
