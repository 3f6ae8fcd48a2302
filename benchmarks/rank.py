"""Times `python -m stages.rank` from start to answer, after make repro: `python -m benchmarks.rank [FOLDER]`.

Every npz file and protobuf of FOLDER, a folder of real TpuGraphs files ($TPUGRAPHS_DIR by default), and two made-up
programs: 3,000 nodes with 1,000 configurations, and the data set's largest, 21,919 nodes with 100,040. Each is ranked
in a process of its own, imports included; `peak_bytes` is that process's memory.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

from benchmarks import measure, prune, synthesize

#: configurations, configurable nodes, nodes, and the share of nodes that change from one to the next
CASES = {
    "made-up-1000": (1_000, 120, 3_000, synthesize.CHANGED),
    "made-up-100040": (100_040, 848, 21_919, 0.02),
}
#: the command, and then the process's peak memory
RUN = """
import sys
from benchmarks import measure
from stages import rank
status = rank.main(sys.argv[1:])
print(measure.status("VmHWM"), file=sys.stderr)
sys.exit(status)
"""
PATTERNS = ("npz_all/**/*.npz", "pb/*.pb")


def real(folder: str | None) -> list[Path]:
    """The real files that there are, the smallest first."""
    root = folder or os.environ.get("TPUGRAPHS_DIR")
    found = [path for pattern in PATTERNS for path in Path(root).glob(pattern)] if root else []
    return sorted(found, key=lambda path: path.stat().st_size)


def timed(path: Path, models: str) -> dict:
    """Ranks a file in a new process.

    Returns:
        file; configurations, 0 where the file is refused; seconds; peak_bytes of the process; the last line it said.
    """
    with tempfile.TemporaryDirectory() as work:
        arguments = [str(path), "--models", models, "--out", f"{work}/ranks.csv"]
        begin = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", RUN, *arguments], capture_output=True, text=True)
        seconds = time.perf_counter() - begin
        ranked = sum(1 for _ in open(f"{work}/ranks.csv")) - 1 if done.returncode == 0 else 0
    *said, peak = (done.stdout + done.stderr).splitlines()
    return {
        "file": path.name,
        "configurations": ranked,
        "seconds": round(seconds, 2),
        "peak_bytes": int(peak),
        "said": said[-1][:120],
    }


def main(arguments: list[str] | None = None) -> int:
    """Prints the table and keeps it with the other results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", help="of real files; TPUGRAPHS_DIR by default")
    parser.add_argument("--models", default="data", help="the pipeline's data folder, or a bundle; default: data")
    parser.add_argument("--quick", action="store_true", help="leave out the largest, and write no results")
    parser.add_argument("--out", type=Path, default=measure.RESULTS)
    options = parser.parse_args(arguments)
    rows = []
    with tempfile.TemporaryDirectory() as work:
        # Its path tells whose models rank it.
        made = Path(work, "layout", "nlp", "random", "test")
        made.mkdir(parents=True)
        for name, case in list(CASES.items())[: 1 if options.quick else None]:
            prune.make(made / f"{name}.npz", *case)
        for path in [*real(options.folder), *sorted(made.iterdir(), key=lambda path: path.stat().st_size)]:
            rows.append(timed(path, options.models) | {"load": os.getloadavg()[0]})
            print(rows[-1], flush=True)
    with pl.Config(tbl_rows=-1, fmt_str_lengths=60):
        print(pl.DataFrame(rows))
    if not options.quick:
        measure.write("rank", {"rows": rows}, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
