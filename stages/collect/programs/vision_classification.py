"""Image classification: keras.applications and KerasHub backbones at their published sizes."""

from __future__ import annotations

from functools import partial

from stages.collect.programs.declare import keras_program
from stages.collect.programs.keras_models import libraries

CLASSES = 1000


def application(name: str, pixels: int = 224, **options):
    """A network of keras.applications with its classifier, logits out."""
    keras, _ = libraries()
    make = getattr(keras.applications, name)
    return make(weights=None, input_shape=(pixels, pixels, 3), classifier_activation=None, **options)


def hub_classifier(name: str, *sizes, **options):
    """A KerasHub backbone under a linear classifier of its mean features."""
    keras, hub = libraries()
    backbone = getattr(hub.models, name)(*sizes, **options)
    x = backbone.output
    x = keras.ops.mean(x, axis=tuple(range(1, len(x.shape) - 1)))
    return keras.Model(backbone.input, keras.layers.Dense(CLASSES)(x))


def vit(layers: int, width: int, heads: int, patch: int = 16, pixels: int = 224):
    """Vision transformer (Dosovitskiy et al. 2021)."""
    return hub_classifier("ViTBackbone", (pixels, pixels, 3), (patch, patch), layers, heads, width, 4 * width)


def deit(layers: int, width: int, heads: int, pixels: int = 224):
    """DeiT (Touvron et al. 2021): a vision transformer with a distillation token."""
    return hub_classifier("DeiTBackbone", (pixels, pixels, 3), (16, 16), layers, heads, width, 4 * width)


def dinov2(layers: int, width: int, heads: int, pixels: int = 224):
    """DINOv2 (Oquab et al. 2023)."""
    pixels_trained = (518, 518, 3)
    return hub_classifier(
        "DINOV2Backbone", 14, layers, width, heads, 4 * width,
        image_shape=(pixels, pixels, 3), position_embedding_shape=pixels_trained,
    )  # fmt: skip


def swin(width: int, depths: list[int], heads: list[int], window: int = 7, pixels: int = 224):
    """Swin transformer (Liu et al. 2021)."""
    shape = (pixels, pixels, 3)
    return hub_classifier("SwinTransformerBackbone", shape, width, depths, heads, window, drop_path=0.0)


def csp_darknet(depths: list[int], pixels: int = 256):
    """CSPDarkNet-53 (Wang et al. 2020)."""
    return hub_classifier(
        "CSPNetBackbone",
        stem_filters=32, stem_kernel_size=3, stem_strides=1, stackwise_depth=depths,
        stackwise_strides=[2] * 5, stackwise_num_filters=[64, 128, 256, 512, 1024], block_type="dark_block",
        stage_type="csp", bottle_ratio=[0.5] + [1.0] * 4, block_ratio=[1.0] + [0.5] * 4,
        expand_ratio=[2.0] + [1.0] * 4, down_growth=True, stem_padding="same", image_shape=(pixels, pixels, 3),
    )  # fmt: skip


_xla = partial(keras_program, "xla")
_app = partial(partial, application)

PROGRAMS = [
    _xla("resnet", "train", "resnet50", _app("ResNet50"), 32),
    _xla("resnet", "train", "resnet50", _app("ResNet50"), 128, "momentum", dtype="bfloat16"),
    _xla("resnet", "train", "resnet101v2", _app("ResNet101V2"), 16),
    _xla("resnet", "valid", "resnet152", _app("ResNet152"), 8),
    _xla("resnet", "test", "resnet50v2", _app("ResNet50V2"), 64, "sgd"),
    _xla("densenet", "train", "densenet121", _app("DenseNet121"), 32),
    _xla("densenet", "train", "densenet169", _app("DenseNet169"), 16),
    _xla("densenet", "test", "densenet201", _app("DenseNet201"), 16, dtype="bfloat16"),
    _xla("mobilenet", "train", "mobilenetv1", _app("MobileNet"), 64, "sgd"),
    _xla("mobilenet", "train", "mobilenetv2", _app("MobileNetV2"), 32, "momentum"),
    _xla("mobilenet", "train", "mobilenetv3large", _app("MobileNetV3Large"), 128),
    _xla("mobilenet", "valid", "mobilenetv3small", _app("MobileNetV3Small"), 64, "sgd"),
    _xla("efficientnet", "train", "efficientnetb0", _app("EfficientNetB0"), 128, dtype="bfloat16"),
    _xla("efficientnet", "train", "efficientnetb1", _app("EfficientNetB1", 240), 32),
    _xla("efficientnet", "train", "efficientnetb4", _app("EfficientNetB4", 380), 8),
    _xla("efficientnet", "train", "efficientnetv2b0", _app("EfficientNetV2B0"), 64),
    _xla("efficientnet", "test", "efficientnetv2s", _app("EfficientNetV2S", 384), 16),
    _xla("inception", "train", "inceptionv3", _app("InceptionV3", 299), 32),
    _xla("inception", "valid", "inceptionresnetv2", _app("InceptionResNetV2", 299), 16),
    _xla("xception", "valid", "xception", _app("Xception", 299), 32),
    _xla("xception", "valid", "xception", _app("Xception", 299), 16, "momentum"),
    _xla("nasnet", "test", "nasnetmobile", _app("NASNetMobile"), 32),
    _xla("nasnet", "test", "nasnetlarge", _app("NASNetLarge", 331), 8),
    _xla("convnext", "train", "convnexttiny", _app("ConvNeXtTiny"), 32, "adamw"),
    _xla("convnext", "train", "convnextsmall", _app("ConvNeXtSmall"), 32),
    _xla("convnext", "train", "convnextbase", _app("ConvNeXtBase"), 16, dtype="bfloat16"),
    _xla("vgg", "train", "vgg16", _app("VGG16"), 32, "momentum"),
    _xla("vgg", "train", "vgg19", _app("VGG19"), 16, "adamw"),
    _xla("vit", "train", "vit_b16", partial(vit, 12, 768, 12), 32),
    _xla("vit", "train", "vit_s16", partial(vit, 12, 384, 6), 64, "adamw"),
    _xla("vit", "train", "deit_s16", partial(deit, 12, 384, 6), 128, "sgd", dtype="bfloat16"),
    _xla("vit", "valid", "dinov2_b14", partial(dinov2, 12, 768, 12), 16),
    _xla("vit", "test", "vit_l16", partial(vit, 24, 1024, 16), 8, dtype="bfloat16"),
    _xla("swin", "train", "swin_t", partial(swin, 96, [2, 2, 6, 2], [3, 6, 12, 24]), 32, "sgd"),
    _xla("swin", "train", "swin_b", partial(swin, 128, [2, 2, 18, 2], [4, 8, 16, 32]), 16),
    _xla("darknet", "train", "cspdarknet53", partial(csp_darknet, [1, 2, 8, 8, 4]), 32),
    _xla("darknet", "train", "cspdarknet_s", partial(csp_darknet, [1, 1, 3, 3, 1]), 64, "momentum"),
]
