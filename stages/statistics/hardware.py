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
