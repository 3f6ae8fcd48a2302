"""Driver of google-research-datasets/tpu_graphs: tpu_graphs/baselines/{layout,tiles}/{data,models,metrics}.py.

It needs TensorFlow 2.15, TF-GNN and TF-Ranking.
"""

import os

import exchange
import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def results(original, case):
    exchange.on_path(original)
    import tensorflow as tf
    from absl import flags

    tf.random.set_seed(0)
    layout = "layout" in case
    found, graph, model, loss, settings = (_layout if layout else _tile)(case)
    flags.FLAGS.mark_as_parsed()
    model(graph)
    for name, variable in _named(model, layout).items():
        value = case[f"weight/{name}"]
        rows = variable.shape[0] if name == "opcodes.weight" else None
        variable.assign(value[:rows] if rows else (value.T if value.ndim == 2 else value))
    labels = found.pop("labels")
    with tf.GradientTape() as tape:
        scores = model(graph, training=True)
        value = loss(labels, scores) + tf.add_n(model.losses)
    named = _named(model, layout)
    gradients = tape.gradient(value, list(named.values()))
    optimizer = tf.keras.optimizers.Adam(**settings)
    found |= {"float32/scores": scores[0].numpy(), "float32/loss": value.numpy()}
    for name, gradient in zip(named, gradients, strict=True):
        found[f"float32/gradient/{name}"] = _ours(name, tf.convert_to_tensor(gradient).numpy())
    optimizer.apply_gradients(zip(gradients, named.values(), strict=True))
    return found | {f"float32/step/{name}": _ours(name, variable.numpy()) for name, variable in named.items()}


def _ours(name, value):
    return value.T if value.ndim == 2 and name != "opcodes.weight" else value


def _named(model, layout):
    """The weights by this project's names."""
    sequences = {"head": model._postnet}
    if layout:
        sequences["before"] = model._prenet
        sequences |= {f"layers.{place}": layer for place, layer in enumerate(model._gc_layers)}
    else:
        sequences |= {f"layers.{place}": layer for place, layer in enumerate(model._gnn_layers)}
    named = {"opcodes.weight": model._op_embedding.embedding_layer.embeddings}
    for name, sequence in sequences.items():
        for place, layer in enumerate(sequence.layers):
            for variable, what in ((getattr(layer, "kernel", None), "weight"), (getattr(layer, "bias", None), "bias")):
                if variable is not None:
                    named[f"{name}.{place}.{what}"] = variable
    return named


def _split(data, paths):
    split = data.NpzDatasetPartition()
    for path in paths:
        split.add_npz_file(os.path.basename(path)[:-4], np.load(path), min_configs=1)
    split.finalize()
    return split


def _layout(case):
    import tensorflow as tf
    import tensorflow_ranking as tfr
    from tpu_graphs.baselines.layout import data, models

    train, chosen = _split(data, case.paths("train")), _split(data, [case.path("chosen")])
    dataset = data.NpzDataset(train=train, validation=chosen, test=chosen)
    features = dataset._apply_normalizer(chosen.node_feat, *dataset._get_normalizer(train.node_feat))
    layouts = dataset._apply_normalizer(chosen.node_config_feat, *dataset._get_normalizer(train.node_config_feat))
    chosen.node_feat, chosen.node_config_feat = features, layouts
    stretch = int(case["stretch"])
    graph = chosen.get_item(0).to_graph_tensor(max_nodes=stretch)
    graph = next(iter(tf.data.Dataset.from_tensors(graph).batch(1).map(type(graph).merge_batch_to_components)))
    count = int(chosen.config_ranges[1])
    model = models.ResModel(count, dataset.num_ops)
    labels = tf.cast(graph.node_sets["g"]["runtimes"], tf.float32) / 1e7
    found = {
        "features": features.numpy(),
        "configurations": layouts.numpy(),
        "selected": graph.node_sets["op"]["selected"].numpy(),
        "labels": labels,
        "target": labels.numpy()[0],
    }
    return found, graph, model, tfr.keras.losses.ListMLELoss(), {"learning_rate": 1e-3, "clipnorm": 1e-2}


def _tile(case):
    import tensorflow as tf
    from tpu_graphs.baselines.tiles import data, metrics, models

    train, chosen = _split(data, case.paths("train")), _split(data, [case.path("chosen")])
    dataset = data.NpzDataset(train=train, validation=chosen, test=chosen)
    features = dataset._apply_normalizer(chosen.node_feat, *dataset._get_normalizer(train.node_feat))
    configurations = dataset._apply_normalizer(chosen.config_feat, *dataset._get_normalizer(train.config_feat))
    chosen.node_feat, chosen.config_feat = features, configurations
    graph = chosen.get_item(0).to_graph_tensor()
    graph = next(iter(tf.data.Dataset.from_tensors(graph).batch(1).map(type(graph).merge_batch_to_components)))
    count = int(chosen.config_ranges[1])
    model = models.EarlyJoinSAGE(count, dataset.num_ops)
    labels = tf.cast(tf.reshape(graph.node_sets["config"]["runtimes"], [1, count]), tf.float32)
    loss = metrics.CombinedLoss(metrics.parse_loss_str("ListMLELoss:1,MSE:0.02"))
    found = {
        "features": features.numpy(),
        "configurations": configurations.numpy(),
        "labels": labels,
        "target": labels.numpy()[0],
    }
    return found, graph, model, loss, {"learning_rate": 1e-3, "clipnorm": 1e-3}


exchange.main(results)
