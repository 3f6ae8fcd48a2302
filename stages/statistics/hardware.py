"""Sizes of the machines that layouts and tiles are measured against.

They are constants and no knobs: the machines that TpuGraphs and the embedded data sets were compiled for have them.
"""

#: elements of a TPU's vector register along the minor dimension of the tile that a tensor is padded to
LANES = 128
#: elements along its second minor dimension
SUBLANES = 8
#: bytes of a CPU's cache line, of which a short row wastes a part
CACHE_LINE = 64
#: bytes of a CPU's vector register: AVX2
VECTOR = 32
#: cycles a nanosecond of a TPU v3's core, and bytes a nanosecond between it and the chip's memory: half of the chip's
#: 900 GB/s, for it has two cores (Jouppi et al., "A Domain-Specific Supercomputer for Training Deep Neural Networks")
CLOCK, BANDWIDTH = 0.94, 450.0
#: nanoseconds of a step of a kernel's pipeline, and of a piece lying apart in memory, as found in TpuGraphs' real runs
#: (stages/collect/tpu/time_model.py)
STEP_NS, PIECE_NS = 50.0, 1.8
#: cycles of the two matrix units for a register of 8 rows, and to load a block of 128 x 128 weights
PUSH_CYCLES, LOAD_CYCLES = 4.0, 64.0
#: and to turn a register's worth of a tensor, so that another dimension comes along the lanes
TURN_CYCLES = 32.0
