"""Jobs: their records, and what was planned of an id."""

from stages.collect.cpu.jobs import Job, planned, records_of
from stages.collect.cpu.kernels.registry import KERNELS
from stages.collect.cpu.programs.registry import NLP_PROGRAMS
from stages.collect.record import Planned


def test_records_of_a_program_are_one_a_search_and_of_a_kernel_one(tmp_path):
    program, kernel = NLP_PROGRAMS[0].id, KERNELS[0].id
    layout = Job(program, ("random", "default"), 3, str(tmp_path), 2.5)
    tile = Job(kernel, ("tile",), 3, str(tmp_path), 2.5)
    folder = tmp_path / "layout" / "nlp"
    assert records_of(layout) == [folder / "random" / f"{program}.npz", folder / "default" / f"{program}.npz"]
    assert records_of(tile) == [tmp_path / "tile" / "xla" / f"{kernel}.npz"]


def test_planned_of_a_program_a_kernel_and_an_unknown_id():
    program, kernel = NLP_PROGRAMS[0], KERNELS[0]
    assert planned(program.id) == Planned("layout:nlp", program.split, program.family)
    assert planned(kernel.id) == Planned("tile:xla", kernel.split, kernel.kind)
    assert planned("nosuch") is None
