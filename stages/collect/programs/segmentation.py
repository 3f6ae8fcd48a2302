"""Dense prediction: segmentation, depth and optical flow."""

from __future__ import annotations

from functools import partial

from stages.collect.programs.declare import keras_program, program
from stages.collect.programs.keras_models import libraries
from stages.collect.programs.network import Network, avg_pool, max_pool, upsample


def unet(net: Network, x, *, filters: tuple[int, ...], classes: int):
    """U-Net (Ronneberger et al. 2015), in two or three dimensions, normed: two convolutions a level."""
    import jax
    import jax.numpy as jnp

    def double(x, width):
        for _ in range(2):
            x = jax.nn.relu(net.batch_norm(net.conv(x, width)))
        return x

    skips = []
    for width in filters[:-1]:
        x = double(x, width)
        skips.append(x)
        x = max_pool(x)
    x = double(x, filters[-1])
    for width, skip in zip(filters[-2::-1], skips[::-1], strict=True):
        x = double(jnp.concatenate([net.deconv(x, width, 2, 2), skip], axis=-1), width)
    return net.conv(x, classes, 1, bias=True)


def unet_plus_plus(net: Network, x, *, filters: tuple[int, ...], classes: int):
    """U-Net++ (Zhou et al. 2018): every level's places are decoded from all before and those below."""
    import jax
    import jax.numpy as jnp

    def double(parts, width):
        x = jnp.concatenate(parts, axis=-1)
        for _ in range(2):
            x = jax.nn.relu(net.batch_norm(net.conv(x, width)))
        return x

    rows: list[list] = []
    for level, width in enumerate(filters):
        rows.append([double([max_pool(rows[-1][0]) if level else x], width)])
        for place in range(level - 1, -1, -1):
            below = upsample(rows[place + 1][-1])
            rows[place].append(double([*rows[place], below], filters[place]))
    return net.conv(rows[0][-1], classes, 1, bias=True)


def bottleneck(net: Network, x, width: int, stride: int = 1, dilation: int = 1):
    """Bottleneck of a residual network (He et al. 2016)."""
    import jax

    y = jax.nn.relu(net.batch_norm(net.conv(x, width, 1)))
    y = jax.nn.relu(net.batch_norm(net.conv(y, width, 3, stride, dilation=dilation)))
    y = net.batch_norm(net.conv(y, 4 * width, 1))
    if x.shape != y.shape:
        x = net.batch_norm(net.conv(x, 4 * width, 1, stride))
    return jax.nn.relu(x + y)


def deeplab(net: Network, x, *, blocks: tuple[int, ...], classes: int):
    """DeepLabV3+ (Chen et al. 2018) with output stride 16 on a residual network."""
    import jax
    import jax.numpy as jnp

    def unit(x, width, kernel=3, dilation=1):
        return jax.nn.relu(net.batch_norm(net.conv(x, width, kernel, dilation=dilation)))

    size = x.shape[1:3]
    x = max_pool(jax.nn.relu(net.batch_norm(net.conv(x, 64, 7, 2))), 3, 2)
    low = None
    for level, count in enumerate(blocks):
        for place in range(count):
            stride = 2 if place == 0 and level in (1, 2) else 1
            x = bottleneck(net, x, 64 * 2**level, stride, 2 if level == 3 else 1)
        low = x if level == 0 else low
    pooled = unit(x.mean((1, 2), keepdims=True), 256, 1)
    branches = [unit(x, 256, 1), *(unit(x, 256, 3, rate) for rate in (6, 12, 18))]
    x = unit(jnp.concatenate([*branches, jnp.broadcast_to(pooled, branches[0].shape)], axis=-1), 256, 1)
    x = jax.image.resize(x, (*low.shape[:3], 256), "bilinear")
    x = unit(unit(jnp.concatenate([x, unit(low, 48, 1)], axis=-1), 256), 256)
    return jax.image.resize(net.conv(x, classes, 1, bias=True), (x.shape[0], *size, classes), "bilinear")


def hrnet(net: Network, x, *, width: int, modules: tuple[int, ...], outputs: int):
    """HRNet (Sun et al. 2019): branches of several resolutions side by side that exchange what they see."""
    import jax

    def unit(x, filters, kernel=3, stride=1):
        return net.batch_norm(net.conv(x, filters, kernel, stride))

    for _ in range(2):
        x = jax.nn.relu(unit(x, 64, 3, 2))
    for _ in range(4):
        x = bottleneck(net, x, 64)
    branches = [x]
    for stage, count in enumerate(modules, start=2):
        branches = [
            jax.nn.relu(unit(branches[min(level, len(branches) - 1)], width * 2**level, 3, 1 + (level >= stage - 1)))
            for level in range(stage)
        ]
        for _ in range(count):
            for level, x in enumerate(branches):
                for _ in range(2):
                    x = jax.nn.relu(x + unit(jax.nn.relu(unit(x, x.shape[-1])), x.shape[-1]))
                branches[level] = x
            branches = [jax.nn.relu(_fused(net, branches, level)) for level in range(stage)]
    return net.conv(branches[0], outputs, 1, bias=True)


def _fused(net: Network, branches: list, level: int):
    """The sum of all branches, brought to the resolution and width of one."""
    total = branches[level]
    for other, x in enumerate(branches):
        if other > level:
            x = net.batch_norm(net.conv(x, total.shape[-1], 1))
            total = total + upsample(x, 2 ** (other - level))
        for step in range(level - other):
            x = net.batch_norm(net.conv(x, total.shape[-1] if step == level - other - 1 else x.shape[-1], 3, 2))
        if other < level:
            total = total + x
    return total


def segformer(depths: list[int], widths: list[int], projection: int, pixels: int):
    """SegFormer (Xie et al. 2021)."""
    keras, hub = libraries()
    encoder = hub.models.MiTBackbone(
        layerwise_depths=depths, num_layers=4, layerwise_num_heads=[1, 2, 5, 8], layerwise_sr_ratios=[8, 4, 2, 1],
        max_drop_path_rate=0.0, layerwise_patch_sizes=[7, 3, 3, 3], layerwise_strides=[4, 2, 2, 2],
        image_shape=(pixels, pixels, 3), hidden_dims=widths,
    )  # fmt: skip
    made = hub.models.SegFormerBackbone(image_encoder=encoder, projection_filters=projection)
    return keras.Model(made.input, keras.layers.Conv2D(150, 1)(made.output))


def flownet(net: Network, x, *, width: int):
    """FlowNet-S (Dosovitskiy et al. 2015): flow of six channels of two images, refined while it grows."""
    import jax
    import jax.numpy as jnp

    def unit(x, filters, kernel=3, stride=1):
        return jax.nn.leaky_relu(net.batch_norm(net.conv(x, filters, kernel, stride)), 0.1)

    skips = []
    for filters, kernel, count in ((width, 7, 1), (2 * width, 5, 1), (4 * width, 5, 2), (8 * width, 3, 2),
                                   (8 * width, 3, 2), (16 * width, 3, 2)):  # fmt: skip
        x = unit(x, filters, kernel, 2)
        for _ in range(count - 1):
            x = unit(x, filters)
        skips.append(x)
    flows = [net.conv(x, 2, bias=True)]
    for place, skip in enumerate(skips[-2::-1]):
        x = jax.nn.leaky_relu(net.deconv(x, max(width, 8 * width >> place)), 0.1)
        x = jnp.concatenate([skip, x, net.deconv(flows[-1], 2)], axis=-1)
        flows.append(net.conv(x, 2, bias=True))
    return tuple(flows)


def pspnet(net: Network, x, *, blocks: tuple[int, ...], classes: int):
    """PSPNet (Zhao et al. 2017): pooled at four scales; two scores, the second for the auxiliary loss."""
    import jax
    import jax.numpy as jnp

    for filters, stride in ((64, 2), (64, 1), (128, 1)):
        x = jax.nn.relu(net.batch_norm(net.conv(x, filters, 3, stride)))
    x = max_pool(x, 3, 2)
    early = None
    for level, count in enumerate(blocks):
        early = x if level == 3 else early
        for place in range(count):
            x = bottleneck(net, x, 64 * 2**level, 2 if place == 0 and level == 1 else 1, max(1, 2 ** (level - 1)))
    parts = [x]
    for bins in (1, 2, 3, 6):
        y = net.batch_norm(net.conv(avg_pool(x, x.shape[1] // bins), 512, 1))
        parts.append(jax.image.resize(jax.nn.relu(y), (*x.shape[:3], 512), "bilinear"))
    scores = []
    for features, width in ((jnp.concatenate(parts, axis=-1), 512), (early, 256)):
        y = net.conv(jax.nn.relu(net.batch_norm(net.conv(features, width))), classes, 1, bias=True)
        scores.append(jax.image.resize(y, (y.shape[0], 8 * y.shape[1], 8 * y.shape[2], classes), "bilinear"))
    return tuple(scores)


_xla = partial(program, "xla")
BF16 = "bfloat16"
FULL = (64, 128, 256, 512, 1024)

PROGRAMS = [
    _xla("unet", "train", "unet", partial(unet, filters=FULL, classes=2), [("float", 4, 512, 512, 3)], "momentum"),
    _xla("unet", "train", "unet_half", partial(unet, filters=(32, 64, 128, 256, 512), classes=21),
         [("float", 16, 256, 256, 3)], "adamw", dtype=BF16),
    _xla("unet", "train", "unet3d", partial(unet, filters=(32, 64, 128, 256, 320), classes=4),
         [("float", 2, 64, 64, 64, 4)], "sgd"),
    _xla("unet", "test", "unet3d_96", partial(unet, filters=(32, 64, 128, 256), classes=3),
         [("float", 2, 96, 96, 96, 1)], "momentum", dtype=BF16),
    _xla("unet", "train", "unet_plus_plus", partial(unet_plus_plus, filters=(32, 64, 128, 256, 512), classes=2),
         [("float", 8, 256, 256, 3)], "sgd"),
    _xla("deeplab", "train", "deeplabv3plus_resnet50", partial(deeplab, blocks=(3, 4, 6, 3), classes=21),
         [("float", 8, 512, 512, 3)]),
    _xla("deeplab", "train", "deeplabv3plus_resnet50", partial(deeplab, blocks=(3, 4, 6, 3), classes=19),
         [("float", 4, 512, 512, 3)], "sgd"),
    _xla("deeplab", "valid", "pspnet_resnet101", partial(pspnet, blocks=(3, 4, 23, 3), classes=150),
         [("float", 4, 384, 384, 3)], dtype=BF16),
    _xla("hrnet", "valid", "hrnet_w32", partial(hrnet, width=32, modules=(1, 4, 3), outputs=17),
         [("float", 16, 256, 192, 3)]),
    _xla("hrnet", "valid", "hrnet_w18_small", partial(hrnet, width=18, modules=(1, 1, 1), outputs=17),
         [("float", 32, 256, 192, 3)], "sgd", loss="squared"),
    _xla("flownet", "train", "flownet_s", partial(flownet, width=64), [("float", 8, 384, 512, 6)], "adamw",
         loss="squared"),
    _xla("flownet", "train", "flownet_s", partial(flownet, width=64), [("float", 8, 320, 448, 6)], dtype=BF16),
    keras_program("xla", "segformer", "test", "segformer_b0",
                  partial(segformer, [2, 2, 2, 2], [32, 64, 160, 256], 256, 512), 8),
    keras_program("xla", "segformer", "test", "segformer_b2",
                  partial(segformer, [3, 4, 6, 3], [64, 128, 320, 512], 768, 512), 4),
]  # fmt: skip
