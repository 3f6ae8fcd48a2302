"""Driver of jafluri/kaggle_tpu_graph: scripts/add_features.py, scripts/training.py, src/tpu_graph.

There is no protobuf beside an npz file. What the original reads of one is stood in for: roots, and operands in the
order that the case tells; no dot or gather has dimension numbers.
"""

import logging
import os
import types

import exchange
import numpy as np


def results(original, case):
    import torch

    tile = "layout" not in case
    modules = _modules(original, tile)
    count = len(np.load(case.path("chosen"))["config_runtime"])
    if not tile:
        _add_features(original, case)
    dataset = modules["dataset"]([case.path("chosen_folder")], list_size=count)
    features, lengths, times, edge_index = dataset.collate_fn_tiles([dataset[0]])
    training = os.path.join(original, "scripts", "training.py")
    defaults = {"layout_network": False, "learning_rate": 0.001, "weight_decay": 0.0}
    scope = modules | {"torch": torch, "nn": torch.nn, "optim": torch.optim, "kwargs": defaults}

    def build():
        if tile:
            exec(exchange.lines(training, r"input_dim = 159", r"projection_network = nn"), scope)
        exec(exchange.lines(training, r"network = TPUGraphNetwork\(", r"^    \)$"), scope)
        return scope["network"]

    def forward(network, dtype):
        torch.set_default_dtype(dtype)  # their forward makes the weights of edges in it
        try:
            found = network(features.to(dtype), edge_index, lengths)
        finally:
            torch.set_default_dtype(torch.float32)
        return (found if tile else found[1])[0]

    def loss(scores):
        pad = torch.ones(1).long() * count
        return torch.mean(modules["loss"]()(scores[None], times.to(scores.dtype), pad))

    def optimizer(network):
        within = scope | {"network": network}
        exec(exchange.lines(training, r"optimizer = optim", r"optimizer = optim"), within)
        return within["optimizer"]

    def clip(network):
        exec(exchange.lines(training, r"clip_grad_norm_", r"clip_grad_norm_"), {"torch": torch, "network": network})

    first = features.shape[-1] - (24 if tile else 18)  # column of the configuration
    found = {
        "features": features[0, :, 1:first].numpy(),
        "opcode": features[0, :, 0].numpy(),
        "labels": times[0].numpy(),
    }
    if tile:
        found["configurations"] = features[:, 0, first:].numpy()
    return found | exchange.torch_results(build, case, forward, loss, optimizer, None if tile else clip)


def _modules(original, tile):
    """What is imported of the original, whose two libraries for sparse matrices are stood in for."""
    import torch
    import torch_geometric.typing

    exchange.on_path(os.path.join(original, "src"))
    exchange.stub("torch_scatter", scatter_sum=_scatter_sum)
    torch_geometric.typing.SparseTensor = Dense
    to = torch.Tensor.to
    torch.Tensor.to = lambda tensor, *args, **named: tensor if args == ("cuda",) else to(tensor, *args, **named)
    from tpu_graph import data, networks
    from tpu_graph.training.ltr import pairwise_losses
    from tpu_graph.utils.random_walk_pe import AddRandomWalkPE

    AddRandomWalkPE.__abstractmethods__ = frozenset()  # what later versions of torch_geometric ask of a transform
    found = {name: getattr(networks, name) for name in networks.__all__}
    if tile:
        return found | {"dataset": data.TileDataset, "loss": pairwise_losses.PairwiseDCGHingeLoss}
    return found | {"dataset": data.LayoutDataset, "loss": pairwise_losses.PairwiseHingeLoss}


def _add_features(original, case):
    """The middle of their script, which writes what their data set reads."""
    exchange.stub("tpu_graph.proto.hlo_pb2")  # of which the code wants a type's name alone
    from tpu_graph import constants
    from tpu_graph.utils import feature_extraction, random_walk_pe

    arrays = dict(np.load(case.path("chosen")))
    scope = vars(constants) | vars(feature_extraction) | vars(random_walk_pe)
    scope |= {"np": np, "npz_data": arrays, "n_nodes": len(arrays["node_opcode"]), "padding": -1}
    scope |= {"m": _module(arrays, case), "pe_dim_asym": 16, "pe_dim_sym": 112, "logger": logging.getLogger()}
    script = os.path.join(original, "scripts", "add_features.py")
    exec(exchange.lines(script, r"outputs = np\.where", r"npz_data\[.pe_sym.\] = "), scope)
    np.savez(os.path.join(case.path("chosen_folder"), "graph_cached.npz"), **arrays)


def _module(arrays, case):
    """A module of computations that each have one root."""
    operands = {
        node: [producer for producer in row if producer >= 0]
        for node, row in zip(case["consumers"].tolist(), case["operands"].tolist(), strict=True)
    }
    nodes, ends = len(arrays["node_opcode"]), np.flatnonzero(arrays["node_feat"][:, 0] == 1)
    computations = []
    for start, end in zip([0, *ends + 1], [*ends + 1, nodes], strict=True):
        instructions = [_instruction(node, operands.get(node, [])) for node in range(start, end)]
        root = end - 1 if end - 1 in ends else -1
        computations.append(types.SimpleNamespace(instructions=instructions, root_id=root))
    return types.SimpleNamespace(computations=computations, is_dynamic=False)


def _instruction(node, operands):
    names = "lhs_contracting_dimensions rhs_contracting_dimensions lhs_batch_dimensions rhs_batch_dimensions"
    names += " offset_dims collapsed_slice_dims start_index_map"
    empty = types.SimpleNamespace(index_vector_dim=0, **{name: [] for name in names.split()})
    return types.SimpleNamespace(
        id=node,
        operand_ids=operands,
        dot_dimension_numbers=empty,
        gather_dimension_numbers=empty,
        gather_slice_sizes=[],
        indices_are_sorted=False,
    )


def _scatter_sum(values, index, dim, dim_size=None):
    """torch_scatter's."""
    import torch

    size = list(values.shape)
    size[dim] = int(index.max()) + 1 if dim_size is None else dim_size
    return torch.zeros(size, dtype=values.dtype).index_add(dim, index, values)


class Dense:
    """torch_sparse's SparseTensor, as far as random walks need one."""

    def __init__(self, values):
        self.values = values

    @classmethod
    def from_edge_index(cls, edge_index, edge_weight, sparse_sizes):
        import torch

        ones = torch.ones(edge_index.shape[1])
        return cls(torch.zeros(sparse_sizes).index_put(tuple(edge_index), ones, accumulate=True))

    def sum(self, dim):
        return self.values.sum(dim)

    def __mul__(self, other):
        return Dense(self.values * other)

    def __matmul__(self, other):
        return Dense(self.values @ other.values)

    def coo(self):
        row, column = self.values.nonzero(as_tuple=True)
        return row, column, self.values[row, column]

    def to_dense(self):
        return self.values

    def to_torch_sparse_coo_tensor(self):
        return self.values.to_sparse()


exchange.main(results)
