"""Image classifiers whose convolutional trunk is keras_hub's, with explicit small arguments."""

from functools import partial

from stages.collect.cpu.programs.xla.building import program
from stages.collect.cpu.programs.xla.layers import CLASSES, classifier, image_shape, load_hub, load_keras


def _resnet(size, filters, blocks, block_type="basic_block", pre=False, stem=64):
    """ResNet (He 2016), basic or bottleneck blocks, v1 or v2 (`pre`)."""
    return classifier(
        load_hub().ResNetBackbone(
            input_conv_filters=[stem],
            input_conv_kernel_sizes=[7],
            stackwise_num_filters=filters,
            stackwise_num_blocks=blocks,
            stackwise_num_strides=[1] + [2] * (len(filters) - 1),
            block_type=block_type,
            use_pre_activation=pre,
            image_shape=image_shape(size),
        )
    )


def _mobilenet(size, filters, expansion=3, kernel=3, squeeze=None, activation="relu6", stem=16):
    """MobileNet: inverted residuals (Sandler 2018), squeeze and excitation as in v3 (Howard 2019)."""
    stages = len(filters)
    return classifier(
        load_hub().MobileNetBackbone(
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
            image_shape=image_shape(size),
            input_activation=activation,
            output_activation=activation,
            input_num_filters=stem,
        )
    )


def _densenet(size, repeats, growth):
    """DenseNet (Huang 2017)."""
    return classifier(
        load_hub().DenseNetBackbone(stackwise_num_repeats=repeats, growth_rate=growth, image_shape=image_shape(size))
    )


def _efficientnet(size, filters, block_types, expansion=3, kernel=3, squeeze=0.25):
    """EfficientNet (Tan 2019) or, with fused blocks, v2 (Tan 2021)."""
    stages = len(filters)
    return classifier(
        load_hub().EfficientNetBackbone(
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
            input_shape=image_shape(size),
        )
    )


def _cspnet(size, filters, depth, block_type="dark_block", stage_type="csp", stem=16, groups=1):
    """CSPNet (Wang 2020): darknet, plain or cross-stage partial."""
    return classifier(
        load_hub().CSPNetBackbone(
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
            image_shape=image_shape(size),
        )
    )


def _vgg(size, repeats, filters):
    """VGG (Simonyan 2015)."""
    return classifier(
        load_hub().VGGBackbone(
            stackwise_num_repeats=repeats, stackwise_num_filters=filters, image_shape=image_shape(size)
        )
    )


def _xception(size, filters):
    """Xception (Chollet 2017)."""
    pooling = [False] + [True] * (len(filters) - 2) + [False]
    return classifier(
        load_hub().XceptionBackbone(
            stackwise_conv_filters=filters, stackwise_pooling=pooling, image_shape=image_shape(size)
        )
    )


def _hgnet(size, stem, stages):
    """HGNetV2, the trunk of RT-DETR (Zhao 2024)."""
    backbone = load_hub().HGNetV2Backbone(
        depths=[stage[3] for stage in stages],
        embedding_size=stem[-1],
        hidden_sizes=[stage[2] for stage in stages],
        stem_channels=stem,
        hidden_act="relu",
        use_learnable_affine_block=False,
        stackwise_stage_filters=stages,
        apply_downsample=[False] + [True] * (len(stages) - 1),
        use_lightweight_conv_block=[False] * len(stages),
        image_shape=image_shape(size),
        out_features=[f"stage{len(stages)}"],
    )
    keras = load_keras()
    x = keras.layers.GlobalAveragePooling2D()(backbone.output[f"stage{len(stages)}"])
    return keras.Model(backbone.inputs, keras.layers.Dense(CLASSES)(x))


# Families: a call gives one program of its family.
resnet = partial(program, "resnet", _resnet)
mobilenet = partial(program, "mobilenet", _mobilenet)
densenet = partial(program, "densenet", _densenet)
efficientnet = partial(program, "efficientnet", _efficientnet)
cspnet = partial(program, "cspnet", _cspnet)
vgg = partial(program, "vgg", _vgg)
xception = partial(program, "xception", _xception)
hgnet = partial(program, "hgnet", _hgnet)

#: in the order in which a family's programs are measured
PROGRAMS = [
    resnet("train", "v1_d2_f64-96_r48", 2, "forward", size=48, filters=[64, 96], blocks=[1, 1]),
    resnet("valid", "v2_d1_f64_r32", 2, "train", size=32, filters=[64], blocks=[1], pre=True),
    resnet("train", "v2_d2_f64-96_r32", 4, "forward_nchw", size=32, filters=[64, 96], blocks=[1, 1], pre=True),
    resnet("train", "v1b_d2_f64_r40", 1, "forward", size=40, filters=[64], blocks=[2], block_type="bottleneck_block"),
    resnet("train", "v1_d1_f64_r32", 4, "train", size=32, filters=[64], blocks=[1]),
    resnet("test", "v2_d3_f64-80-96_r64", 1, "forward", size=64, filters=[64, 80, 96], blocks=[1, 1, 1], pre=True),
    mobilenet("train", "v2_f16-24-32_r32", 4, "forward", size=32, filters=[16, 24, 32]),
    mobilenet(
        "test",
        "v3_k5_f16-24_r32",
        4,
        "forward_nchw",
        size=32,
        filters=[16, 24],
        kernel=5,
        squeeze=0.25,
        activation="hard_swish",
    ),
    mobilenet(
        "train",
        "v3_k5_f16-24-32_r32",
        2,
        "forward",
        size=32,
        filters=[16, 24, 32],
        kernel=5,
        squeeze=0.25,
        activation="hard_swish",
    ),
    mobilenet("train", "v2_e4_f24-40_r32", 2, "forward_nchw", size=32, filters=[24, 40], expansion=4),
    mobilenet("train", "v2_e2_f16-32_r24", 4, "forward", size=24, filters=[16, 32], expansion=2),
    densenet("train", "d2-2_g16_r64", 2, "forward", size=64, repeats=[2, 2], growth=16),
    densenet("train", "d2-2_g12_r48", 2, "forward_nchw", size=48, repeats=[2, 2], growth=12),
    densenet("train", "d3_g24_r32", 8, "forward", size=32, repeats=[3], growth=24),
    densenet("train", "d4_g32_r40", 4, "forward", size=40, repeats=[4], growth=32),
    densenet("valid", "d2-3_g16_r32", 8, "forward", size=32, repeats=[2, 3], growth=16),
    efficientnet("train", "v1_f16-24-32_r40", 4, "forward", size=40, filters=[16, 24, 32], block_types=["v1"] * 3),
    efficientnet("train", "v2_f16-24_r32", 4, "forward", size=32, filters=[16, 24], block_types=["fused", "unfused"]),
    efficientnet("train", "v2_f24_r24", 2, "train", size=24, filters=[24], block_types=["fused"], squeeze=0.0),
    efficientnet(
        "train",
        "v1_k5_e4_f16-32_r32",
        2,
        "forward",
        size=32,
        filters=[16, 32],
        block_types=["v1", "v1"],
        expansion=4,
        kernel=5,
    ),
    efficientnet(
        "test",
        "v2_f24-32-40_r40",
        2,
        "forward",
        size=40,
        filters=[24, 32, 40],
        block_types=["fused", "fused", "unfused"],
    ),
    cspnet("train", "dark_f32-64_r64", 2, "forward", size=64, filters=[32, 64], depth=[1, 1]),
    cspnet(
        "train", "plain_f16-32-48_r48", 4, "forward", size=48, filters=[16, 32, 48], depth=[1, 1, 1], stage_type="dark"
    ),
    cspnet(
        "train",
        "cs3_f32-48_r40",
        2,
        "forward_nchw",
        size=40,
        filters=[32, 48],
        depth=[1, 2],
        block_type="bottleneck_block",
        stage_type="cs3",
    ),
    cspnet(
        "train",
        "edge_f24-32_r32",
        4,
        "forward",
        size=32,
        filters=[24, 32],
        depth=[1, 1],
        block_type="edge_block",
        stem=24,
    ),
    cspnet(
        "valid",
        "csp_f48-64_r32",
        4,
        "forward",
        size=32,
        filters=[48, 64],
        depth=[2, 1],
        block_type="bottleneck_block",
        stem=24,
    ),
    vgg("train", "d4-4_f16-32_r32", 4, "forward", size=32, repeats=[4, 4], filters=[16, 32]),
    vgg("train", "d3-3-3_f16-32-64_r32", 2, "forward", size=32, repeats=[3, 3, 3], filters=[16, 32, 64]),
    vgg("train", "d4-5_f24-48_r32", 2, "forward_nchw", size=32, repeats=[4, 5], filters=[24, 48]),
    vgg("train", "d2-3-3_f24-32-48_r48", 1, "forward", size=48, repeats=[2, 3, 3], filters=[24, 32, 48]),
    vgg("test", "d3-5_f16-48_r32", 4, "forward", size=32, repeats=[3, 5], filters=[16, 48]),
    xception("valid", "f16-32-48_r48", 2, "forward", size=48, filters=[[16, 24], [32, 32], [48]]),
    xception("valid", "f16-32-48_r40", 2, "forward_nchw", size=40, filters=[[16, 32], [32, 48], [48, 64], [64]]),
    hgnet(
        "test",
        "f16-32_r64",
        2,
        "forward",
        size=64,
        stem=[3, 16, 16],
        stages=[(16, 16, 32, 1, 2, 3), (32, 16, 48, 1, 2, 3)],
    ),
]
