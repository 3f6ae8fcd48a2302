"""Checks that the stages end with the same bytes on another processor, which QEMU emulates.

    python -m benchmarks.processors [--collection layout:nlp:random] [--processors EPYC-Rome Haswell] [--out FILE]

It runs prune, pad, gnn and gbdt with `SMALL` parameters on the sample, in a temporary folder: on this processor, and
under `qemu-x86_64 -cpu NAME`, which has the vendor and the instructions of that processor (this QEMU has no AVX-512).
Emulation is about 50 times slower. For each processor it prints a line with its name, the seconds, and the stages whose
bytes differ from those of this processor. The rows go to reports/benchmarks.json. It needs `qemu-x86_64`, which is in
Debian's package qemu-user.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import measure
from stages.engine import params

STAGES = ("prune", "pad", "gnn", "gbdt")
#: parameters that make the stages short; the others are those of params.yaml
SMALL: dict[str, dict[str, object]] = {
    "gnn": {"seeds": 1, "epochs": 2, "finetune": 1},
    "gbdt": {"seeds": 1, "trees": 20, "folds": 2},
}
EMULATOR = "qemu-x86_64"
#: QEMU 7.2 fails in NumPy's sort by AVX2. Without AVX2 NumPy takes the code of every x86-64, a further difference
EMULATED = {"NPY_DISABLE_CPU_FEATURES": "X86_V3"}
#: runs in a process of its own, because the libraries choose their code when they are loaded
RUN = """\
import hashlib, importlib, json, os, pathlib, sys
os.cpu_count = lambda: 1  # no further processes: each would load all libraries once more
arguments = json.loads(sys.argv[1])
digests = {}
for stage, given in arguments.items():
    importlib.import_module(f"stages.{stage}").run(**given)
    whole = hashlib.sha256()
    for file in sorted(pathlib.Path(given["data"], stage).rglob("*")):
        if file.is_file():
            whole.update(file.name.encode() + file.read_bytes())
    digests[stage] = whole.hexdigest()
print(json.dumps(digests))
"""


def digests(collection: str, emulated: str | None) -> tuple[dict[str, str], float]:
    """Runs the stages on a processor.

    Args:
        collection: the official name.
        emulated: a name of `qemu-x86_64 -cpu help`; None is this processor.

    Returns:
        {stage: SHA-256 of its outputs}, and the seconds taken.

    Raises:
        RuntimeError: a stage failed; the message has its output.
    """
    with tempfile.TemporaryDirectory(prefix="processors-") as folder:
        arguments = {}
        for stage in STAGES:
            knobs = params.section("params.yaml", stage, collection) | SMALL.get(stage, {})
            arguments[stage] = {"knobs": knobs} if stage in SMALL else knobs
            arguments[stage] |= {"collection": collection, "data": folder}
        arguments["prune"] |= params.data("params.yaml", collection)
        prefix = [EMULATOR, "-cpu", emulated] if emulated else []
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # as a kernel's
        environment |= EMULATED if emulated else {}
        begin = time.monotonic()
        command = [*prefix, sys.executable, "-c", RUN, json.dumps(arguments)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{emulated or 'this processor'}: {done.stderr[-2000:]}")
        return json.loads(done.stdout.splitlines()[-1]), time.monotonic() - begin


def compared(collection: str, names: Sequence[str], out: str | Path) -> list[dict]:
    """A row for this processor and each emulated one: name, seconds, and the stages whose bytes differ."""
    own, seconds = digests(collection, None)
    rows = [{"processor": measure.processor(), "seconds": seconds, "different": []}]
    for name in names:
        other, seconds = digests(collection, name)
        different = [stage for stage in STAGES if own[stage] != other[stage]]
        rows.append({"processor": f"{name}, emulated", "seconds": seconds, "different": different})
        measure.write("processors", {"collection": collection, "rows": rows}, out)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collection", default="layout:nlp:random")
    parser.add_argument("--processors", nargs="+", default=["EPYC-Rome", "Haswell"], metavar="NAME")
    parser.add_argument("--out", default=measure.RESULTS, metavar="FILE", help="file of results")
    options = parser.parse_args()
    if shutil.which(EMULATOR) is None:
        print(f"{EMULATOR}: is not installed; on Debian, apt-get install qemu-user", file=sys.stderr)
        return 1
    rows = compared(options.collection, options.processors, options.out)
    for row in rows:
        print(f"{row['processor']}: {row['seconds']:.0f} s, different: {', '.join(row['different']) or 'nothing'}")
    return 1 if any(row["different"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
