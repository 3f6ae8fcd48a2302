"""Images made or restored: diffusion, adversarial networks, autoencoders, super-resolution, style."""

from __future__ import annotations

import math
from functools import partial

from stages.collect.programs.declare import program
from stages.collect.programs.network import Network, avg_pool, pixel_shuffle, upsample


def _times(net: Network, steps, width: int):
    """Sinusoids of diffusion steps (batch,) through two dense layers: (batch, 4 width)."""
    import jax
    import jax.numpy as jnp

    rates = jnp.exp(-math.log(10000) * jnp.arange(width // 2) / (width // 2))
    angles = steps[:, None].astype(jnp.float32) * rates
    x = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1).astype(net.dtype)
    return net.dense(jax.nn.silu(net.dense(x, 4 * width)), 4 * width)


def diffusion_unet(
    net: Network, x, steps, text=None, *, width: int, multiples: tuple[int, ...], blocks: int, attended: tuple[int, ...]
):
    """U-Net of diffusion models (Ho et al. 2020); with a text (batch, tokens, channels) that of latent diffusion."""
    import jax
    import jax.numpy as jnp

    channels = x.shape[-1]
    time = jax.nn.silu(_times(net, steps, width))

    def residual(x, filters):
        y = net.conv(jax.nn.silu(net.group_norm(x)), filters, bias=True) + net.dense(time, filters)[:, None, None]
        y = net.conv(jax.nn.silu(net.group_norm(y)), filters, bias=True)
        return y + (x if x.shape[-1] == filters else net.conv(x, filters, 1, bias=True))

    def attend(x):
        y = net.group_norm(x).reshape(x.shape[0], -1, x.shape[-1])
        y = y + net.attention(net.layer_norm(y) if text is not None else y, 8)
        if text is not None:
            y = y + net.attention(net.layer_norm(y), 8, memory=text)
            value, gate = jnp.split(net.dense(net.layer_norm(y), 8 * x.shape[-1]), 2, axis=-1)
            y = y + net.dense(value * jax.nn.gelu(gate), x.shape[-1])
        return x + net.dense(y, x.shape[-1]).reshape(x.shape)

    x = net.conv(x, width, bias=True)
    skips = [x]
    for level, multiple in enumerate(multiples):
        for _ in range(blocks):
            x = residual(x, width * multiple)
            x = attend(x) if level in attended else x
            skips.append(x)
        if level < len(multiples) - 1:
            x = net.conv(x, x.shape[-1], 3, 2, bias=True)
            skips.append(x)
    x = residual(attend(residual(x, x.shape[-1])), x.shape[-1])
    for level in range(len(multiples) - 1, -1, -1):
        for _ in range(blocks + 1):
            x = residual(jnp.concatenate([x, skips.pop()], axis=-1), width * multiples[level])
            x = attend(x) if level in attended else x
        x = net.conv(upsample(x), x.shape[-1], bias=True) if level else x
    return net.conv(jax.nn.silu(net.group_norm(x)), channels, bias=True)


def dit(net: Network, x, steps, *, layers: int, width: int, heads: int, patch: int = 2):
    """Diffusion transformer (Peebles & Xie 2023): norms shifted and scaled by the step."""
    import jax
    import jax.numpy as jnp

    batch, side, _, channels = x.shape
    time = jax.nn.silu(_times(net, steps, 256))
    x = net.conv(x, width, patch, patch, bias=True).reshape(batch, -1, width)
    x = x + net.weight(x.shape[1], width)
    for _ in range(layers):
        a, b, c, d, e, f = jnp.split(net.dense(time, 6 * width)[:, None], 6, axis=-1)
        x = x + c * net.attention(net.layer_norm(x) * (1 + a) + b, heads)
        y = net.layer_norm(x) * (1 + d) + e
        x = x + f * net.dense(jax.nn.gelu(net.dense(y, 4 * width)), width)
    grid = side // patch
    x = net.dense(net.layer_norm(x), patch * patch * channels).reshape(batch, grid, grid, -1)
    return pixel_shuffle(x, patch)


def autoencoder(net: Network, x, *, width: int, multiples: tuple[int, ...], blocks: int, latent: int = 4):
    """Autoencoder of latent diffusion (Rombach et al. 2022), its mean taken for a sample."""
    import jax

    def residual(x, filters):
        y = net.conv(jax.nn.silu(net.group_norm(x)), filters, bias=True)
        y = net.conv(jax.nn.silu(net.group_norm(y)), filters, bias=True)
        return y + (x if x.shape[-1] == filters else net.conv(x, filters, 1, bias=True))

    def middle(x):
        x = residual(x, x.shape[-1])
        x = x + net.attention(net.group_norm(x).reshape(x.shape[0], -1, x.shape[-1]), 1).reshape(x.shape)
        return residual(x, x.shape[-1])

    x = net.conv(x, width, bias=True)
    for level, multiple in enumerate(multiples):
        for _ in range(blocks):
            x = residual(x, width * multiple)
        x = net.conv(x, x.shape[-1], 3, 2, bias=True) if level < len(multiples) - 1 else x
    x = net.conv(jax.nn.silu(net.group_norm(middle(x))), latent, bias=True)
    x = middle(net.conv(x, width * multiples[-1], bias=True))
    for level in range(len(multiples) - 1, -1, -1):
        for _ in range(blocks + 1):
            x = residual(x, width * multiples[level])
        x = net.conv(upsample(x), x.shape[-1], bias=True) if level else x
    return net.conv(jax.nn.silu(net.group_norm(x)), 3, bias=True)


def stylegan(net: Network, noise, *, pixels: int, widest: int = 512):
    """Generator of StyleGAN2 (Karras et al. 2020): styles scale the features before and after each convolution."""
    import jax
    import jax.numpy as jnp

    style = noise
    for _ in range(8):
        style = jax.nn.leaky_relu(net.dense(style, widest), 0.2)

    def modulated(x, filters, kernel=3, demodulate=True):
        scale = net.dense(style, x.shape[-1])
        weight = net.weight(kernel, kernel, x.shape[-1], filters)
        y = jax.lax.conv_general_dilated(
            x * scale[:, None, None], weight, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        if demodulate:
            y = y * jax.lax.rsqrt((scale**2) @ (weight**2).sum((0, 1)) + 1e-8)[:, None, None]
        return jax.nn.leaky_relu(y + net.weight(filters), 0.2) if demodulate else y + net.weight(filters)

    x = jnp.broadcast_to(net.weight(4, 4, widest), (noise.shape[0], 4, 4, widest))
    x = modulated(x, widest)
    image = modulated(x, 3, 1, False)
    for level in range(3, int(math.log2(pixels)) + 1):
        filters = min(widest, 2 ** (15 - level))
        x = modulated(modulated(upsample(x), filters), filters)
        image = upsample(image) + modulated(x, 3, 1, False)
    return image


def dcgan(net: Network, noise, *, width: int, levels: int):
    """Generator and critic of DCGAN (Radford et al. 2016), one after the other."""
    import jax
    import jax.numpy as jnp

    x = net.dense(noise, 16 * width * 2 ** (levels - 1), False).reshape(noise.shape[0], 4, 4, -1)
    for level in range(levels - 2, -1, -1):
        x = net.deconv(jax.nn.relu(net.batch_norm(x)), width * 2**level)
    x = jnp.tanh(net.deconv(jax.nn.relu(net.batch_norm(x)), 3))
    for level in range(levels):
        x = jax.nn.leaky_relu(net.batch_norm(net.conv(x, width * 2**level, 4, 2)), 0.2)
    return net.dense(x.reshape(x.shape[0], -1), 1)


def cyclegan(net: Network, x, *, width: int, blocks: int):
    """Both generators of CycleGAN (Zhu et al. 2017): there and back."""
    import jax
    import jax.numpy as jnp

    def unit(x, filters, kernel=3, stride=1):
        return net.group_norm(net.conv(x, filters, kernel, stride), filters)

    def generator(x):
        x = jax.nn.relu(unit(x, width, 7))
        x = jax.nn.relu(unit(jax.nn.relu(unit(x, 2 * width, 3, 2)), 4 * width, 3, 2))
        for _ in range(blocks):
            x = x + unit(jax.nn.relu(unit(x, 4 * width)), 4 * width)
        for filters in (2 * width, width):
            x = jax.nn.relu(net.group_norm(net.deconv(x, filters, 3), filters))
        return jnp.tanh(net.conv(x, 3, 7, bias=True))

    other = generator(x)
    return other, generator(other)


def edsr(net: Network, x, *, width: int, blocks: int, scale: int):
    """EDSR (Lim et al. 2017)."""
    import jax

    x = start = net.conv(x, width, bias=True)
    for _ in range(blocks):
        x = x + 0.1 * net.conv(jax.nn.relu(net.conv(x, width, bias=True)), width, bias=True)
    x = start + net.conv(x, width, bias=True)
    for _ in range(int(math.log2(scale))):
        x = pixel_shuffle(net.conv(x, 4 * width, bias=True), 2)
    return net.conv(x, 3, bias=True)


def esrgan(net: Network, x, *, width: int, blocks: int, growth: int = 32):
    """ESRGAN's generator (Wang et al. 2018): dense blocks within residual blocks, four times larger."""
    import jax
    import jax.numpy as jnp

    def unit(x, filters):
        return net.conv(x, filters, bias=True)

    def dense_block(x):
        parts = [x]
        for _ in range(4):
            parts.append(jax.nn.leaky_relu(unit(jnp.concatenate(parts, axis=-1), growth), 0.2))
        return x + 0.2 * unit(jnp.concatenate(parts, axis=-1), width)

    x = start = unit(x, width)
    for _ in range(blocks):
        y = x
        for _ in range(3):
            y = dense_block(y)
        x = x + 0.2 * y
    x = start + unit(x, width)
    for _ in range(2):
        x = jax.nn.leaky_relu(unit(upsample(x), width), 0.2)
    return unit(jax.nn.leaky_relu(unit(x, width), 0.2), 3)


def style_loss(net: Network, x, target, *, width: int = 64):
    """Perceptual distances of two images (Johnson et al. 2016): VGG features and their Gram matrices."""
    import jax
    import jax.numpy as jnp

    joined = jnp.concatenate([x, target])
    distances = []
    for level, count in enumerate((2, 2, 3, 3)):
        for _ in range(count):
            joined = jax.nn.relu(net.conv(joined, width * 2**level, bias=True))
        features = joined.reshape(joined.shape[0], -1, joined.shape[-1])
        gram = jnp.einsum("bpc,bpd->bcd", features, features) / features.shape[1]
        distances.append(jnp.square(gram[: x.shape[0]] - gram[x.shape[0] :]).mean((1, 2)))
        joined = avg_pool(joined)
    return jnp.stack(distances, axis=-1)


_xla = partial(program, "xla")
BF16 = "bfloat16"
DDPM = dict(width=128, multiples=(1, 2, 2, 2), blocks=2, attended=(1,))
DDPM64 = dict(width=128, multiples=(1, 2, 3, 4), blocks=2, attended=(2, 3))
LATENT = dict(width=320, multiples=(1, 2, 4, 4), blocks=2, attended=(0, 1, 2))

PROGRAMS = [
    _xla("diffusion_unet", "train", "ddpm_32", partial(diffusion_unet, **DDPM),
         [("float", 64, 32, 32, 3), ("int32", 64)]),
    _xla("diffusion_unet", "train", "ddpm_32", partial(diffusion_unet, **DDPM),
         [("float", 128, 32, 32, 3), ("int32", 128)], "sgd", loss="squared", dtype=BF16),
    _xla("diffusion_unet", "train", "ddpm_64", partial(diffusion_unet, **DDPM64),
         [("float", 16, 64, 64, 3), ("int32", 16)], dtype=BF16),
    _xla("diffusion_unet", "test", "latent_diffusion", partial(diffusion_unet, **LATENT),
         [("float", 2, 64, 64, 4), ("int32", 2), ("float", 2, 77, 768)], dtype=BF16),
    _xla("diffusion_transformer", "valid", "dit_b2", partial(dit, layers=12, width=768, heads=12),
         [("float", 16, 32, 32, 4), ("int32", 16)], "sgd", loss="squared"),
    _xla("diffusion_transformer", "valid", "dit_xl2", partial(dit, layers=28, width=1152, heads=16),
         [("float", 4, 32, 32, 4), ("int32", 4)], dtype=BF16),
    _xla("autoencoder", "train", "kl_f8", partial(autoencoder, width=128, multiples=(1, 2, 4, 4), blocks=2),
         [("float", 2, 256, 256, 3)]),
    _xla("autoencoder", "train", "kl_f4_small", partial(autoencoder, width=64, multiples=(1, 2, 4), blocks=2),
         [("float", 8, 128, 128, 3)], "adamw", loss="squared", dtype=BF16),
    _xla("gan", "train", "stylegan2_256", partial(stylegan, pixels=256), [("float", 8, 512)]),
    _xla("gan", "train", "stylegan2_128", partial(stylegan, pixels=128), [("float", 16, 512)], "adamw", loss="squared"),
    _xla("gan", "valid", "dcgan_64", partial(dcgan, width=64, levels=4), [("float", 128, 100)], "adamw", loss="binary"),
    _xla("gan", "test", "cyclegan_9", partial(cyclegan, width=64, blocks=9), [("float", 2, 256, 256, 3)]),
    _xla("gan", "train", "cyclegan_6", partial(cyclegan, width=64, blocks=6), [("float", 4, 128, 128, 3)], "sgd",
         loss="squared"),
    _xla("super_resolution", "train", "edsr_32", partial(edsr, width=256, blocks=32, scale=2),
         [("float", 4, 96, 96, 3)]),
    _xla("super_resolution", "train", "edsr_16", partial(edsr, width=64, blocks=16, scale=4),
         [("float", 16, 48, 48, 3)], "adamw", loss="squared"),
    _xla("super_resolution", "valid", "esrgan_16", partial(esrgan, width=64, blocks=16), [("float", 4, 64, 64, 3)]),
    _xla("super_resolution", "train", "esrgan_8", partial(esrgan, width=64, blocks=8), [("float", 8, 32, 32, 3)], "sgd",
         loss="squared", dtype=BF16),
    _xla("style_transfer", "test", "vgg_gram", style_loss, [("float", 8, 256, 256, 3)] * 2, "adamw", loss="squared"),
]  # fmt: skip
