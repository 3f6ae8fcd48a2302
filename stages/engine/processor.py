"""What every process sets before it loads a library of arithmetic; `stages/__init__.py` imports it first of all."""

import contextlib
import os
import pathlib
import platform
import sys

#: For the libraries of arithmetic, which read it when they are loaded: the code that every x86-64 processor with AVX2
#: runs alike. Left to themselves they take other code on another processor, and sums end with other last digits. ATen,
#: MKL (matrix products) and oneDNN (GELU) are torch's, OpenBLAS is NumPy's. torch's square root in float32 stays
#: different on another vendor's processor; fused AdamW, which the networks are trained with, has one of its own.
PROCESSOR = {}
if platform.machine().lower() in ("x86_64", "amd64"):
    PROCESSOR = {
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_CBWR": "COMPATIBLE",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
    }
    with contextlib.suppress(OSError):  # only Linux tells; where there is no AVX2 such code cannot run
        if "avx2" not in pathlib.Path("/proc/cpuinfo").read_text().split():
            PROCESSOR = {}
os.environ.update(PROCESSOR)

# jsonschema, which nbformat and Ray use, would build a grammar of internationalised addresses on import: a second, and
# eight where graphs lie in memory, which Python's collector then visits again and again. There is no such address here;
# None makes that optional import fail, which jsonschema provides for.
sys.modules.setdefault("rfc3987_syntax", None)
