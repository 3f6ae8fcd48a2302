"""Settings that libraries of arithmetic need before they are loaded; `stages/__init__.py` imports this module first."""

import contextlib
import os
import pathlib
import platform
import sys

#: Environment variables that make the libraries of arithmetic use code which gives the same result on every x86-64
#: processor with AVX2. By default they choose code by the processor, and the last digits of a sum differ. torch uses
#: ATen, MKL (matrix products) and oneDNN (GELU); NumPy uses OpenBLAS. torch's square root in float32 still differs
#: between vendors, but the training of the networks does not call it: fused AdamW has a square root of its own.
PROCESSOR = {}
if platform.machine().lower() in ("x86_64", "amd64"):
    PROCESSOR = {
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_CBWR": "COMPATIBLE",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
    }
    with contextlib.suppress(OSError):  # only Linux has the file; without AVX2 such code cannot run
        if "avx2" not in pathlib.Path("/proc/cpuinfo").read_text().split():
            PROCESSOR = {}
os.environ.update(PROCESSOR)

# jsonschema, which nbformat and Ray use, builds a grammar of internationalised addresses when it is imported. That
# takes a second, and eight seconds with graphs in memory, which Python's garbage collector then visits many times. This
# project has no such addresses. None makes the optional import fail, which jsonschema allows.
sys.modules.setdefault("rfc3987_syntax", None)
