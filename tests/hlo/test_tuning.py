import numpy as np
import pytest

from stages.engine.errors import InputError
from stages.hlo import hlo_pb2
from stages.hlo.__main__ import convert
from tests.support.hlo import layout_tuning, saved, tile_tuning


def test_layout_configuration_is_padded(tmp_path):
    (path,) = convert(saved(tmp_path, layout_tuning()), tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "program.npz"
    with np.load(path, allow_pickle=False) as arrays:
        assert arrays["node_config_feat"].tolist() == [[[1, 0] + [-1] * 10 + [3, 2, 1, 0, 4, 5]]]
        assert arrays["config_runtime"].tolist() == [5_000_000_001]
    assert [entry.name for entry in path.parent.iterdir()] == ["program.npz"]


def test_tile_configuration_and_normalizer(tmp_path):
    (path,) = convert(saved(tmp_path, hlo_pb2.TuningData(modules=[tile_tuning()])), tmp_path)
    with np.load(path, allow_pickle=False) as arrays:
        zeros = [0] * 8
        expected = [zeros + [4, runtime, 0, 0, 0, 0, 4 + runtime, 4 * runtime] + zeros for runtime in (10, 20)]
        assert arrays["config_feat"].tolist() == expected
        assert arrays["config_runtime"].tolist() == [10, 20]
        assert arrays["config_runtime_normalizers"].tolist() == [20, 20]


@pytest.mark.parametrize(
    "tuning, fault",
    [
        (layout_tuning(nodes=(2,)), "distinct numbers below 2"),
        (layout_tuning(nodes=(1, 1)), "distinct numbers below 2"),
        (layout_tuning(nodes=(0, 1)), "configures 1 nodes where 2"),
        (layout_tuning(nodes=()), "no node is configurable"),
        (layout_tuning(tensors=((0,),) * 4), "4 layouts"),
        (hlo_pb2.TuningData(modules=[tile_tuning(), tile_tuning(default=30)]), "kernel 1: no timed run is marked"),
        (hlo_pb2.TuningData(modules=[hlo_pb2.ModuleTuningData(module=tile_tuning().module)]), "no run has both a tile"),
        (tile_tuning(), "no node is configurable"),
        (layout_tuning(tensors=((1, 0), range(7))), "instruction 'reshape.2' a layout of rank 7, and .* holds 6"),
    ],
)
def test_tuning_data_that_does_not_fit(tmp_path, tuning, fault):
    with pytest.raises(InputError, match=f"program.pb: .*{fault}") as caught:
        convert(saved(tmp_path, tuning), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
