"""Detection, key points and video."""

from __future__ import annotations

from functools import partial

from stages.collect.programs.declare import program
from stages.collect.programs.network import Network, max_pool, upsample
from stages.collect.programs.segmentation import bottleneck


def retinanet(net: Network, x, *, blocks: tuple[int, ...], classes: int = 80, anchors: int = 9):
    """RetinaNet (Lin et al. 2017): a feature pyramid, four shared convolutions for classes and for boxes."""
    import jax

    x = max_pool(jax.nn.relu(net.batch_norm(net.conv(x, 64, 7, 2))), 3, 2)
    levels = []
    for level, count in enumerate(blocks):
        for place in range(count):
            x = bottleneck(net, x, 64 * 2**level, 2 if place == 0 and level else 1)
        levels.append(x)
    top = net.conv(levels[-1], 256, 1, bias=True)
    pyramid = [top]
    for x in levels[-2:0:-1]:
        top = upsample(top) + net.conv(x, 256, 1, bias=True)
        pyramid.append(top)
    pyramid = [net.conv(x, 256, bias=True) for x in pyramid]
    pyramid.insert(0, net.conv(levels[-1], 256, 3, 2, bias=True))
    pyramid.insert(0, net.conv(jax.nn.relu(pyramid[0]), 256, 3, 2, bias=True))
    outputs = []
    for channels in (classes * anchors, 4 * anchors):
        towers = [(net.weight(3, 3, 256, 256), net.weight(256)) for _ in range(4)]
        last = net.weight(3, 3, 256, channels)
        for x in pyramid:
            for weight, bias in towers:
                x = jax.nn.relu(_same(x, weight) + bias)
            y = _same(x, last)
            outputs.append(y.reshape(y.shape[0], -1, channels // anchors))
    return tuple(outputs)


def _same(x, weight):
    """Convolution with a weight that several levels share."""
    import jax

    return jax.lax.conv_general_dilated(x, weight, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def yolo(net: Network, x, *, blocks: tuple[int, ...], classes: int = 80):
    """YOLOv3 (Redmon & Farhadi 2018): Darknet-53 and heads at three scales."""
    import jax
    import jax.numpy as jnp

    def unit(x, filters, kernel=3, stride=1):
        return jax.nn.leaky_relu(net.batch_norm(net.conv(x, filters, kernel, stride)), 0.1)

    x = unit(x, 32)
    levels = []
    for level, count in enumerate(blocks):
        width = 64 * 2**level
        x = unit(x, width, 3, 2)
        for _ in range(count):
            x = x + unit(unit(x, width // 2, 1), width)
        levels.append(x)
    outputs, x = [], levels[-1]
    for place, width in enumerate((512, 256, 128)):
        for _ in range(2):
            x = unit(unit(x, width, 1), 2 * width)
        x = unit(x, width, 1)
        y = net.conv(unit(x, 2 * width), 3 * (5 + classes), 1, bias=True)
        outputs.append(y.reshape(*y.shape[:3], 3, 5 + classes))
        if place < 2:
            x = jnp.concatenate([upsample(unit(x, width // 2, 1)), levels[-2 - place]], axis=-1)
    return tuple(outputs)


def hourglass(net: Network, x, *, stacks: int, width: int, outputs: int, depth: int = 4):
    """Stacked hourglass (Newell et al. 2016): down, up, score, again."""
    import jax

    def residual(x, filters):
        y = jax.nn.relu(net.batch_norm(net.conv(x, filters // 2, 1)))
        y = net.batch_norm(net.conv(jax.nn.relu(net.batch_norm(net.conv(y, filters // 2))), filters, 1))
        return jax.nn.relu(y + (x if x.shape[-1] == filters else net.conv(x, filters, 1)))

    def glass(x, levels):
        low = residual(max_pool(x), width)
        low = glass(low, levels - 1) if levels > 1 else residual(low, width)
        return residual(x, width) + upsample(residual(low, width))

    x = residual(jax.nn.relu(net.batch_norm(net.conv(x, 64, 7, 2))), 128)
    x = residual(max_pool(x), width)
    scores = []
    for _ in range(stacks):
        y = jax.nn.relu(net.batch_norm(net.conv(residual(glass(x, depth), width), width, 1)))
        scores.append(net.conv(y, outputs, 1, bias=True))
        x = x + net.conv(y, width, 1) + net.conv(scores[-1], width, 1)
    return tuple(scores)


def detr(net: Network, x, *, blocks: tuple[int, ...], layers: int, width: int = 256, queries: int = 100):
    """DETR (Carion et al. 2020): a residual network, a transformer, one class and box a query."""
    import jax
    import jax.numpy as jnp

    x = max_pool(jax.nn.relu(net.batch_norm(net.conv(x, 64, 7, 2))), 3, 2)
    for level, count in enumerate(blocks):
        for place in range(count):
            x = bottleneck(net, x, 64 * 2**level, 2 if place == 0 and level else 1)
    x = net.conv(x, width, 1, bias=True)
    x = x.reshape(x.shape[0], -1, width)
    places = net.weight(x.shape[1], width)

    def feed_forward(x):
        return net.dense(jax.nn.relu(net.dense(x, 2048)), width)

    for _ in range(layers):
        x = net.layer_norm(x + net.attention(x + places, 8))
        x = net.layer_norm(x + feed_forward(x))
    y = jnp.broadcast_to(net.weight(queries, width), (x.shape[0], queries, width))
    for _ in range(layers):
        y = net.layer_norm(y + net.attention(y, 8))
        y = net.layer_norm(y + net.attention(y, 8, memory=x + places))
        y = net.layer_norm(y + feed_forward(y))
    boxes = net.dense(jax.nn.relu(net.dense(jax.nn.relu(net.dense(y, width)), width)), 4)
    return net.dense(y, 92), jax.nn.sigmoid(boxes)


def r2plus1d(net: Network, x, *, blocks: tuple[int, ...], classes: int = 400):
    """R(2+1)D (Tran et al. 2018): convolutions over space, then over time."""
    import jax

    def factored(x, filters, stride=1):
        middle = x.shape[-1] * filters * 27 // (9 * x.shape[-1] + 3 * filters)
        x = jax.nn.relu(net.batch_norm(net.conv(x, middle, (1, 3, 3), (1, stride, stride))))
        return net.batch_norm(net.conv(x, filters, (3, 1, 1), (stride, 1, 1)))

    x = jax.nn.relu(net.batch_norm(net.conv(x, 45, (1, 7, 7), (1, 2, 2))))
    x = jax.nn.relu(net.batch_norm(net.conv(x, 64, (3, 1, 1))))
    for level, count in enumerate(blocks):
        for place in range(count):
            filters, stride = 64 * 2**level, 2 if level and place == 0 else 1
            y = factored(jax.nn.relu(factored(x, filters, stride)), filters)
            x = jax.nn.relu(y + (x if x.shape == y.shape else net.batch_norm(net.conv(x, filters, 1, stride))))
    return net.dense(x.mean((1, 2, 3)), classes)


def slowfast(net: Network, slow, fast, *, blocks: tuple[int, ...], classes: int = 400):
    """SlowFast (Feichtenhofer et al. 2019): few frames and many channels beside many frames and few channels."""
    import jax
    import jax.numpy as jnp

    def block(x, width, temporal, stride):
        y = jax.nn.relu(net.batch_norm(net.conv(x, width, (temporal, 1, 1))))
        y = jax.nn.relu(net.batch_norm(net.conv(y, width, (1, 3, 3), (1, stride, stride))))
        y = net.batch_norm(net.conv(y, 4 * width, 1))
        return jax.nn.relu(
            y + (x if x.shape == y.shape else net.batch_norm(net.conv(x, 4 * width, 1, (1, stride, stride))))
        )

    def stem(x, width, temporal):
        x = jax.nn.relu(net.batch_norm(net.conv(x, width, (temporal, 7, 7), (1, 2, 2))))
        return max_pool(x, (1, 3, 3), (1, 2, 2))

    slow, fast = stem(slow, 64, 1), stem(fast, 8, 5)
    ratio = fast.shape[1] // slow.shape[1]
    for level, count in enumerate(blocks):
        lateral = net.conv(fast, 2 * fast.shape[-1], (5, 1, 1), (ratio, 1, 1))
        slow = jnp.concatenate([slow, jax.nn.relu(net.batch_norm(lateral))], axis=-1)
        for place in range(count):
            stride = 2 if level and place == 0 else 1
            slow = block(slow, 64 * 2**level, 3 if level > 1 else 1, stride)
            fast = block(fast, 8 * 2**level, 3, stride)
    return net.dense(jnp.concatenate([slow.mean((1, 2, 3)), fast.mean((1, 2, 3))], axis=-1), classes)


_xla = partial(program, "xla")
BF16 = "bfloat16"

PROGRAMS = [
    _xla("retinanet", "train", "retinanet_resnet50", partial(retinanet, blocks=(3, 4, 6, 3)),
         [("float", 4, 640, 640, 3)]),
    _xla("retinanet", "train", "retinanet_resnet50", partial(retinanet, blocks=(3, 4, 6, 3)),
         [("float", 8, 512, 512, 3)], "sgd", loss="binary", dtype=BF16),
    _xla("retinanet", "valid", "retinanet_resnet101", partial(retinanet, blocks=(3, 4, 23, 3)),
         [("float", 2, 640, 640, 3)]),
    _xla("yolo", "test", "yolov3_416", partial(yolo, blocks=(1, 2, 8, 8, 4)), [("float", 16, 416, 416, 3)]),
    _xla("yolo", "test", "yolov3_small_320", partial(yolo, blocks=(1, 2, 4, 4, 2)), [("float", 16, 320, 320, 3)], "sgd",
         loss="binary"),
    _xla("hourglass", "train", "hourglass_2", partial(hourglass, stacks=2, width=256, outputs=16),
         [("float", 16, 256, 256, 3)], "sgd", loss="squared"),
    _xla("hourglass", "train", "hourglass_4", partial(hourglass, stacks=4, width=256, outputs=16),
         [("float", 16, 256, 256, 3)]),
    _xla("detr", "train", "detr_resnet50", partial(detr, blocks=(3, 4, 6, 3), layers=6), [("float", 4, 640, 640, 3)]),
    _xla("detr", "train", "detr_resnet50_3", partial(detr, blocks=(3, 4, 6, 3), layers=3),
         [("float", 8, 512, 512, 3)], "sgd", loss="squared"),
    _xla("video", "train", "r2plus1d_18", partial(r2plus1d, blocks=(2, 2, 2, 2)), [("float", 8, 16, 112, 112, 3)],
         "momentum"),
    _xla("video", "train", "r2plus1d_34", partial(r2plus1d, blocks=(3, 4, 6, 3)), [("float", 4, 16, 112, 112, 3)]),
    _xla("video", "test", "slowfast_r50", partial(slowfast, blocks=(3, 4, 6, 3)),
         [("float", 4, 8, 224, 224, 3), ("float", 4, 32, 224, 224, 3)], dtype=BF16),
]  # fmt: skip
