"""A prediction at every place of an image: segmentation, detection, super-resolution."""

from functools import partial

from stages.collect.cpu.programs.xla.building import program
from stages.collect.cpu.programs.xla.layers import (
    CLASSES,
    channel_axis,
    concatenate,
    convolution,
    image_shape,
    load_keras,
)


def _unet(size, filters, channels=3):
    """U-net (Ronneberger 2015) with one convolution a level; three-dimensional when size has three sides."""
    keras = load_keras()
    x = inputs = keras.Input(image_shape(size, channels))
    solid = len(x.shape) == 5
    pool = keras.layers.MaxPooling3D if solid else keras.layers.MaxPooling2D
    rise = keras.layers.UpSampling3D if solid else keras.layers.UpSampling2D
    skips = []
    for width in filters[:-1]:
        x = convolution(x, width)
        skips.append(x)
        x = pool()(x)
    x = convolution(x, filters[-1])
    for width, skip in zip(reversed(filters[:-1]), reversed(skips), strict=True):
        x = concatenate(rise()(x), skip)
        x = convolution(x, width)
    return keras.Model(inputs, (keras.layers.Conv3D if solid else keras.layers.Conv2D)(2, 1)(x))


def _detector(size, filters, width, anchors=3):
    """One-stage detector: residual trunk, feature pyramid (Lin 2017) and a shared box-and-class head."""
    keras = load_keras()
    layers = keras.layers
    inputs = keras.Input(image_shape(size))
    x = convolution(inputs, filters[0], strides=2, activation="leaky_relu")
    levels = []
    for count in filters[1:]:
        x = convolution(x, count, strides=2, activation="leaky_relu")
        levels.append(x)
    top = layers.Conv2D(width, 1)(levels[-1])
    pyramid = [top]
    for level in reversed(levels[:-1]):
        top = layers.Add()([layers.UpSampling2D()(top), layers.Conv2D(width, 1)(level)])
        pyramid.append(top)
    tower = layers.Conv2D(width, 3, padding="same", activation="relu")
    head = layers.Conv2D(anchors * (5 + CLASSES), 1)
    to_last = layers.Permute((2, 3, 1)) if channel_axis() == 1 else layers.Identity()
    boxes = [layers.Reshape((-1, 5 + CLASSES))(to_last(head(tower(level)))) for level in pyramid]
    return keras.Model(inputs, layers.Concatenate(axis=1)(boxes))


def _deeplab(size, filters, width, rates):
    """DeepLabV3 (Chen 2017): atrous spatial pyramid pooling on a small trunk, scores at full resolution."""
    keras = load_keras()
    layers = keras.layers
    x = inputs = keras.Input(image_shape(size))
    for count in filters:
        x = convolution(x, count, strides=2)
    branches = [convolution(x, width, 1)] + [convolution(x, width, 3, dilation_rate=rate) for rate in rates]
    x = convolution(concatenate(*branches), width, 1)
    x = layers.UpSampling2D(2 ** len(filters), interpolation="bilinear")(layers.Conv2D(CLASSES, 1)(x))
    return keras.Model(inputs, x)


def _fcn(size, filters, head):
    """Fully convolutional segmentation (Long 2015) with scores added over three strides."""
    keras = load_keras()
    layers = keras.layers
    x = inputs = keras.Input(image_shape(size))
    scores = []
    for count in filters:
        x = layers.MaxPooling2D()(layers.Conv2D(count, 3, padding="same", activation="relu")(x))
        scores.append(layers.Conv2D(head, 1)(x))
    x = scores.pop()
    while scores:
        rise = layers.Conv2DTranspose(head, 4, strides=2, padding="same")(x)
        x = layers.Add()([rise, scores.pop()])
    return keras.Model(inputs, layers.Conv2DTranspose(head, 4, strides=2, padding="same")(x))


def _edsr(size, width, blocks, scale):
    """Super-resolution (EDSR, Lim 2017): residual blocks and a pixel shuffle."""
    keras = load_keras()
    layers, ops = keras.layers, keras.ops
    inputs = keras.Input((size, size, 3))
    x = layers.Conv2D(width, 3, padding="same")(inputs)
    for _ in range(blocks):
        y = layers.Conv2D(width, 3, padding="same", activation="relu")(x)
        x = layers.Add()([x, layers.Conv2D(width, 3, padding="same")(y)])
    x = layers.Conv2D(8 * scale * scale, 3, padding="same")(x)
    x = ops.reshape(x, (-1, size, size, scale, scale, 8))
    x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, size * scale, size * scale, 8))
    return keras.Model(inputs, layers.Conv2D(3, 3, padding="same")(x))


# Families: a call gives one program of its family.
unet = partial(program, "unet", _unet)
unet3d = partial(program, "unet3d", _unet)
yolo = partial(program, "yolo", _detector)
deeplab = partial(program, "deeplab", _deeplab)
fcn = partial(program, "fcn", _fcn)
edsr = partial(program, "edsr", _edsr)

#: in the order in which a family's programs are measured
PROGRAMS = [
    unet("train", "f16-32_r48", 2, "forward", size=48, filters=[16, 32, 48]),
    unet("train", "f8-16-32-48_r32", 4, "forward_nchw", size=32, filters=[8, 16, 32, 48]),
    unet("train", "f16-32_r24", 2, "train", size=24, filters=[16, 32]),
    unet("train", "f24-40_r48", 1, "forward", size=48, filters=[24, 40, 40], channels=4),
    unet("valid", "f12-24_r32", 2, "train", size=32, filters=[12, 24]),
    unet3d("train", "f8-16-16_r8", 1, "forward", size=(8, 8, 16), filters=[8, 16, 16], channels=1),
    unet3d("train", "f8-12-16_r8", 2, "forward", size=(8, 8, 8), filters=[8, 12, 16], channels=1),
    unet3d("train", "f8-16-24_r8", 1, "forward_nchw", size=(8, 8, 12), filters=[8, 16, 24], channels=2),
    unet3d("test", "f12-16-16_r8", 1, "forward", size=(8, 8, 12), filters=[12, 16, 16], channels=1),
    yolo("train", "f16-32-64_r64", 4, "forward", size=64, filters=[16, 24, 32, 48], width=32),
    yolo("train", "f16-32_w24_r32", 8, "forward", size=32, filters=[16, 24, 32], width=24),
    yolo("train", "f24-32-48_w48_r48", 2, "forward_nchw", size=48, filters=[24, 32, 48], width=48),
    yolo("train", "f16-32-64_w64_r64", 1, "forward", size=64, filters=[16, 32, 64], width=64, anchors=2),
    yolo("test", "f24-32-40-48_w40_r64", 2, "forward_nchw", size=64, filters=[24, 32, 40, 48], width=40),
    deeplab("train", "f16-32_r64", 2, "forward", size=64, filters=[16, 32], width=24, rates=[2, 4]),
    deeplab("train", "f24-32_r48", 2, "forward_nchw", size=48, filters=[24, 32], width=32, rates=[1, 2]),
    deeplab("train", "f16_r24", 2, "train", size=24, filters=[16], width=16, rates=[2]),
    deeplab("train", "f32_r32", 2, "forward", size=32, filters=[32], width=16, rates=[1, 2, 4]),
    deeplab("test", "f16-48_r64", 4, "forward", size=64, filters=[16, 48], width=32, rates=[2, 3]),
    fcn("test", "f16-32-48_r48", 4, "forward", size=48, filters=[16, 32, 48], head=16),
    fcn("test", "f16-24-32_r32", 2, "forward_nchw", size=32, filters=[16, 24, 32], head=12),
    edsr("train", "d2_w32_r24", 4, "forward", size=24, width=32, blocks=2, scale=2),
    edsr("train", "d1_w24_r16", 2, "train", size=16, width=24, blocks=1, scale=2),
    edsr("train", "d3_w16_r32", 2, "forward", size=32, width=16, blocks=3, scale=2),
    edsr("train", "d4_w32_r16", 4, "forward", size=16, width=32, blocks=4, scale=3),
    edsr("test", "d1_w40_r16", 2, "train", size=16, width=40, blocks=1, scale=2),
]
