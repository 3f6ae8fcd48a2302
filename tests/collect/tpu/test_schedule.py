"""Final bundles, cut down by hand to what a pipeline of windows has."""

import pytest

from stages.collect.tpu import schedule
from stages.collect.tpu.bundles import Bundles

WINDOW = """
base_bounds: ({base})
dynamic_base_bounds: ({base})
window_bounds: ({window})
iteration_bounds: ({iterations})
strides: ({strides})
pad_low: ({zeros})
pad_high: ({high})
element_size_in_bytes: 4096
second_minor_factor: 1 */"""


def window(bounds, base, iterations, high=None):
    text = ", ".join
    return WINDOW.format(
        base=text(map(str, base)),
        window=text(map(str, bounds)),
        iterations=text(map(str, iterations)),
        strides=text(map(str, bounds)),
        zeros=text("0" for _ in bounds),
        high=text(map(str, high or [0] * len(bounds))),
    )


def bundles(*lines):
    """Numbered bundles, with a key before them as the compiler prints one."""
    numbered = []
    for number, line in enumerate(lines):
        label, _, body = line.partition("|")
        address = "0" if number == 0 else hex(number)
        numbered.append(f"{address:>6s} {label:2s} : > {{ {body} }}")
    return "LH: loop header\nLB: loop body\n= control target key end\n\n" + "\n".join(numbered) + "\n"


OPERANDS = (
    "|%s1_s0 = inlined_call_operand.hbm [shape: f32[32,24], index: 0, kind: input, shape index: {}] /* operand 0 */  ;;"
    "  %s2_s1 = inlined_call_operand.hbm [shape: f32[32,24], index: 1, kind: output, shape index: {}] /* operand 1 */"
)


def pipeline(trips, copied, moves="iter bound = 0"):
    """A pipeline whose input is copied by a descriptor; it computes in each step, and once at an output's end."""
    return bundles(
        OPERANDS,
        "LB|%s9_s9 = sphi %s8_s8, %s7_s7 /* phi copy :: iteration index, stage = 0 "
        + moves
        + " */ } /* Start region 90 ",
        "|%s10_s3 = smul.u32 8, %s9_s9  ;;  %15 = sbr.rel (%p1_p0) target = $region16",
        "|%s11_s4 = scalar_lea.hbm %s1_s0, %s10_s3",
        "|%12 = sst [smem:[#allocation5 + $0x3]] %s11_s4  ;;  %13 = sst [smem:[#allocation5]] %s14_s6",
        f"|%14 = dma [#allocation5] /* {copied} ",
        "PF|%16 = sbr.rel (%p2_p1) target = $region24 } /* Start/End empty region 16 ",
        "|%17 = vnop",
        "|%18 = dma.done.wait %s3, 64 /* pipeline-emitter-dma-wait */",
        "|%v1 = vadd.f32 %v2, %v3",
        "|%v4 = vadd.f32 %v1, %v3  ;;  %19 = vdelay 5",
        "|%20 = sbr.rel (%p3_p2) target = $region20",
        "|%21 = vnop",
        "|%22 = vst [vmem:[#allocation0] sm:$0xff] /*vst_source=*/%v4",
        "PF|%23 = vnop } /* Start/End empty region 20 ",
        f"PF|%p7_p7 = scmp.ge.s32.totalorder %s7_s7, {trips} /* loop exit test */ }} /* Start/End empty region 24 ",
        "|%24 = sbr.rel (!%p7_p7) target = $region90",
        "|%25 = vnop",
        "|%26 = dma.vmem_to_hbm [thread:$0]  /*vmem=*/%s30_s0, /*size_in_granules=*/2, /*hbm=*/%s2_s1, /*x=*/[#a]",
    )


def test_pipeline_counts_what_runs_in_each_part():
    # 4 steps in 5 trips. Trips: bundles 1, 2, 3 (a branch's delay slot), 6, 7 and 15 to 17, five times; the copy's
    # part (4 and 5), the compute part (8 to 14, one of 6 cycles) four times; its last part (13) once, as the output is
    # copied once.
    read = schedule.read(pipeline(5, window((8, 3), (32, 3), (4, 1))))
    always = 1 + 1
    every_trip = 5 * (3 + 2 + 3)
    steps = 4 * (2 + 1 + 1 + 6 + 1 + 1 + 1)
    assert read.cycles == always + every_trip + steps + 1
    assert read.steps == 4
    assert read.uncounted == 0


def test_descriptor_copy_knows_direction_operand_and_bytes():
    copies = schedule.read(pipeline(5, window((8, 3), (32, 3), (4, 1)))).copies
    assert [(copy.inward, copy.operand) for copy in copies] == [(True, 0), (False, 1)]
    assert copies[0].count == 4 and copies[0].bytes == 8 * 3 * 4096 and copies[0].pieces == 1
    assert copies[1].bytes == 2 * schedule.GRANULE_BYTES and not copies[1].pipelined


@pytest.mark.parametrize(("moves", "count"), [("iter bound = 0", 3), ("iter bound = 1", 12), ("", 12)])
def test_window_is_copied_when_it_moves(moves, count):
    # Like an odometer's wheel: a window that moves with the outer loop stays while the inner one turns.
    read = schedule.read(pipeline(13, window((8, 3), (24, 3), (3, 4)), moves))
    assert read.copies[0].count == count


def test_edge_windows_copy_less():
    # 26 rows in windows of 9: 9, 9 and 8.
    copies = schedule.read(pipeline(4, window((9, 2), (26, 2), (3, 1), (1, 0)))).copies
    assert copies[0].bytes == pytest.approx(26 / 3 * 2 * 4096)


@pytest.mark.parametrize(
    ("bounds", "base", "pieces"),
    [
        ((4, 6, 4, 2), (12, 12, 4, 2), 4),  # two inner dimensions whole: each of 4 rows lies together
        ((4, 12, 4, 1), (12, 12, 4, 2), 4 * 12 * 4),  # the minor one cut: every tile by itself
        ((12, 12, 4, 2), (12, 12, 4, 2), 1),
    ],
)
def test_pieces_that_lie_together(bounds, base, pieces):
    iterations = [-(-whole // bound) for bound, whole in zip(bounds, base, strict=True)]
    steps = 1
    for trips in iterations:
        steps *= trips
    assert schedule.read(pipeline(steps + 1, window(bounds, base, iterations), "")).copies[0].pieces == pieces


def test_commands_issued_in_loops_are_counted_and_not_their_cycles():
    copied = window((3, 6, 2, 1), (27, 30, 4, 2), (9, 5, 2, 2))
    looped = bundles(
        OPERANDS,
        "LB|%s9_s9 = sphi %s8_s8, %s7_s7 /* iteration index, stage = 0 */ } /* Start region 90 ",
        "LB|%s5_s5 = sphi %s6_s6, %s4_s4 /* phi copy */ } /* Start region 131 ",
        "|%s11_s4 = scalar_lea.hbm %s1_s0, %s9_s9",
        "|%12 = sst [smem:[#allocation5 + $0x3]] %s11_s4",
        "|%219 = sbr.rel (!%p216_p2) target = $region131",
        f"|%14 = dma [#allocation5] /* {copied} ",
        "|%18 = dma.done.wait %s3, 64 /* pipeline-emitter-dma-wait */",
        "|%s12_s5 = scalar_lea.hbm %s2_s1, %s9_s9",
        f"|%15 = dma.vmem_to_hbm [thread:$0]  /*vmem=*/%s6_s0, /*size_in_granules=*/2, /*hbm=*/%s12_s5 /* {copied} ",
        "|%p7_p7 = scmp.ge.s32.totalorder %s7_s7, 180 /* loop exit test */",
        "|%24 = sbr.rel (!%p7_p7) target = $region90",
        "|%25 = vnop",
    )
    read = schedule.read(looped)
    inward, outward = read.copies
    assert inward.commands == 3 * 6 and inward.pieces == 3 * 6 * 2 and inward.count == 180
    assert outward.commands == 0 and not outward.inward
    assert read.cycles == 1 + 180 * 7
    assert read.uncounted == 0


def test_inner_loops_multiply_and_unknown_ones_are_named():
    nested = bundles(
        "|%1 = vnop",
        "LB|%2 = vdelay 2 } /* Start region 1 ",
        "LB|%3 = vnop } /* Start region 2 ",
        "|%p2_p2 = scmp.ge.s32.totalorder %s2_s2, 7 /* loop exit test */  ;;  %4 = sbr.rel (!%p2_p2) target = $region2",
        "|%5 = vnop",
        "|%6 = sbr.rel (!%p1_p1) target = $region1",
        "|%7 = vnop",
    )
    read = schedule.read(nested)
    assert read.cycles == 1 + 3 + 7 * 3 + 2
    assert read.uncounted == 1


def test_loop_that_counts_in_larger_steps_runs_less_often():
    filling = bundles(
        OPERANDS,
        "LB|%s3_s3 = sphi %s2_s2, %s4_s4 } /* Start region 1 ",
        "|%s4_s4 = sadd.s32 128, %s3_s3 /* copy for cssa */",
        "|%s5_s5 = scalar_lea.hbm %s2_s1, %s3_s3",
        "|%7 = dma.vmem_to_hbm [thread:$0]  /*vmem=*/%s6_s0, /*size_in_granules=*/128, /*hbm=*/%s5_s5, /*x=*/[#a]",
        "|%p2_p2 = scmp.ge.s32.totalorder %s4_s4, 1000 /* loop exit test */",
        "|%8 = sbr.rel (!%p2_p2) target = $region1",
        "|%9 = vnop",
    )
    read = schedule.read(filling)
    assert read.cycles == 1 + 8 * 7
    assert [(copy.count, copy.bytes) for copy in read.copies] == [(8, 128 * 1024)]


def test_copies_where_data_says_are_counted_by_their_loop():
    row = window((1, 6, 1), (1024, 6, 4), (4,), (2**31 - 1, 0, 0))
    gather = bundles(
        OPERANDS,
        "LB|%s9_s9 = sphi %s8_s8, %s7_s7 /* iteration index, stage = 0 */ } /* Start region 90 ",
        "|%s30_s3 = smov (!%p55_p3), %s29_s2, 4  ;;  %s31_s4 = sadd.s32 2, %s30_s3",
        "LB|%s10_s1 = sphi %s8_s8, %s11_s2 } /* Start region 91 ",
        "|%s12_s3 = sld [smem:[%s20_s1 + %s10_s1]]  ;;  %s11_s2 = sadd.s32 1, %s10_s1",
        "|%s13_s4 = scalar_lea.hbm %s1_s0, %s12_s3",
        "|%14 = sst [smem:[#allocation5 + $0x3]] %s13_s4",
        f"|%15 = dma [#allocation5] /* {row} ",
        "|%p6_p6 = scmp.ge.s32.totalorder %s11_s2, %s31_s4",
        "|%16 = sbr.rel (!%p6_p6) target = $region91",
        "|%17 = vnop",
        "|%18 = dma.done.wait %s3, 64 /* pipeline-emitter-dma-wait */",
        "|%p7_p7 = scmp.ge.s32.totalorder %s7_s7, 5 /* loop exit test */",
        "|%24 = sbr.rel (!%p7_p7) target = $region90",
        "|%25 = vnop",
    )
    read = schedule.read(gather)
    (copy,) = read.copies
    assert copy.inward and copy.count == 5 * 6 and copy.bytes == 6 * 4096
    assert read.cycles == 1 + 5 * (2 + 6 * 8 + 4)
    assert read.uncounted == 0


def test_two_pipelines_in_one_kernel_both_count():
    one = pipeline(5, window((8, 3), (32, 3), (4, 1)))
    body = one.split("control target key end\n\n")[1]
    other = body.replace("region 90", "region 95").replace("region90", "region95").replace("%p7_p7", "%p70_p7")
    for old, new in (("16", "56"), ("24", "54"), ("20", "50")):
        other = other.replace(f"region {old}", f"region {new}").replace(f"region{old}", f"region{new}")
    both = schedule.read(body + other)
    assert both.cycles > 1.9 * schedule.read(body).cycles


def test_spilled_address_is_followed_to_what_was_stored_last_before():
    spilled = bundles(
        OPERANDS,
        "|%1 = sst [smem:[#allocation80_spill]] %s1_s0",
        "|%s3_s3 = sld [smem:[#allocation80_spill]]",
        "|%2 = sst [smem:[#allocation80_spill]] %s2_s1",
        "|%s4_s4 = sld [smem:[#allocation80_spill]]",
    )
    read = Bundles(spilled)
    assert read.origin("%s3_s3").inward
    assert not read.origin("%s4_s4").inward
    assert read.origin("%s5_s5") is None


def test_record_keeps_the_schedule():
    read = schedule.read(pipeline(5, window((8, 3), (32, 3), (4, 1))))
    assert schedule.Schedule.of_record(read.record()) == read
