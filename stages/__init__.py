"""The stages of the pipeline, a module or subpackage each, and what they share."""

import os
import platform
import sys

#: For the libraries of linear algebra, which read it when they are loaded: the code that every x86-64 processor with
#: AVX2 runs alike. Left to themselves they take other code on another processor, and sums end with other last digits.
#: MKL is torch's, OpenBLAS NumPy's.
PROCESSOR = {}
if platform.machine().lower() in ("x86_64", "amd64"):
    PROCESSOR = {"MKL_CBWR": "COMPATIBLE", "OPENBLAS_CORETYPE": "Haswell"}
os.environ.update(PROCESSOR)

# jsonschema, which nbformat and Ray use, would build a grammar of internationalised addresses on import: a second, and
# eight where graphs lie in memory, which Python's collector then visits again and again. There is no such address here;
# None makes that optional import fail, which jsonschema provides for.
sys.modules.setdefault("rfc3987_syntax", None)
