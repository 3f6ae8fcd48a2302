"""Small HLO modules and tuning data, and the command that turns them into npz files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.hlo import hlo_pb2

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
REAL = os.environ.get("TPUGRAPHS_DIR")
needs_real_files = pytest.mark.skipif(not REAL, reason="TPUGRAPHS_DIR does not name a folder of real TpuGraphs files")
F32, TUPLE, F8E5M2 = 11, 13, 19


def instruction(identifier, opcode="add", element_type=F32, **fields):
    proto = hlo_pb2.HloInstructionProto(id=identifier, name=f"{opcode}.{identifier}", opcode=opcode, **fields)
    proto.shape.element_type = element_type
    return proto


def computation(identifier, root, *instructions, name="entry"):
    return hlo_pb2.HloComputationProto(id=identifier, name=name, root_id=root, instructions=instructions)


def module(*computations, name="m"):
    return hlo_pb2.HloModuleProto(name=name, computations=computations)


def tile_tuning(name="fusion.1", fingerprint=7, default=20):
    runs = [
        hlo_pb2.ConfigProfile(
            op_config={"tile_size_config": {"output_bounds": [4, nanoseconds]}},
            profile={"compute_time_ns": nanoseconds},
            is_default=nanoseconds == default,
            error=nanoseconds == 30,
        )
        for nanoseconds in (10, 20, 30)
    ]
    graph = module(computation(1, 1, instruction(1, "parameter")), name=name)
    return hlo_pb2.ModuleTuningData(module=graph, fingerprint=fingerprint, runs=runs)


def layout_tuning(nodes=(1,), tensors=((1, 0), (), (3, 2, 1, 0, 4, 5))):
    node = {"tensors": [{"dims": dims} for dims in tensors]}
    run = hlo_pb2.ConfigProfile(
        module_config={"layout_config": {"nodes": [node]}}, profile={"compute_time_ns": 5_000_000_001}
    )
    graph = module(computation(1, 2, instruction(1, "parameter"), instruction(2, "reshape", operand_ids=[1])))
    return hlo_pb2.ModuleTuningData(module=graph, runs=[run], config_index_to_node=nodes)


def saved(folder, tuning, name="program.pb"):
    path = folder / name
    path.write_bytes(tuning.SerializeToString())
    return path


def command(*arguments):
    line = [sys.executable, "-m", "stages.hlo", *map(str, arguments)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
