"""Networks whose output is an image or a colour: autoencoders, a generator, a radiance field."""

from functools import partial

from stages.collect.cpu.programs.xla.building import program
from stages.collect.cpu.programs.xla.layers import channel_axis, image_shape, load_keras


def _autoencoder(size, filters, code, channels=3):
    """Convolutional autoencoder with a dense code between encoder and decoder."""
    keras = load_keras()
    layers = keras.layers
    x = inputs = keras.Input(image_shape(size, channels))
    for width in filters:
        x = layers.Conv2D(width, 3, strides=2, padding="same", activation="relu")(x)
    grid = x.shape[1:]
    x = layers.Dense(code)(layers.Flatten()(x))
    x = layers.Reshape(grid)(layers.Dense(grid[0] * grid[1] * grid[2], activation="relu")(x))
    for width in reversed(filters):
        x = layers.Conv2DTranspose(width, 3, strides=2, padding="same", activation="relu")(x)
    return keras.Model(inputs, layers.Conv2D(channels, 3, padding="same", activation="sigmoid")(x))


def _dcgan(noise, start, filters):
    """Generator of DCGAN (Radford 2015)."""
    keras = load_keras()
    layers = keras.layers
    inputs = keras.Input((noise,))
    x = layers.Dense(start * start * filters[0], use_bias=False)(inputs)
    x = layers.Reshape(image_shape(start, filters[0]))(x)
    for width in filters[1:]:
        x = layers.Activation("relu")(layers.BatchNormalization(axis=channel_axis())(x))
        x = layers.Conv2DTranspose(width, 4, strides=2, padding="same", use_bias=False)(x)
    return keras.Model(inputs, layers.Activation("tanh")(x))


def _codebook(size, patch, codes, width):
    """VQ-VAE (van den Oord 2017) with soft codes: distances from patches to a codebook, weighted codes, decoder."""
    keras = load_keras()
    layers, ops = keras.layers, keras.ops
    grid = size // patch
    inputs = keras.Input((size, size, 3))
    x = layers.Permute((1, 3, 2, 4, 5))(layers.Reshape((grid, patch, grid, patch, 3))(inputs))
    x = layers.Dense(width)(layers.Reshape((grid * grid, patch * patch * 3))(x))
    x = layers.Dense(width)(ops.softmax(layers.Dense(codes)(x) - ops.sum(ops.square(x), axis=-1, keepdims=True)))
    x = layers.Reshape((grid, grid, patch, patch, 3))(layers.Dense(patch * patch * 3)(x))
    return keras.Model(inputs, layers.Reshape((size, size, 3))(layers.Permute((1, 3, 2, 4, 5))(x)))


def _nerf(samples, width, frequencies):
    """NeRF (Mildenhall 2020): encoded samples of a ray through a perceptron, colours summed along the ray."""
    keras = load_keras()
    layers, ops = keras.layers, keras.ops
    inputs = keras.Input((samples, 3))
    scaled = [inputs[..., None] * 2.0**level for level in range(frequencies)]
    angles = layers.Reshape((samples, 3 * frequencies))(layers.Concatenate()(scaled))
    x = layers.Concatenate()([ops.sin(angles), ops.cos(angles)])
    for _ in range(2):
        x = layers.Dense(width, activation="relu")(x)
    density = ops.softmax(ops.squeeze(layers.Dense(1)(x), -1))
    colour = layers.Dense(3, activation="sigmoid")(layers.Dense(width // 2, activation="relu")(x))
    return keras.Model(inputs, ops.sum(density[..., None] * colour, axis=1))


# Families: a call gives one program of its family.
autoencoder = partial(program, "autoencoder", _autoencoder)
dcgan = partial(program, "dcgan", _dcgan)
codebook = partial(program, "codebook", _codebook)
nerf = partial(program, "nerf", _nerf)

#: in the order in which a family's programs are measured
PROGRAMS = [
    autoencoder("train", "f24_r32", 1, "train", size=32, filters=[24], code=64),
    autoencoder("train", "f16-32_r32", 4, "forward", size=32, filters=[16, 32], code=64),
    autoencoder("train", "f16-32_r40", 2, "forward_nchw", size=40, filters=[16, 32], code=48),
    autoencoder("train", "f8-16-32_r64", 2, "forward", size=64, filters=[8, 16, 32], code=96),
    autoencoder("test", "f12-24-24_r48", 4, "forward", size=48, filters=[12, 24, 24], code=32),
    dcgan("train", "f64-32-16-3_r64", 4, "forward", noise=64, start=8, filters=[64, 32, 16, 3]),
    dcgan("train", "f48-24-1_r24", 2, "train", noise=48, start=6, filters=[48, 24, 1]),
    dcgan("train", "f96-48-24-3_r32", 4, "forward_nchw", noise=96, start=4, filters=[96, 48, 24, 3]),
    dcgan("train", "f64-48-32-3_r64", 2, "forward", noise=32, start=8, filters=[64, 48, 32, 3]),
    dcgan("valid", "f128-64-32-3_r48", 4, "forward", noise=64, start=6, filters=[128, 64, 32, 3]),
    codebook("test", "c64_w48_r32", 8, "forward", size=32, patch=4, codes=64, width=48),
    nerf("train", "s32_w64", 64, "forward", samples=32, width=64, frequencies=4),
    nerf("train", "s64_w48", 32, "forward", samples=64, width=48, frequencies=6),
    nerf("train", "s24_w32", 64, "train", samples=24, width=32, frequencies=4),
]
