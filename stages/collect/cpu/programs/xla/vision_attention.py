"""Images and attention: keras_hub's vision transformers, and attention blocks put together from dense layers."""

from functools import partial

from stages.collect.cpu.programs.xla.building import program
from stages.collect.cpu.programs.xla.layers import (
    CLASSES,
    attention,
    classifier,
    image_shape,
    load_hub,
    load_keras,
    query_key_value,
)


def _vit(size, patch, layers, heads, width):
    """Vision transformer (Dosovitskiy 2021)."""
    backbone = load_hub().ViTBackbone(
        image_shape=image_shape(size),
        patch_size=(patch, patch),
        num_layers=layers,
        num_heads=heads,
        hidden_dim=width,
        mlp_dim=2 * width,
    )
    return classifier(backbone)


def _mit(size, widths, heads, ratios):
    """MiT, the encoder of SegFormer (Xie 2021)."""
    stages = len(widths)
    return classifier(
        load_hub().MiTBackbone(
            layerwise_depths=[1] * stages,
            num_layers=stages,
            layerwise_num_heads=heads,
            layerwise_sr_ratios=ratios,
            max_drop_path_rate=0.0,
            layerwise_patch_sizes=[7] + [3] * (stages - 1),
            layerwise_strides=[4] + [2] * (stages - 1),
            image_shape=image_shape(size),
            hidden_dims=widths,
        )
    )


def _swin(size, width, depths, heads, window):
    """Swin transformer (Liu 2021): attention within shifted windows."""
    return classifier(
        load_hub().SwinTransformerBackbone(
            image_shape=image_shape(size),
            embed_dim=width,
            depths=depths,
            num_heads=heads,
            window_size=window,
            drop_path=0.0,
        )
    )


def _non_local(size, width):
    """Non-local block (Wang 2018) between two pointwise layers: attention between all places of an image."""
    keras = load_keras()
    layers = keras.layers
    inputs = keras.Input((size, size, 16))
    x = layers.Dense(2 * width, activation="relu")(inputs)
    query, key, value = (layers.Reshape((size * size, width))(layers.Dense(width)(x)) for _ in range(3))
    y = layers.Reshape((size, size, width))(attention(query, key, value))
    return keras.Model(inputs, layers.Add()([x, layers.Dense(2 * width)(y)]))


def _axial(size, width, heads):
    """Axial attention (Ho 2019): along the rows, then along the columns."""
    keras = load_keras()
    layers, ops = keras.layers, keras.ops
    inputs = keras.Input((size, size, 8))
    x = layers.Dense(width)(inputs)
    for _ in range(2):
        parts = query_key_value(x, (size, size, heads, width // heads))
        query, key, value = (ops.transpose(part, (0, 1, 3, 2, 4)) for part in parts)
        y = attention(query, key, value)
        y = layers.Reshape((size, size, width))(ops.transpose(y, (0, 1, 3, 2, 4)))
        x = layers.Permute((2, 1, 3))(layers.Add()([x, y]))
    return keras.Model(inputs, layers.Dense(CLASSES)(x))


# Families: a call gives one program of its family.
vit = partial(program, "vit", _vit, eager=True)
mit = partial(program, "mit", _mit)
swin = partial(program, "swin", _swin, eager=True)
non_local = partial(program, "non_local", _non_local)
axial = partial(program, "axial", _axial)

#: in the order in which a family's programs are measured
PROGRAMS = [
    vit("train", "l2_h4_w64_r32", 4, "forward", size=32, patch=4, layers=2, heads=4, width=64),
    vit("train", "l1_h2_w96_r48", 2, "forward", size=48, patch=6, layers=1, heads=2, width=96),
    vit("train", "l1_h2_w48_r48", 4, "forward", size=48, patch=4, layers=1, heads=2, width=48),
    vit("train", "l2_h2_w32_r40", 8, "forward_nchw", size=40, patch=4, layers=2, heads=2, width=32),
    vit("valid", "l2_h3_w48_r64", 4, "forward", size=64, patch=8, layers=2, heads=3, width=48),
    vit("test", "l1_h4_w64_r40", 8, "forward", size=40, patch=4, layers=1, heads=4, width=64),
    mit("valid", "w32_r48", 2, "forward", size=48, widths=[32], heads=[2], ratios=[2]),
    swin("test", "w32_r64", 2, "forward", size=64, width=32, depths=(2,), heads=(2,), window=4),
    swin("test", "w48_r48", 2, "forward", size=48, width=48, depths=(1,), heads=(3,), window=4),
    non_local("train", "w32_r16", 4, "forward", size=16, width=32),
    non_local("train", "w48_r12", 8, "forward", size=12, width=48),
    non_local("test", "w24_r20", 2, "forward", size=20, width=24),
    axial("train", "w32_r16", 4, "forward", size=16, width=32, heads=2),
    axial("train", "w48_r12", 8, "forward", size=12, width=48, heads=4),
    axial("valid", "w64_r16", 2, "forward", size=16, width=64, heads=4),
]
