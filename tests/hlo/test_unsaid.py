import pytest

from stages.engine.errors import InputError
from stages.hlo import hlo_pb2
from stages.hlo.__main__ import convert
from stages.hlo.features import ELEMENT_TYPES
from stages.hlo.unsaid import NEWER_TYPES, unsaid
from tests.support.hlo import DATA, F8E5M2, command, computation, instruction, module, saved


def test_ranks_beyond_six_of_a_dump_are_refused_by_the_instructions_name(tmp_path):
    fault = "written.hlo.pb: instruction 'seven' .parameter. has rank 7, and .* 6 dimensions"
    with pytest.raises(InputError, match=fault) as caught:
        convert(DATA / "written.hlo.pb", tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_types_and_opcodes_without_a_column_are_counted_in_one_line(tmp_path):
    new = [instruction(1, "topk", F8E5M2), instruction(2, "erf"), instruction(3, element_type=F8E5M2), instruction(4)]
    new += [instruction(5, element_type=99), instruction(6, "erf", 21)]
    result = command(saved(tmp_path, hlo_pb2.HloProto(hlo_module=module(computation(1, 4, *new)))), tmp_path / "out")
    assert result.returncode == 0 and result.stdout.startswith("1 npz")
    assert result.stderr == (
        f"{tmp_path}/program.pb: 5 of 6 instructions have a type or opcode that TpuGraphs' columns cannot say, zero in "
        "the npz: element types f8e5m2 (2), number 99 (1), s4 (1); opcodes erf (2), topk (1)\n"
    )
    assert unsaid([module(computation(1, 4, instruction(4)))]) is None
    assert not NEWER_TYPES.keys() & set(ELEMENT_TYPES)
