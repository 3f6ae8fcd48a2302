"""Registry of the vision and general programs (source 'xla') that are compiled and timed on XLA:CPU.

Every network is small on purpose: a configuration costs one compilation, and thousands are needed. Networks come from
keras_hub backbones with explicit small arguments, from keras.applications, or are put together from keras.layers where
no library has the family at this size. Weights are random; nothing is downloaded. Importing this module imports neither
keras nor jax: `Program.build` does.
"""

from __future__ import annotations

import os
import zlib
from collections import defaultdict
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial

from stages.collect.program import Program

LEARNING_RATE = 1e-3
CLASSES = 10


def _load_keras():
    """keras on its JAX backend; the variables must be set before the first import."""
    os.environ["KERAS_BACKEND"] = "jax"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras

    return keras


def _load_hub():
    _load_keras()
    import keras_hub

    return keras_hub.models


@contextmanager
def _image_data_format(data_format: str):
    """Some backbones read the data format only from the global keras setting."""
    config = _load_keras().config
    before = config.image_data_format()
    config.set_image_data_format(data_format)
    try:
        yield
    finally:
        config.set_image_data_format(before)


def _build(program_id: str, make: partial, batch: int, data_format: str, training: bool) -> tuple[Callable, tuple]:
    """Function and arguments of one program; weights are arguments, so they are parameters of the HLO module."""
    keras = _load_keras()
    import jax
    import numpy as np

    keras.backend.clear_session()
    with _image_data_format(data_format):
        model = _untouched_model(make)
    rng = np.random.default_rng(zlib.crc32(program_id.encode()))
    trainable = [_weight(rng, variable) for variable in model.trainable_variables]
    fixed = [_weight(rng, variable) for variable in model.non_trainable_variables]
    images = rng.random((batch, *model.inputs[0].shape[1:]), dtype=np.float32)
    if not training:

        def forward(trainable, fixed, images):
            outputs, _ = model.stateless_call(trainable, fixed, images, training=False)
            return outputs

        return forward, (trainable, fixed, images)
    targets = jax.tree.map(lambda output: _target(rng, batch, output.shape), model.output)
    return _training_step(model), (trainable, fixed, images, targets)


def _untouched_model(make: partial):
    """The network, traced rather than run: its own initialisers would compile one program per shape, 5 s a network.

    The networks in NEED_NUMBERS compute constants while they are made, so they cannot be traced.
    """
    import jax

    if make.func in NEED_NUMBERS:
        return make()
    made = []
    jax.eval_shape(lambda: made.append(make()))
    return made[0]


def _weight(rng, variable):
    """Random kernels of variance 1 / inputs, neutral values for normalisation, bias and random state."""
    import numpy as np

    shape, dtype = tuple(variable.shape), np.dtype(variable.dtype)
    if len(shape) >= 2:
        return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[:-1]))).astype(dtype)
    neutral = np.ones if variable.name in ("gamma", "moving_variance") else np.zeros
    return neutral(shape, dtype)


def _target(rng, batch: int, shape: tuple):
    """Class labels for a classifier's (batch, classes) output, values in [0, 1) for any other output."""
    import numpy as np

    if len(shape) == 2:
        return rng.integers(shape[1], size=batch).astype(np.int32)
    return rng.random((batch, *shape[1:]), dtype=np.float32)


def _training_step(model) -> Callable:
    """Loss (cross-entropy for class scores, else mean squared error), gradients and one SGD update.

    Batch normalisation keeps its statistics, as in fine-tuning: batch statistics double the time to compile a step.
    """
    import jax
    from keras import ops

    def part(output, target):
        if output.ndim == 2:
            return ops.mean(ops.sparse_categorical_crossentropy(target, output, from_logits=True))
        return ops.mean(ops.square(output - target))

    def loss(trainable, fixed, images, targets):
        outputs, _ = model.stateless_call(trainable, fixed, images, training=False)
        return sum(jax.tree.leaves(jax.tree.map(part, outputs, targets)))

    def step(trainable, fixed, images, targets):
        value, gradients = jax.value_and_grad(loss)(trainable, fixed, images, targets)
        updated = [weight - LEARNING_RATE * gradient for weight, gradient in zip(trainable, gradients, strict=True)]
        return value, updated

    return step


# Pieces that the networks below share. All of them follow the global data format.


def _shape(size: int | tuple, channels: int = 3) -> tuple:
    """Shape of one image (two or three sides) without the batch."""
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if _load_keras().config.image_data_format() == "channels_last":
        return (*sides, channels)
    return (channels, *sides)


def _channel_axis() -> int:
    return -1 if _load_keras().config.image_data_format() == "channels_last" else 1


def _conv(x, filters: int, kernel: int = 3, strides: int = 1, activation: str | None = "relu", **arguments):
    """Convolution (two- or three-dimensional, as x is), batch normalisation, activation."""
    layers = _load_keras().layers
    layer = layers.Conv2D if len(x.shape) == 4 else layers.Conv3D
    x = layer(filters, kernel, strides=strides, padding="same", use_bias=False, **arguments)(x)
    x = layers.BatchNormalization(axis=_channel_axis())(x)
    return x if activation is None else layers.Activation(activation)(x)


def _depthwise(x, kernel: int, strides: int = 1, activation: str | None = "relu"):
    layers = _load_keras().layers
    x = layers.DepthwiseConv2D(kernel, strides=strides, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(axis=_channel_axis())(x)
    return x if activation is None else layers.Activation(activation)(x)


def _concatenate(*parts):
    return _load_keras().layers.Concatenate(axis=_channel_axis())(list(parts))


def _classifier(backbone):
    """A backbone with the usual head: pooled features (an image's or a sequence's) and class scores."""
    keras = _load_keras()
    x = backbone.output
    pool = keras.layers.GlobalAveragePooling2D if len(x.shape) == 4 else keras.layers.GlobalAveragePooling1D
    return keras.Model(backbone.inputs, keras.layers.Dense(CLASSES)(pool()(x)))


def _model(inputs, outputs):
    return _load_keras().Model(inputs, outputs)


# Networks from the libraries.


def _resnet(size, filters, blocks, block_type="basic_block", pre=False, stem=64):
    return _classifier(
        _load_hub().ResNetBackbone(
            input_conv_filters=[stem],
            input_conv_kernel_sizes=[7],
            stackwise_num_filters=filters,
            stackwise_num_blocks=blocks,
            stackwise_num_strides=[1] + [2] * (len(filters) - 1),
            block_type=block_type,
            use_pre_activation=pre,
            image_shape=_shape(size),
        )
    )


def _mobilenet(size, filters, expansion=3, kernel=3, squeeze=None, activation="relu6", stem=16):
    stages = len(filters)
    return _classifier(
        _load_hub().MobileNetBackbone(
            stackwise_expansion=[[expansion * before] for before in [8, *filters[:-1]]],
            stackwise_num_blocks=[1] * stages,
            stackwise_num_filters=[[f] for f in filters],
            stackwise_kernel_size=[[kernel]] * stages,
            stackwise_num_strides=[[2 if i % 2 else 1] for i in range(stages)],
            stackwise_se_ratio=[[squeeze]] * stages,
            stackwise_activation=[[activation]] * stages,
            stackwise_padding=[[kernel // 2]] * stages,
            output_num_filters=None,
            depthwise_filters=8,
            depthwise_stride=1,
            depthwise_residual=False,
            last_layer_filter=filters[-1] * 2,
            squeeze_and_excite=squeeze,
            image_shape=_shape(size),
            input_activation=activation,
            output_activation=activation,
            input_num_filters=stem,
        )
    )


def _densenet(size, repeats, growth):
    return _classifier(
        _load_hub().DenseNetBackbone(stackwise_num_repeats=repeats, growth_rate=growth, image_shape=_shape(size))
    )


def _efficientnet(size, filters, block_types, expansion=3, kernel=3, squeeze=0.25):
    stages = len(filters)
    return _classifier(
        _load_hub().EfficientNetBackbone(
            width_coefficient=1.0,
            depth_coefficient=1.0,
            stackwise_kernel_sizes=[kernel] * stages,
            stackwise_num_repeats=[1] * stages,
            stackwise_input_filters=[filters[0], *filters[:-1]],
            stackwise_output_filters=filters,
            stackwise_expansion_ratios=[expansion] * stages,
            stackwise_squeeze_and_excite_ratios=[squeeze] * stages,
            stackwise_strides=[1] + [2] * (stages - 1),
            stackwise_block_types=block_types,
            dropout=0.0,
            num_features=filters[-1] * 2,
            input_shape=_shape(size),
        )
    )


def _cspnet(size, filters, depth, block_type="dark_block", stage_type="csp", stem=16, groups=1):
    return _classifier(
        _load_hub().CSPNetBackbone(
            stem_filters=stem,
            stem_kernel_size=3,
            stem_strides=2,
            stackwise_depth=depth,
            stackwise_strides=[1] + [2] * (len(filters) - 1),
            stackwise_num_filters=filters,
            block_type=block_type,
            stage_type=stage_type,
            groups=groups,
            stem_padding="same",
            bottle_ratio=[0.5],
            block_ratio=[1.0 if stage_type == "dark" else 0.5],
            image_shape=_shape(size),
        )
    )


def _vgg(size, repeats, filters):
    return _classifier(
        _load_hub().VGGBackbone(stackwise_num_repeats=repeats, stackwise_num_filters=filters, image_shape=_shape(size))
    )


def _xception(size, filters):
    pooling = [False] + [True] * (len(filters) - 2) + [False]
    return _classifier(
        _load_hub().XceptionBackbone(
            stackwise_conv_filters=filters, stackwise_pooling=pooling, image_shape=_shape(size)
        )
    )


def _vit(size, patch, layers, heads, width):
    backbone = _load_hub().ViTBackbone(
        image_shape=_shape(size),
        patch_size=(patch, patch),
        num_layers=layers,
        num_heads=heads,
        hidden_dim=width,
        mlp_dim=2 * width,
    )
    return _classifier(backbone)


def _mit(size, widths, heads, ratios):
    stages = len(widths)
    return _classifier(
        _load_hub().MiTBackbone(
            layerwise_depths=[1] * stages,
            num_layers=stages,
            layerwise_num_heads=heads,
            layerwise_sr_ratios=ratios,
            max_drop_path_rate=0.0,
            layerwise_patch_sizes=[7] + [3] * (stages - 1),
            layerwise_strides=[4] + [2] * (stages - 1),
            image_shape=_shape(size),
            hidden_dims=widths,
        )
    )


def _swin(size, width, depths, heads, window):
    return _classifier(
        _load_hub().SwinTransformerBackbone(
            image_shape=_shape(size),
            embed_dim=width,
            depths=depths,
            num_heads=heads,
            window_size=window,
            drop_path=0.0,
        )
    )


def _hgnet(size, stem, stages):
    backbone = _load_hub().HGNetV2Backbone(
        depths=[stage[3] for stage in stages],
        embedding_size=stem[-1],
        hidden_sizes=[stage[2] for stage in stages],
        stem_channels=stem,
        hidden_act="relu",
        use_learnable_affine_block=False,
        stackwise_stage_filters=stages,
        apply_downsample=[False] + [True] * (len(stages) - 1),
        use_lightweight_conv_block=[False] * len(stages),
        image_shape=_shape(size),
        out_features=[f"stage{len(stages)}"],
    )
    keras = _load_keras()
    x = keras.layers.GlobalAveragePooling2D()(backbone.output[f"stage{len(stages)}"])
    return _model(backbone.inputs, keras.layers.Dense(CLASSES)(x))


def _recurrent(steps, features, units, cell, bidirectional=False, depth=1):
    """Sequence classifier; unrolled, so that every step's nodes stand in the entry computation."""
    keras = _load_keras()
    x = inputs = keras.Input((steps, features))
    for level in range(depth):
        layer = getattr(keras.layers, cell)(units, unroll=True, return_sequences=level < depth - 1)
        x = keras.layers.Bidirectional(layer)(x) if bidirectional else layer(x)
    return _model(inputs, keras.layers.Dense(CLASSES)(x))


def _convlstm(steps, size, filters):
    keras = _load_keras()
    inputs = keras.Input((steps, *_shape(size)))
    x = keras.layers.ConvLSTM2D(filters, 3, padding="same", unroll=True)(inputs)
    return _model(inputs, keras.layers.Conv2D(3, 1)(x))


# Networks put together from layers.


def _unet(size, filters, channels=3):
    """U-net (Ronneberger 2015) with one convolution a level; three-dimensional when size has three sides."""
    keras = _load_keras()
    x = inputs = keras.Input(_shape(size, channels))
    solid = len(x.shape) == 5
    pool = keras.layers.MaxPooling3D if solid else keras.layers.MaxPooling2D
    rise = keras.layers.UpSampling3D if solid else keras.layers.UpSampling2D
    skips = []
    for width in filters[:-1]:
        x = _conv(x, width)
        skips.append(x)
        x = pool()(x)
    x = _conv(x, filters[-1])
    for width, skip in zip(reversed(filters[:-1]), reversed(skips), strict=True):
        x = _concatenate(rise()(x), skip)
        x = _conv(x, width)
    return _model(inputs, (keras.layers.Conv3D if solid else keras.layers.Conv2D)(2, 1)(x))


def _mixer(size, patch, blocks, width, tokens, activation="gelu"):
    """MLP-Mixer (Tolstikhin 2021)."""
    keras = _load_keras()
    layers = keras.layers
    inputs = keras.Input((size, size, 3))
    x = layers.Reshape((-1, width))(layers.Conv2D(width, patch, strides=patch)(inputs))
    patches = x.shape[1]
    for _ in range(blocks):
        y = layers.Permute((2, 1))(layers.LayerNormalization()(x))
        y = layers.Dense(patches)(layers.Dense(tokens, activation=activation)(y))
        x = layers.Add()([x, layers.Permute((2, 1))(y)])
        y = layers.Dense(2 * width, activation=activation)(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dense(width)(y)])
    return _model(inputs, layers.Dense(CLASSES)(layers.GlobalAveragePooling1D()(x)))


def _autoencoder(size, filters, code, channels=3):
    """Convolutional autoencoder with a dense code between encoder and decoder."""
    keras = _load_keras()
    layers = keras.layers
    x = inputs = keras.Input(_shape(size, channels))
    for width in filters:
        x = layers.Conv2D(width, 3, strides=2, padding="same", activation="relu")(x)
    grid = x.shape[1:]
    x = layers.Dense(code)(layers.Flatten()(x))
    x = layers.Reshape(grid)(layers.Dense(grid[0] * grid[1] * grid[2], activation="relu")(x))
    for width in reversed(filters):
        x = layers.Conv2DTranspose(width, 3, strides=2, padding="same", activation="relu")(x)
    return _model(inputs, layers.Conv2D(channels, 3, padding="same", activation="sigmoid")(x))


def _dcgan(noise, start, filters):
    """Generator of DCGAN (Radford 2015)."""
    keras = _load_keras()
    layers = keras.layers
    inputs = keras.Input((noise,))
    x = layers.Dense(start * start * filters[0], use_bias=False)(inputs)
    x = layers.Reshape(_shape(start, filters[0]))(x)
    for width in filters[1:]:
        x = layers.Activation("relu")(layers.BatchNormalization(axis=_channel_axis())(x))
        x = layers.Conv2DTranspose(width, 4, strides=2, padding="same", use_bias=False)(x)
    return _model(inputs, layers.Activation("tanh")(x))


def _detector(size, filters, width, anchors=3):
    """One-stage detector: residual trunk, feature pyramid (Lin 2017) and a shared box-and-class head."""
    keras = _load_keras()
    layers = keras.layers
    inputs = keras.Input(_shape(size))
    x = _conv(inputs, filters[0], strides=2, activation="leaky_relu")
    levels = []
    for count in filters[1:]:
        x = _conv(x, count, strides=2, activation="leaky_relu")
        levels.append(x)
    top = layers.Conv2D(width, 1)(levels[-1])
    pyramid = [top]
    for level in reversed(levels[:-1]):
        top = layers.Add()([layers.UpSampling2D()(top), layers.Conv2D(width, 1)(level)])
        pyramid.append(top)
    tower = layers.Conv2D(width, 3, padding="same", activation="relu")
    head = layers.Conv2D(anchors * (5 + CLASSES), 1)
    to_last = layers.Permute((2, 3, 1)) if _channel_axis() == 1 else layers.Identity()
    boxes = [layers.Reshape((-1, 5 + CLASSES))(to_last(head(tower(level)))) for level in pyramid]
    return _model(inputs, layers.Concatenate(axis=1)(boxes))


def _deeplab(size, filters, width, rates):
    """DeepLabV3 (Chen 2017): atrous spatial pyramid pooling on a small trunk, scores at full resolution."""
    keras = _load_keras()
    layers = keras.layers
    x = inputs = keras.Input(_shape(size))
    for count in filters:
        x = _conv(x, count, strides=2)
    branches = [_conv(x, width, 1)] + [_conv(x, width, 3, dilation_rate=rate) for rate in rates]
    x = _conv(_concatenate(*branches), width, 1)
    x = layers.UpSampling2D(2 ** len(filters), interpolation="bilinear")(layers.Conv2D(CLASSES, 1)(x))
    return _model(inputs, x)


def _fcn(size, filters, head):
    """Fully convolutional segmentation (Long 2015) with scores added over three strides."""
    keras = _load_keras()
    layers = keras.layers
    x = inputs = keras.Input(_shape(size))
    scores = []
    for count in filters:
        x = layers.MaxPooling2D()(layers.Conv2D(count, 3, padding="same", activation="relu")(x))
        scores.append(layers.Conv2D(head, 1)(x))
    x = scores.pop()
    while scores:
        rise = layers.Conv2DTranspose(head, 4, strides=2, padding="same")(x)
        x = layers.Add()([rise, scores.pop()])
    return _model(inputs, layers.Conv2DTranspose(head, 4, strides=2, padding="same")(x))


def _edsr(size, width, blocks, scale):
    """Super-resolution (EDSR, Lim 2017): residual blocks and a pixel shuffle."""
    keras = _load_keras()
    layers, ops = keras.layers, keras.ops
    inputs = keras.Input((size, size, 3))
    x = layers.Conv2D(width, 3, padding="same")(inputs)
    for _ in range(blocks):
        y = layers.Conv2D(width, 3, padding="same", activation="relu")(x)
        x = layers.Add()([x, layers.Conv2D(width, 3, padding="same")(y)])
    x = layers.Conv2D(8 * scale * scale, 3, padding="same")(x)
    x = ops.reshape(x, (-1, size, size, scale, scale, 8))
    x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, size * scale, size * scale, 8))
    return _model(inputs, layers.Conv2D(3, 3, padding="same")(x))


def _resnext(size, filters, groups):
    """ResNeXt bottlenecks (Xie 2017)."""
    keras = _load_keras()
    inputs = keras.Input(_shape(size))
    x = _conv(inputs, filters[0])
    for width in filters:
        y = _conv(x, width, 1)
        y = _conv(y, width, 3, strides=2, groups=groups)
        y = _conv(y, 2 * width, 1, activation=None)
        shortcut = _conv(x, 2 * width, 1, strides=2, activation=None)
        x = keras.layers.Activation("relu")(keras.layers.Add()([y, shortcut]))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return _model(inputs, keras.layers.Dense(CLASSES)(x))


def _shuffle(x, groups: int):
    """Channel shuffle of ShuffleNet: split the channels in groups, swap, join."""
    layers = _load_keras().layers
    shape = x.shape[1:]
    if _channel_axis() == -1:
        x = layers.Reshape((shape[0], shape[1], groups, shape[2] // groups))(x)
        return layers.Reshape(shape)(layers.Permute((1, 2, 4, 3))(x))
    x = layers.Reshape((groups, shape[0] // groups, shape[1], shape[2]))(x)
    return layers.Reshape(shape)(layers.Permute((2, 1, 3, 4))(x))


def _shufflenet(size, filters, groups):
    """ShuffleNet units (Zhang 2017)."""
    keras = _load_keras()
    layers = keras.layers
    inputs = keras.Input(_shape(size))
    x = _conv(inputs, filters[0])
    for width in filters:
        y = _shuffle(_conv(x, width, 1, groups=groups), groups)
        y = _conv(_depthwise(y, 3, 2, None), width, 1, groups=groups, activation=None)
        x = layers.Activation("relu")(_concatenate(layers.AveragePooling2D(3, 2, padding="same")(x), y))
    return _model(inputs, layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(x)))


def _inception(size, stem, widths):
    """Inception blocks (Szegedy 2015): four parallel branches."""
    keras = _load_keras()
    layers = keras.layers
    inputs = keras.Input(_shape(size))
    x = _conv(inputs, stem, 3, strides=2)
    for width in widths:
        pooled = layers.AveragePooling2D(3, 1, padding="same")(x)
        x = _concatenate(
            _conv(x, width, 1),
            _conv(_conv(x, width, 1), width, 5),
            _conv(_conv(_conv(x, width, 1), width, 3), width, 3),
            _conv(pooled, width, 1),
        )
        x = layers.MaxPooling2D(padding="same")(x)
    return _model(inputs, layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(x)))


def _convnext(size, widths, blocks, patch=4, activation="gelu"):
    """ConvNeXt (Liu 2022); keras.applications has it with four fixed stages only."""
    keras = _load_keras()
    layers = keras.layers
    x = inputs = keras.Input((size, size, 3))
    for stage, width in enumerate(widths):
        stride = 2 if stage else patch
        x = layers.LayerNormalization(epsilon=1e-6)(layers.Conv2D(width, stride, strides=stride)(x))
        for _ in range(blocks):
            y = layers.LayerNormalization(epsilon=1e-6)(layers.DepthwiseConv2D(7, padding="same")(x))
            x = layers.Add()([x, layers.Dense(width)(layers.Dense(4 * width, activation=activation)(y))])
    return _model(inputs, layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(x)))


def _pointnet(points, widths, head):
    """PointNet (Qi 2017): shared dense layers over points and a maximum over them."""
    keras = _load_keras()
    layers = keras.layers
    x = inputs = keras.Input((points, 3))
    for width in widths:
        x = layers.Activation("relu")(layers.BatchNormalization()(layers.Dense(width)(x)))
    best = layers.Dense(head, activation="relu")(layers.GlobalMaxPooling1D(keepdims=True)(x))
    x = layers.Concatenate()([x, layers.UpSampling1D(points)(best)])
    x = layers.Dense(head, activation="relu")(x)
    return _model(inputs, layers.Dense(CLASSES)(x))


# Small networks of dense layers, transposes and reshapes, one block each: a second or less a configuration.


def _attended(query, key, value):
    """Attention over the last but one axis of (..., places, width), its scores not scaled."""
    ops = _load_keras().ops
    *outer, places, width = range(len(key.shape))
    return ops.matmul(ops.softmax(ops.matmul(query, ops.transpose(key, (*outer, width, places)))), value)


def _projected(x, shape):
    """Query, key and value: dense layers of x, each reshaped."""
    layers = _load_keras().layers
    return [layers.Reshape(shape)(layers.Dense(x.shape[-1])(x)) for _ in range(3)]


def _feed_forward(x):
    """x + dense(relu(dense(x))), twice as wide between."""
    layers = _load_keras().layers
    width = x.shape[-1]
    return layers.Add()([x, layers.Dense(width)(layers.Dense(2 * width, activation="relu")(x))])


def _perceptron(features, widths):
    """Multilayer perceptron on a table's rows."""
    keras = _load_keras()
    x = inputs = keras.Input((features,))
    for width in widths:
        x = keras.layers.Dense(width, activation="relu")(x)
    return _model(inputs, keras.layers.Dense(CLASSES)(x))


def _ts_mixer(steps, features, width, blocks=1):
    """TSMixer (Chen 2023): dense layers along time and along features in turn, and a forecast."""
    layers = _load_keras().layers
    x = inputs = _load_keras().Input((steps, features))
    for _ in range(blocks):
        y = layers.Dense(steps, activation="relu")(layers.Permute((2, 1))(layers.LayerNormalization()(x)))
        x = layers.Add()([x, layers.Permute((2, 1))(y)])
        y = layers.Dense(width, activation="relu")(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dense(features)(y)])
    return _model(inputs, layers.Permute((2, 1))(layers.Dense(steps // 2)(layers.Permute((2, 1))(x))))


def _dlrm(fields, dense, width):
    """DLRM (Naumov 2019) without its lookup: dense features and embedded fields, all pairs of them multiplied."""
    keras = _load_keras()
    layers, ops = keras.layers, keras.ops
    inputs = keras.Input((fields * width + dense,))
    bottom = layers.Dense(width, activation="relu")(inputs[:, :dense])
    x = layers.Concatenate(axis=1)([layers.Reshape((fields, width))(inputs[:, dense:]), bottom[:, None]])
    pairs = ops.matmul(x, ops.transpose(x, (0, 2, 1)))
    x = layers.Concatenate()([bottom, layers.Reshape(((fields + 1) ** 2,))(pairs)])
    return _model(inputs, layers.Dense(1)(layers.Dense(2 * width, activation="relu")(x)))


def _non_local(size, width):
    """Non-local block (Wang 2018) between two pointwise layers: attention between all places of an image."""
    keras = _load_keras()
    layers = keras.layers
    inputs = keras.Input((size, size, 16))
    x = layers.Dense(2 * width, activation="relu")(inputs)
    query, key, value = (layers.Reshape((size * size, width))(layers.Dense(width)(x)) for _ in range(3))
    y = layers.Reshape((size, size, width))(_attended(query, key, value))
    return _model(inputs, layers.Add()([x, layers.Dense(2 * width)(y)]))


def _axial(size, width, heads):
    """Axial attention (Ho 2019): along the rows, then along the columns."""
    keras = _load_keras()
    layers, ops = keras.layers, keras.ops
    inputs = keras.Input((size, size, 8))
    x = layers.Dense(width)(inputs)
    for _ in range(2):
        parts = _projected(x, (size, size, heads, width // heads))
        query, key, value = (ops.transpose(part, (0, 1, 3, 2, 4)) for part in parts)
        y = _attended(query, key, value)
        y = layers.Reshape((size, size, width))(ops.transpose(y, (0, 1, 3, 2, 4)))
        x = layers.Permute((2, 1, 3))(layers.Add()([x, y]))
    return _model(inputs, layers.Dense(CLASSES)(x))


def _patch_tst(steps, features, patch, width):
    """PatchTST (Nie 2023), one head: each series cut in patches, attention over them, a forecast a series."""
    keras = _load_keras()
    layers = keras.layers
    inputs = keras.Input((steps, features))
    patches = steps // patch
    x = layers.Dense(width)(layers.Reshape((features, patches, patch))(layers.Permute((2, 1))(inputs)))
    query, key, value = (layers.Dense(width)(x) for _ in range(3))
    y = _attended(query, key, value)
    x = _feed_forward(layers.Add()([x, y]))
    x = layers.Dense(patch)(layers.Reshape((features, patches * width))(x))
    return _model(inputs, layers.Permute((2, 1))(x))


def _nerf(samples, width, frequencies):
    """NeRF (Mildenhall 2020): encoded samples of a ray through a perceptron, colours summed along the ray."""
    keras = _load_keras()
    layers, ops = keras.layers, keras.ops
    inputs = keras.Input((samples, 3))
    scaled = [inputs[..., None] * 2.0**level for level in range(frequencies)]
    angles = layers.Reshape((samples, 3 * frequencies))(layers.Concatenate()(scaled))
    x = layers.Concatenate()([ops.sin(angles), ops.cos(angles)])
    for _ in range(2):
        x = layers.Dense(width, activation="relu")(x)
    density = ops.softmax(ops.squeeze(layers.Dense(1)(x), -1))
    colour = layers.Dense(3, activation="sigmoid")(layers.Dense(width // 2, activation="relu")(x))
    return _model(inputs, ops.sum(density[..., None] * colour, axis=1))


def _experts(features, experts, width):
    """Soft mixture of experts (Jacobs 1991): every expert sees every row, a gate adds them up."""
    keras = _load_keras()
    layers, ops = keras.layers, keras.ops
    inputs = keras.Input((features,))
    gate = layers.Dense(experts, activation="softmax")(inputs)
    x = layers.Reshape((experts, width))(layers.Dense(experts * width, activation="relu")(inputs))
    x = layers.EinsumDense("bei,eij->bej", (experts, width))(x)
    return _model(inputs, layers.Dense(CLASSES)(ops.sum(x * gate[..., None], axis=1)))


def _tabular_attention(fields, width, heads):
    """FT-Transformer (Gorishniy 2021), one block: a token a field, attention over the fields."""
    keras = _load_keras()
    layers, ops = keras.layers, keras.ops
    inputs = keras.Input((fields, 4))
    x = layers.Dense(width)(inputs)
    parts = _projected(x, (fields, heads, width // heads))
    query, key, value = (ops.transpose(part, (0, 2, 1, 3)) for part in parts)
    y = _attended(query, key, value)
    x = layers.Add()([x, layers.Dense(width)(layers.Reshape((fields, width))(ops.transpose(y, (0, 2, 1, 3))))])
    x = _feed_forward(x)
    return _model(inputs, layers.Dense(CLASSES)(ops.mean(layers.LayerNormalization()(x), axis=1)))


def _perceiver(tokens, features, latents, width):
    """Perceiver (Jaegle 2021): few latents read many tokens by cross-attention, then mix."""
    keras = _load_keras()
    layers = keras.layers
    inputs = keras.Input((tokens, features))
    start = layers.Permute((2, 1))(layers.Dense(latents)(layers.Permute((2, 1))(inputs)))
    x = query = layers.Dense(width)(start)
    key, value = layers.Dense(width)(inputs), layers.Dense(width)(inputs)
    x = x + _attended(query, key, value)
    x = _feed_forward(x)
    return _model(inputs, layers.Dense(CLASSES)(layers.Reshape((latents * width,))(x)))


def _capsules(inputs_count, outputs_count, width):
    """Capsules (Sabour 2017) with two rounds of routing."""
    keras = _load_keras()
    layers, ops = keras.layers, keras.ops
    inputs = keras.Input((inputs_count, width))
    votes = layers.Reshape((inputs_count, outputs_count, width))(layers.Dense(outputs_count * width)(inputs))
    votes = ops.transpose(votes, (0, 2, 1, 3))
    logits = ops.mean(votes, axis=-1)
    for _ in range(2):
        weights = ops.softmax(logits, axis=1)
        pose = ops.sum(weights[..., None] * votes, axis=2)
        pose = pose / (1.0 + ops.sqrt(ops.sum(ops.square(pose), axis=-1, keepdims=True) + 1e-6))
        logits = logits + ops.squeeze(ops.matmul(votes, pose[..., None]), -1)
    return _model(inputs, ops.sqrt(ops.sum(ops.square(pose), axis=-1) + 1e-6))


def _codebook(size, patch, codes, width):
    """VQ-VAE (van den Oord 2017) with soft codes: distances from patches to a codebook, weighted codes, decoder."""
    keras = _load_keras()
    layers, ops = keras.layers, keras.ops
    grid = size // patch
    inputs = keras.Input((size, size, 3))
    x = layers.Permute((1, 3, 2, 4, 5))(layers.Reshape((grid, patch, grid, patch, 3))(inputs))
    x = layers.Dense(width)(layers.Reshape((grid * grid, patch * patch * 3))(x))
    x = layers.Dense(width)(ops.softmax(layers.Dense(codes)(x) - ops.sum(ops.square(x), axis=-1, keepdims=True)))
    x = layers.Reshape((grid, grid, patch, patch, 3))(layers.Dense(patch * patch * 3)(x))
    return _model(inputs, layers.Reshape((size, size, 3))(layers.Permute((1, 3, 2, 4, 5))(x)))


def _spatial_gate(size, patch, width):
    """Vision gMLP (Liu 2021), one block: a gate that mixes the patches."""
    keras = _load_keras()
    layers = keras.layers
    grid = size // patch
    inputs = keras.Input((size, size, 3))
    x = layers.Permute((1, 3, 2, 4, 5))(layers.Reshape((grid, patch, grid, patch, 3))(inputs))
    x = layers.Dense(width)(layers.Reshape((grid * grid, patch * patch * 3))(x))
    y = layers.Dense(2 * width, activation="relu")(layers.LayerNormalization()(x))
    gate = layers.Permute((2, 1))(layers.Dense(grid * grid)(layers.Permute((2, 1))(y[..., width:])))
    x = layers.Add()([x, layers.Dense(width)(y[..., :width] * gate)])
    return _model(inputs, layers.Dense(CLASSES)(layers.GlobalAveragePooling1D()(x)))


def _set_network(members, features, width):
    """Deep Sets (Zaheer 2017): each member beside the mean of its set, twice."""
    keras = _load_keras()
    layers, ops = keras.layers, keras.ops
    x = inputs = keras.Input((members, features))
    for _ in range(2):
        mean = layers.Dense(width)(ops.mean(x, axis=1, keepdims=True))
        x = ops.relu(layers.Dense(width)(x) - mean)
    return _model(inputs, layers.Dense(CLASSES)(ops.max(x, axis=1)))


def _causal_convolutions(steps, features, width, dilations):
    """Temporal convolutional network (Bai 2018), convolutions as dense layers over shifted copies."""
    keras = _load_keras()
    layers, ops = keras.layers, keras.ops
    inputs = keras.Input((steps, features))
    x = layers.Dense(width)(inputs)
    for dilation in dilations:
        shifted = ops.pad(x, ((0, 0), (dilation, 0), (0, 0)))[:, :steps]
        x = layers.Add()([x, layers.Dense(width, activation="relu")(layers.Concatenate()([x, shifted]))])
    return _model(inputs, layers.Dense(CLASSES)(layers.Reshape((steps * width,))(x)))


def _graph_attention(nodes, features, width):
    """Graph convolution (Kipf 2017) on a graph of similarities between the nodes' features."""
    keras = _load_keras()
    layers, ops = keras.layers, keras.ops
    x = inputs = keras.Input((nodes, features))
    key = layers.Dense(width)(inputs)
    edges = ops.softmax(ops.matmul(key, ops.transpose(key, (0, 2, 1))))
    for _ in range(2):
        x = ops.relu(ops.matmul(edges, layers.Dense(width)(x)))
    return _model(inputs, layers.Dense(CLASSES)(x))


NEED_NUMBERS = (_swin, _vit)

# split, family, size tag, batch, mode (forward or train, with _nchw for channels_first), network, its arguments
_ROWS: list[tuple[str, str, str, int, str, Callable, dict]] = [
    ("train", "resnet", "v1_d2_f64-96_r48", 2, "forward", _resnet, dict(size=48, filters=[64, 96], blocks=[1, 1])),
    ("train", "mobilenet", "v2_f16-24-32_r32", 4, "forward", _mobilenet, dict(size=32, filters=[16, 24, 32])),
    ("train", "densenet", "d2-2_g16_r64", 2, "forward", _densenet, dict(size=64, repeats=[2, 2], growth=16)),
    (
        "train",
        "efficientnet",
        "v1_f16-24-32_r40",
        4,
        "forward",
        _efficientnet,
        dict(size=40, filters=[16, 24, 32], block_types=["v1"] * 3),
    ),
    ("train", "cspnet", "dark_f32-64_r64", 2, "forward", _cspnet, dict(size=64, filters=[32, 64], depth=[1, 1])),
    ("train", "vgg", "d4-4_f16-32_r32", 4, "forward", _vgg, dict(size=32, repeats=[4, 4], filters=[16, 32])),
    ("train", "unet", "f16-32_r48", 2, "forward", _unet, dict(size=48, filters=[16, 32, 48])),
    ("train", "unet3d", "f8-16-16_r8", 1, "forward", _unet, dict(size=(8, 8, 16), filters=[8, 16, 16], channels=1)),
    ("train", "vit", "l2_h4_w64_r32", 4, "forward", _vit, dict(size=32, patch=4, layers=2, heads=4, width=64)),
    (
        "train",
        "mixer",
        "l2_w64_r32",
        8,
        "forward",
        _mixer,
        dict(size=32, patch=4, blocks=2, width=64, tokens=64),
    ),
    ("train", "lstm", "t8_u64", 32, "forward", _recurrent, dict(steps=8, features=64, units=64, cell="LSTM")),
    ("train", "autoencoder", "f24_r32", 1, "train", _autoencoder, dict(size=32, filters=[24], code=64)),
    ("train", "dcgan", "f64-32-16-3_r64", 4, "forward", _dcgan, dict(noise=64, start=8, filters=[64, 32, 16, 3])),
    ("train", "yolo", "f16-32-64_r64", 4, "forward", _detector, dict(size=64, filters=[16, 24, 32, 48], width=32)),
    (
        "train",
        "deeplab",
        "f16-32_r64",
        2,
        "forward",
        _deeplab,
        dict(size=64, filters=[16, 32], width=24, rates=[2, 4]),
    ),
    ("train", "edsr", "d2_w32_r24", 4, "forward", _edsr, dict(size=24, width=32, blocks=2, scale=2)),
    ("valid", "xception", "f16-32-48_r48", 2, "forward", _xception, dict(size=48, filters=[[16, 24], [32, 32], [48]])),
    ("valid", "mit", "w32_r48", 2, "forward", _mit, dict(size=48, widths=[32], heads=[2], ratios=[2])),
    ("valid", "gru", "t8_u96", 32, "forward", _recurrent, dict(steps=8, features=64, units=96, cell="GRU")),
    ("valid", "resnext", "g4_f16-32_r32", 4, "forward_nchw", _resnext, dict(size=32, filters=[16, 32], groups=4)),
    ("valid", "pointnet", "n256_w64", 8, "train", _pointnet, dict(points=256, widths=[64], head=64)),
    ("test", "convnext", "d2_w32-64_r32", 4, "forward", _convnext, dict(size=32, widths=[32, 64], blocks=1, patch=2)),
    (
        "test",
        "swin",
        "w32_r64",
        2,
        "forward",
        _swin,
        dict(size=64, width=32, depths=(2,), heads=(2,), window=4),
    ),
    ("test", "inception", "f16-24_r48", 4, "forward", _inception, dict(size=48, stem=16, widths=[16, 24])),
    (
        "test",
        "hgnet",
        "f16-32_r64",
        2,
        "forward",
        _hgnet,
        dict(size=64, stem=[3, 16, 16], stages=[(16, 16, 32, 1, 2, 3), (32, 16, 48, 1, 2, 3)]),
    ),
    ("test", "convlstm", "t4_f16_r24", 2, "forward", _convlstm, dict(steps=4, size=24, filters=16)),
    ("test", "shufflenet", "g4_f16-32_r24", 4, "forward", _shufflenet, dict(size=24, filters=[16, 32], groups=4)),
    ("test", "fcn", "f16-32-48_r48", 4, "forward", _fcn, dict(size=48, filters=[16, 32, 48], head=16)),
    ("valid", "resnet", "v2_d1_f64_r32", 2, "train", _resnet, dict(size=32, filters=[64], blocks=[1], pre=True)),
    (
        "test",
        "mobilenet",
        "v3_k5_f16-24_r32",
        4,
        "forward_nchw",
        _mobilenet,
        dict(size=32, filters=[16, 24], kernel=5, squeeze=0.25, activation="hard_swish"),
    ),
    (
        "train",
        "resnet",
        "v2_d2_f64-96_r32",
        4,
        "forward_nchw",
        _resnet,
        dict(size=32, filters=[64, 96], blocks=[1, 1], pre=True),
    ),
    (
        "train",
        "resnet",
        "v1b_d2_f64_r40",
        1,
        "forward",
        _resnet,
        dict(size=40, filters=[64], blocks=[2], block_type="bottleneck_block"),
    ),
    ("train", "resnet", "v1_d1_f64_r32", 4, "train", _resnet, dict(size=32, filters=[64], blocks=[1])),
    (
        "test",
        "resnet",
        "v2_d3_f64-80-96_r64",
        1,
        "forward",
        _resnet,
        dict(size=64, filters=[64, 80, 96], blocks=[1, 1, 1], pre=True),
    ),
    (
        "train",
        "mobilenet",
        "v3_k5_f16-24-32_r32",
        2,
        "forward",
        _mobilenet,
        dict(size=32, filters=[16, 24, 32], kernel=5, squeeze=0.25, activation="hard_swish"),
    ),
    (
        "train",
        "mobilenet",
        "v2_e4_f24-40_r32",
        2,
        "forward_nchw",
        _mobilenet,
        dict(size=32, filters=[24, 40], expansion=4),
    ),
    ("train", "mobilenet", "v2_e2_f16-32_r24", 4, "forward", _mobilenet, dict(size=24, filters=[16, 32], expansion=2)),
    ("train", "densenet", "d2-2_g12_r48", 2, "forward_nchw", _densenet, dict(size=48, repeats=[2, 2], growth=12)),
    ("train", "densenet", "d3_g24_r32", 8, "forward", _densenet, dict(size=32, repeats=[3], growth=24)),
    ("train", "densenet", "d4_g32_r40", 4, "forward", _densenet, dict(size=40, repeats=[4], growth=32)),
    ("valid", "densenet", "d2-3_g16_r32", 8, "forward", _densenet, dict(size=32, repeats=[2, 3], growth=16)),
    (
        "train",
        "efficientnet",
        "v2_f16-24_r32",
        4,
        "forward",
        _efficientnet,
        dict(size=32, filters=[16, 24], block_types=["fused", "unfused"]),
    ),
    (
        "train",
        "efficientnet",
        "v2_f24_r24",
        2,
        "train",
        _efficientnet,
        dict(size=24, filters=[24], block_types=["fused"], squeeze=0.0),
    ),
    (
        "train",
        "efficientnet",
        "v1_k5_e4_f16-32_r32",
        2,
        "forward",
        _efficientnet,
        dict(size=32, filters=[16, 32], block_types=["v1", "v1"], expansion=4, kernel=5),
    ),
    (
        "test",
        "efficientnet",
        "v2_f24-32-40_r40",
        2,
        "forward",
        _efficientnet,
        dict(size=40, filters=[24, 32, 40], block_types=["fused", "fused", "unfused"]),
    ),
    (
        "train",
        "cspnet",
        "plain_f16-32-48_r48",
        4,
        "forward",
        _cspnet,
        dict(size=48, filters=[16, 32, 48], depth=[1, 1, 1], stage_type="dark"),
    ),
    (
        "train",
        "cspnet",
        "cs3_f32-48_r40",
        2,
        "forward_nchw",
        _cspnet,
        dict(size=40, filters=[32, 48], depth=[1, 2], block_type="bottleneck_block", stage_type="cs3"),
    ),
    (
        "train",
        "cspnet",
        "edge_f24-32_r32",
        4,
        "forward",
        _cspnet,
        dict(size=32, filters=[24, 32], depth=[1, 1], block_type="edge_block", stem=24),
    ),
    (
        "valid",
        "cspnet",
        "csp_f48-64_r32",
        4,
        "forward",
        _cspnet,
        dict(size=32, filters=[48, 64], depth=[2, 1], block_type="bottleneck_block", stem=24),
    ),
    (
        "train",
        "vgg",
        "d3-3-3_f16-32-64_r32",
        2,
        "forward",
        _vgg,
        dict(size=32, repeats=[3, 3, 3], filters=[16, 32, 64]),
    ),
    ("train", "vgg", "d4-5_f24-48_r32", 2, "forward_nchw", _vgg, dict(size=32, repeats=[4, 5], filters=[24, 48])),
    (
        "train",
        "vgg",
        "d2-3-3_f24-32-48_r48",
        1,
        "forward",
        _vgg,
        dict(size=48, repeats=[2, 3, 3], filters=[24, 32, 48]),
    ),
    ("test", "vgg", "d3-5_f16-48_r32", 4, "forward", _vgg, dict(size=32, repeats=[3, 5], filters=[16, 48])),
    ("train", "unet", "f8-16-32-48_r32", 4, "forward_nchw", _unet, dict(size=32, filters=[8, 16, 32, 48])),
    ("train", "unet", "f16-32_r24", 2, "train", _unet, dict(size=24, filters=[16, 32])),
    ("train", "unet", "f24-40_r48", 1, "forward", _unet, dict(size=48, filters=[24, 40, 40], channels=4)),
    ("valid", "unet", "f12-24_r32", 2, "train", _unet, dict(size=32, filters=[12, 24])),
    ("train", "unet3d", "f8-12-16_r8", 2, "forward", _unet, dict(size=(8, 8, 8), filters=[8, 12, 16], channels=1)),
    (
        "train",
        "unet3d",
        "f8-16-24_r8",
        1,
        "forward_nchw",
        _unet,
        dict(size=(8, 8, 12), filters=[8, 16, 24], channels=2),
    ),
    ("test", "unet3d", "f12-16-16_r8", 1, "forward", _unet, dict(size=(8, 8, 12), filters=[12, 16, 16], channels=1)),
    ("train", "vit", "l1_h2_w96_r48", 2, "forward", _vit, dict(size=48, patch=6, layers=1, heads=2, width=96)),
    ("train", "vit", "l1_h2_w48_r48", 4, "forward", _vit, dict(size=48, patch=4, layers=1, heads=2, width=48)),
    ("train", "vit", "l2_h2_w32_r40", 8, "forward_nchw", _vit, dict(size=40, patch=4, layers=2, heads=2, width=32)),
    ("valid", "vit", "l2_h3_w48_r64", 4, "forward", _vit, dict(size=64, patch=8, layers=2, heads=3, width=48)),
    ("test", "vit", "l1_h4_w64_r40", 8, "forward", _vit, dict(size=40, patch=4, layers=1, heads=4, width=64)),
    ("train", "mixer", "l1_w96_r32", 2, "forward", _mixer, dict(size=32, patch=2, blocks=1, width=96, tokens=96)),
    ("train", "mixer", "l3_w48_r40", 2, "forward", _mixer, dict(size=40, patch=4, blocks=3, width=48, tokens=64)),
    (
        "train",
        "mixer",
        "l1_w64_r32",
        4,
        "train",
        _mixer,
        dict(size=32, patch=4, blocks=1, width=64, tokens=32, activation="relu"),
    ),
    (
        "test",
        "mixer",
        "l1_w80_r40",
        4,
        "train",
        _mixer,
        dict(size=40, patch=5, blocks=1, width=80, tokens=96, activation="relu"),
    ),
    ("train", "lstm", "t10_u48", 64, "forward", _recurrent, dict(steps=10, features=32, units=48, cell="LSTM")),
    (
        "train",
        "lstm",
        "bi_t5_u64",
        32,
        "forward",
        _recurrent,
        dict(steps=5, features=48, units=64, cell="LSTM", bidirectional=True),
    ),
    (
        "train",
        "lstm",
        "d2_t5_u96",
        48,
        "forward",
        _recurrent,
        dict(steps=5, features=96, units=96, cell="LSTM", depth=2),
    ),
    ("train", "lstm", "t3_u64", 64, "train", _recurrent, dict(steps=3, features=64, units=64, cell="LSTM")),
    ("valid", "lstm", "t7_u128", 32, "forward", _recurrent, dict(steps=7, features=64, units=128, cell="LSTM")),
    ("test", "lstm", "t3_u96", 32, "train", _recurrent, dict(steps=3, features=48, units=96, cell="LSTM")),
    ("train", "autoencoder", "f16-32_r32", 4, "forward", _autoencoder, dict(size=32, filters=[16, 32], code=64)),
    ("train", "autoencoder", "f16-32_r40", 2, "forward_nchw", _autoencoder, dict(size=40, filters=[16, 32], code=48)),
    ("train", "autoencoder", "f8-16-32_r64", 2, "forward", _autoencoder, dict(size=64, filters=[8, 16, 32], code=96)),
    ("test", "autoencoder", "f12-24-24_r48", 4, "forward", _autoencoder, dict(size=48, filters=[12, 24, 24], code=32)),
    ("train", "dcgan", "f48-24-1_r24", 2, "train", _dcgan, dict(noise=48, start=6, filters=[48, 24, 1])),
    ("train", "dcgan", "f96-48-24-3_r32", 4, "forward_nchw", _dcgan, dict(noise=96, start=4, filters=[96, 48, 24, 3])),
    ("train", "dcgan", "f64-48-32-3_r64", 2, "forward", _dcgan, dict(noise=32, start=8, filters=[64, 48, 32, 3])),
    ("valid", "dcgan", "f128-64-32-3_r48", 4, "forward", _dcgan, dict(noise=64, start=6, filters=[128, 64, 32, 3])),
    ("train", "yolo", "f16-32_w24_r32", 8, "forward", _detector, dict(size=32, filters=[16, 24, 32], width=24)),
    ("train", "yolo", "f24-32-48_w48_r48", 2, "forward_nchw", _detector, dict(size=48, filters=[24, 32, 48], width=48)),
    (
        "train",
        "yolo",
        "f16-32-64_w64_r64",
        1,
        "forward",
        _detector,
        dict(size=64, filters=[16, 32, 64], width=64, anchors=2),
    ),
    (
        "test",
        "yolo",
        "f24-32-40-48_w40_r64",
        2,
        "forward_nchw",
        _detector,
        dict(size=64, filters=[24, 32, 40, 48], width=40),
    ),
    (
        "train",
        "deeplab",
        "f24-32_r48",
        2,
        "forward_nchw",
        _deeplab,
        dict(size=48, filters=[24, 32], width=32, rates=[1, 2]),
    ),
    ("train", "deeplab", "f16_r24", 2, "train", _deeplab, dict(size=24, filters=[16], width=16, rates=[2])),
    ("train", "deeplab", "f32_r32", 2, "forward", _deeplab, dict(size=32, filters=[32], width=16, rates=[1, 2, 4])),
    ("test", "deeplab", "f16-48_r64", 4, "forward", _deeplab, dict(size=64, filters=[16, 48], width=32, rates=[2, 3])),
    ("train", "edsr", "d1_w24_r16", 2, "train", _edsr, dict(size=16, width=24, blocks=1, scale=2)),
    ("train", "edsr", "d3_w16_r32", 2, "forward", _edsr, dict(size=32, width=16, blocks=3, scale=2)),
    ("train", "edsr", "d4_w32_r16", 4, "forward", _edsr, dict(size=16, width=32, blocks=4, scale=3)),
    ("test", "edsr", "d1_w40_r16", 2, "train", _edsr, dict(size=16, width=40, blocks=1, scale=2)),
    (
        "valid",
        "xception",
        "f16-32-48_r40",
        2,
        "forward_nchw",
        _xception,
        dict(size=40, filters=[[16, 32], [32, 48], [48, 64], [64]]),
    ),
    ("valid", "gru", "t4_u64", 32, "train", _recurrent, dict(steps=4, features=64, units=64, cell="GRU")),
    ("valid", "resnext", "g2_f24_r24", 2, "train", _resnext, dict(size=24, filters=[24], groups=2)),
    (
        "test",
        "convnext",
        "d1_w48_r24",
        2,
        "train",
        _convnext,
        dict(size=24, widths=[48], blocks=1, patch=2, activation="relu"),
    ),
    ("test", "swin", "w48_r48", 2, "forward", _swin, dict(size=48, width=48, depths=(1,), heads=(3,), window=4)),
    ("test", "inception", "f16-32_r40", 2, "forward_nchw", _inception, dict(size=40, stem=24, widths=[16, 32])),
    ("train", "ts_mixer", "t64_f32_w64", 16, "forward", _ts_mixer, dict(steps=64, features=32, width=64)),
    ("train", "ts_mixer", "t96_f16_w32", 32, "forward", _ts_mixer, dict(steps=96, features=16, width=32, blocks=2)),
    ("valid", "ts_mixer", "t48_f48_w96", 16, "forward", _ts_mixer, dict(steps=48, features=48, width=96)),
    ("train", "ts_mixer", "t32_f24_w48", 16, "train", _ts_mixer, dict(steps=32, features=24, width=48)),
    ("train", "dlrm", "n15_w32", 128, "forward", _dlrm, dict(fields=15, dense=32, width=32)),
    ("train", "dlrm", "n23_w16", 256, "forward", _dlrm, dict(fields=23, dense=16, width=16)),
    ("valid", "dlrm", "n11_w48", 128, "forward", _dlrm, dict(fields=11, dense=64, width=48)),
    ("train", "non_local", "w32_r16", 4, "forward", _non_local, dict(size=16, width=32)),
    ("train", "non_local", "w48_r12", 8, "forward", _non_local, dict(size=12, width=48)),
    ("test", "non_local", "w24_r20", 2, "forward", _non_local, dict(size=20, width=24)),
    ("train", "axial", "w32_r16", 4, "forward", _axial, dict(size=16, width=32, heads=2)),
    ("train", "axial", "w48_r12", 8, "forward", _axial, dict(size=12, width=48, heads=4)),
    ("valid", "axial", "w64_r16", 2, "forward", _axial, dict(size=16, width=64, heads=4)),
    ("train", "patch_tst", "t96_f16_w32", 8, "forward", _patch_tst, dict(steps=96, features=16, patch=8, width=32)),
    ("train", "patch_tst", "t64_f32_w48", 8, "forward", _patch_tst, dict(steps=64, features=32, patch=4, width=48)),
    ("test", "patch_tst", "t128_f8_w64", 16, "forward", _patch_tst, dict(steps=128, features=8, patch=8, width=64)),
    ("train", "nerf", "s32_w64", 64, "forward", _nerf, dict(samples=32, width=64, frequencies=4)),
    ("train", "nerf", "s64_w48", 32, "forward", _nerf, dict(samples=64, width=48, frequencies=6)),
    ("train", "nerf", "s24_w32", 64, "train", _nerf, dict(samples=24, width=32, frequencies=4)),
    ("train", "experts", "e8_w48", 256, "forward", _experts, dict(features=64, experts=8, width=48)),
    ("train", "experts", "e6_w64", 128, "forward", _experts, dict(features=96, experts=6, width=64)),
    ("valid", "experts", "e12_w32", 256, "forward", _experts, dict(features=48, experts=12, width=32)),
    ("train", "spatial_gate", "w64_r32", 8, "forward", _spatial_gate, dict(size=32, patch=4, width=64)),
    ("train", "spatial_gate", "w96_r48", 4, "forward", _spatial_gate, dict(size=48, patch=4, width=96)),
    ("test", "spatial_gate", "w48_r40", 8, "forward", _spatial_gate, dict(size=40, patch=4, width=48)),
    ("train", "perceptron", "d3_w128", 256, "train", _perceptron, dict(features=96, widths=[128, 128, 64])),
    ("train", "perceptron", "d2_w256", 128, "train", _perceptron, dict(features=128, widths=[256, 192])),
    ("valid", "perceptron", "d3_w96", 256, "train", _perceptron, dict(features=64, widths=[96, 160, 96])),
    ("train", "graph", "n64_w48", 16, "forward", _graph_attention, dict(nodes=64, features=24, width=48)),
    ("train", "graph", "n96_w32", 8, "forward", _graph_attention, dict(nodes=96, features=32, width=32)),
    ("test", "graph", "n48_w64", 16, "forward", _graph_attention, dict(nodes=48, features=48, width=64)),
    ("valid", "tabular", "n32_w32", 32, "forward", _tabular_attention, dict(fields=32, width=32, heads=2)),
    ("valid", "tabular", "n24_w64", 32, "forward", _tabular_attention, dict(fields=24, width=64, heads=4)),
    ("valid", "deep_sets", "n64_w64", 32, "forward", _set_network, dict(members=64, features=16, width=64)),
    ("valid", "pointnet", "n256_w64-96", 4, "forward", _pointnet, dict(points=256, widths=[64, 96], head=64)),
    ("test", "perceiver", "n128_w48", 16, "forward", _perceiver, dict(tokens=128, features=32, latents=16, width=48)),
    ("test", "perceiver", "n96_w64", 16, "forward", _perceiver, dict(tokens=96, features=48, latents=24, width=64)),
    ("test", "capsules", "n32_o16_w16", 16, "forward", _capsules, dict(inputs_count=32, outputs_count=16, width=16)),
    ("test", "codebook", "c64_w48_r32", 8, "forward", _codebook, dict(size=32, patch=4, codes=64, width=48)),
    (
        "test",
        "tcn",
        "t64_w48",
        16,
        "forward",
        _causal_convolutions,
        dict(steps=64, features=24, width=48, dilations=[1, 2, 4]),
    ),
    ("train", "mixer", "l1_w48_r48", 4, "forward", _mixer, dict(size=48, patch=4, blocks=1, width=48, tokens=96)),
    ("test", "mixer", "l1_w80_r32", 4, "forward", _mixer, dict(size=32, patch=4, blocks=1, width=80, tokens=48)),
    ("test", "shufflenet", "g2_f24_r16", 2, "train", _shufflenet, dict(size=16, filters=[24], groups=2)),
    ("test", "fcn", "f16-24-32_r32", 2, "forward_nchw", _fcn, dict(size=32, filters=[16, 24, 32], head=12)),
]


def _program(row: tuple, trained: set[str]) -> Program:
    split, family, tag, batch, mode, network, arguments = row
    mode, _, layout = mode.partition("_")
    program_id = f"{family}_{tag}_b{batch}{'_nchw' if layout else ''}_{mode}"
    data_format = "channels_first" if layout else "channels_last"
    build = partial(_build, program_id, partial(network, **arguments), batch, data_format, mode == "train")
    kin = "train" if split == "train" else "sibling" if family in trained else "unseen"
    return Program(program_id, "xla", family, split, kin, build)


def _interleave(programs: list[Program]) -> list[Program]:
    """Order such that every prefix holds splits and families in about their overall shares."""
    place = defaultdict(int)
    members = defaultdict(list)
    for program in programs:
        key = (program.split, program.kin, program.family)
        members[key[:2]].append((place[key], len(members[key[:2]]), program))
        place[key] += 1
    positions = []
    for group in members.values():
        for rank, (_, _, program) in enumerate(sorted(group, key=lambda entry: entry[:2])):
            positions.append(((rank + 0.5) / len(group), len(positions), program))
    return [program for _, _, program in sorted(positions, key=lambda entry: entry[:2])]


def _registry() -> list[Program]:
    trained = {row[1] for row in _ROWS if row[0] == "train"}
    return _interleave([_program(row, trained) for row in _ROWS])


XLA_PROGRAMS: list[Program] = _registry()
