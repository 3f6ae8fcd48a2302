import pytest

from stages.graphs.families import family


@pytest.mark.parametrize(
    ("graph", "name"),
    [
        ("resnet50.4x4.fp16", "resnet"),
        ("resnet_v1_50_official_batch_128_bf16", "resnet"),
        ("tf2_bert_pretrain_dynamic_batch_size", "bert"),
        ("mlperf_bert_batch_24_2x2", "bert"),
        ("small_bert_bert_en_uncased_L-2_H-128", "bert"),
        ("experts_bert_wiki_books", "bert"),
        ("experts_e8_w48_b256_forward", "experts"),
        ("unet_3d.4x4.bf16", "unet"),
        ("outer_distance_f32_2x256x192", "outer"),
        ("gru_t8_u96_b32_forward", "gru"),
        ("937ee0eb0d5d6151b7b8252933b5c1c9", "937ee0eb0d5d6151b7b8252933b5c1c9"),
    ],
)
def test_the_family_is_the_leading_word_that_names_a_program(graph, name):
    assert family(graph) == name
