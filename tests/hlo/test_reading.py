import numpy as np
import pytest

from stages.engine.errors import InputError
from stages.hlo import hlo_pb2
from stages.hlo.__main__ import convert
from stages.hlo.reading import read
from tests.support.hlo import DATA, computation, instruction, layout_tuning, module, saved


def test_hlo_dump_message_holds_the_module():
    dump = hlo_pb2.HloProto(hlo_module=module(computation(1, 1, instruction(1)))).SerializeToString()
    assert hlo_pb2.HloProto.FromString(dump).hlo_module.computations[0].instructions[0].name == "add.1"


def test_every_cut_of_a_layout_file_is_refused(tmp_path):
    tuning = layout_tuning()
    tuning.fingerprint = 7  # as every published file has
    data = tuning.SerializeToString()
    program = hlo_pb2.HloProto(hlo_module=tuning.module).SerializeToString()
    file = tmp_path / "cut.pb"
    for length in range(len(data)):
        file.write_bytes(data[:length])
        if data[:length] == program:  # the very bytes of a dump
            continue
        with pytest.raises(InputError, match="cut.pb"):
            convert(file, tmp_path)


@pytest.mark.parametrize("bare", [False, True])
def test_every_cut_of_a_dump_is_refused(tmp_path, bare):
    """A module alone is a list of computations: cut between two it is one still, without the entry."""
    graph = hlo_pb2.HloProto.FromString((DATA / "written.hlo.pb").read_bytes()).hlo_module
    graph.entry_computation_name = graph.computations[-1].name
    data = (graph if bare else hlo_pb2.HloProto(hlo_module=graph)).SerializeToString()
    file = tmp_path / "cut.pb"
    for length in range(1, len(data)):
        file.write_bytes(data[:length])
        with pytest.raises(InputError, match="cut.pb: .* or is cut short"):
            read(file)


def test_text_and_other_protobufs_are_named_for_what_they_are(tmp_path):
    file = tmp_path / "program.txt"
    file.write_bytes((DATA / "module.txt").read_bytes())
    with pytest.raises(InputError, match="program.txt: is HLO as text; dump it with --xla_dump_hlo_as_proto"):
        read(file)
    nothing = hlo_pb2.HloProto(hlo_module=hlo_pb2.HloModuleProto(name="m"))
    with pytest.raises(InputError, match="neither TpuGraphs tuning data nor an HLO dump"):
        read(saved(tmp_path, nothing))


def test_files_that_are_not_tuning_data(tmp_path):
    file = tmp_path / "noise.pb"
    file.write_bytes(np.random.default_rng(0).bytes(10_000))
    with pytest.raises(InputError, match="noise.pb: is neither TpuGraphs tuning data nor an HLO dump"):
        read(file)
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path)
