"""Driver of kaidic/GST: a step of graphgps/train/custom_tpu_train.py, and a look at valid, with its network and data.

torch_sparse is stood in for by an edge list that can be narrowed, the table of scores by a list of what is read and
written. What a step draws is given: configurations, the segment, which of the others' scores are kept.
"""

import os
import tempfile
import types

import exchange
import numpy as np


def results(original, case):
    exchange.on_path(original)
    import torch
    import torch_geometric.graphgym.models.act
    import torch_geometric.graphgym.models.pooling  # noqa: F401
    from torch_geometric.utils import scatter

    exchange.stub_absent("pytorch_lightning", "ogb", "torch_scatter")
    if not hasattr(__import__("torch_scatter"), "__file__"):
        exchange.stub("torch_scatter", scatter=scatter)
    exchange.stub("torch_sparse", SparseTensor=EdgeList)
    exchange.bare_package("graphgps", os.path.join(original, "graphgps"))
    from torch_geometric.graphgym.config import cfg, set_cfg

    set_cfg(cfg)
    cfg.set_new_allowed(True)
    import graphgps.config.optimizers_config as optimizers

    optimizers.extended_optim_cfg(cfg)
    cfg.merge_from_file(os.path.join(original, "configs", "tpugraphs.yaml"))
    cfg.device, cfg.params = "cpu", 0
    cfg.gnn.head = cfg.dataset.task if cfg.gnn.head == "default" else cfg.gnn.head
    import graphgps.network.custom_tpu_gnn as network
    import graphgps.train.custom_tpu_train as training
    from graphgps.loader.dataset.tpu_graphs import TPUGraphs
    from torch_geometric.graphgym.optim import OptimizerConfig, SchedulerConfig, create_optimizer, create_scheduler

    data = _data(TPUGraphs, case)
    scope = {"torch": torch, "nn": torch.nn}
    main = os.path.join(original, "main_tpugraphs.py")
    exec(exchange.lines(main, r"^class TPUModel", r"self\.config_weights"), scope)
    count = 32  # of configurations; custom_tpu_train.py
    torch.randint = lambda *args, **kwargs: torch.arange(count)
    np.random.randint = lambda parts: int(case["segment"])
    found = {
        "features": data.op_feats.numpy(),
        "segments": data.partptr.numpy(),
        "labels": data.y.numpy()[:count],
    }
    for name in case.widths():
        dtype = getattr(torch, name)
        torch.set_default_dtype(dtype)
        model = scope["TPUModel"](network.CustomGNN(None, cfg.share.dim_out))
        given = {key: torch.from_numpy(np.array(value)) for key, value in case.weights().items()}
        model.load_state_dict(given)
        model = model.to(dtype)
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        settings = OptimizerConfig(cfg.optim.optimizer, cfg.optim.base_lr, cfg.optim.weight_decay, cfg.optim.momentum)
        optimizer = Watched(create_optimizer(model.parameters(), settings), model)
        schedule = SchedulerConfig(cfg.optim.scheduler, cfg.optim.steps, cfg.optim.lr_decay, cfg.optim.max_epoch)
        scheduler = create_scheduler(optimizer.inner, schedule)
        logger, table = Logger(), Table(case["stale"], dtype)
        valid = Logger()
        training.eval_epoch(valid, Loader([_batch(data, dtype)]), model)
        kept = Kept(case["kept"], dtype)
        torch.distributions.binomial.Binomial = lambda probs, kept=kept: kept
        training.train_epoch(logger, Loader([_batch(data, dtype)]), model, optimizer, scheduler, table, 1)
        found[f"{name}/scores"] = valid.pred.numpy()[0]
        found[f"{name}/valid loss"] = valid.loss
        found[f"{name}/estimate"] = logger.pred.numpy()[0]
        found[f"{name}/pushed"] = torch.stack(table.pushed).numpy().reshape(-1)
        found[f"{name}/loss"] = logger.loss
        found |= {f"{name}/gradient/{key}": value for key, value in optimizer.gradients.items()}
        found |= {f"{name}/step/{key}": p.detach().numpy().copy() for key, p in model.named_parameters()}
    torch.set_default_dtype(torch.float32)
    return found


def _data(dataset, case):
    """The first graph of their data set, made of the chosen file as train and nothing else."""
    root = tempfile.mkdtemp()
    for split, paths in (("train", [case.path("chosen")]), ("valid", case.paths("train"))):
        folder = os.path.join(root, "raw", "npz", "layout", "nlp", "random", split)
        os.makedirs(folder)
        for number, path in enumerate(paths):
            os.symlink(path, os.path.join(folder, f"{number}.npz"))
    import torch

    load = torch.load
    torch.load = lambda *args, **kwargs: load(*args, **(kwargs | {"weights_only": False}))
    return dataset(root, source="nlp", search="random").get(0)


def _batch(data, dtype):
    from torch_geometric.data import Batch

    data = data.clone()
    data.op_feats, data.config_feats = data.op_feats.to(dtype), data.config_feats.to(dtype)
    return Batch.from_data_list([data])


class EdgeList:
    """What is asked of torch_sparse.SparseTensor: ranges of rows and columns, renumbered, in the order of rows."""

    def __init__(self, row, col, sparse_sizes):
        order = (row * sparse_sizes[1] + col).argsort(stable=True)
        self.row, self.col = row[order], col[order]
        self.storage = types.SimpleNamespace(value=lambda: None)

    def narrow(self, dim, start, length):
        part = EdgeList.__new__(EdgeList)
        along = (self.row, self.col)[dim]
        kept = (along >= start) & (along < start + length)
        part.row, part.col = self.row[kept] - start * (dim == 0), self.col[kept] - start * (dim == 1)
        part.storage = self.storage
        return part

    def coo(self):
        return self.row, self.col, None


class Loader(list):
    @property
    def dataset(self):
        return self


class Logger:
    def update_stats(self, true, pred, loss, **more):
        self.pred, self.loss = pred.detach(), loss


class Table:
    """Scores (k, J - 1), in the order in which their sums take them, configuration by configuration.

    They are read segment by segment, which is another order: in theirs, sums of a graph with three segments and more
    have scores of other configurations.
    """

    def __init__(self, stale, dtype):
        import torch

        self.stale = iter(torch.tensor(np.asarray(stale).reshape(-1, 1, 1), dtype=dtype))
        self.pushed = []

    def pull(self, place):
        return next(self.stale)

    def push(self, value, place):
        self.pushed.append(value.detach().clone())


class Kept:
    """A draw of which scores are kept, (k, J - 1), in the order of their sums."""

    def __init__(self, kept, dtype):
        import torch

        self.kept = torch.tensor(np.asarray(kept).reshape(-1, 1), dtype=dtype)

    def sample(self, shape):
        return self.kept


class Watched:
    """An optimiser that remembers the gradients of its step."""

    def __init__(self, inner, model):
        self.inner, self.model, self.gradients = inner, model, {}

    def zero_grad(self):
        self.inner.zero_grad()

    def step(self):
        self.gradients = {name: p.grad.numpy().copy() for name, p in self.model.named_parameters()}
        self.inner.step()


exchange.main(results)
