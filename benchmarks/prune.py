"""Measures the time and the memory in which large layout files are pruned: `python -m benchmarks.prune [--folder DIR]`.

Each file is written as np.savez_compressed writes it. It is then pruned in a new process, as the only train graph of a
collection with small valid and test graphs. The median seconds do not include imports, and the peak memory does. Two
threads work, one of which inflates. If `load`, the system's average over the last minute, shows that other processes
used the cores too, processor seconds are the better measure. For comparison there are the least seconds to inflate the
same array piece by piece with isal and with zlib. The first place's code takes 67.8 s and 16.2 GB for a file of the
first size.

--folder keeps the files, which take minutes to write, for another run. --quick takes tiny sizes and writes no results.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import polars as pl
from isal.igzip_lib import DECOMP_DEFLATE, IgzipDecompressor

from benchmarks import measure, synthesize, synthetic
from stages.graphs.collection import SPLITS, folder
from stages.graphs.tensor_files import Pieces

COLLECTION = "layout:nlp:random"
#: configurations, configurable nodes, nodes, and the share of nodes that change from one configuration to the next
CASES = {
    "67,000 x 358, sparse": (67_000, 358, 7_160, 0.02),
    "67,000 x 358, as unet3d": (67_000, 358, 7_160, synthesize.CHANGED),
    "100,040 x 848, sparse": (100_040, 848, 21_919, 0.02),
    "100,040 x 848, as unet3d": (100_040, 848, 21_919, synthesize.CHANGED),
}
QUICK = {"300 x 20": (300, 20, 400, 0.02)}
#: measured for the first place's code on a file of the first two sizes, on a similar machine
FIRST_PLACE = {"seconds": 67.8, "peak_bytes": 16_200_000_000}
#: runs in a process without torch and other imports of the benchmarks
RUN = """
import json, sys, time
from pathlib import Path
from stages import prune
began, used = time.perf_counter(), time.process_time()
frame = prune.run(**json.loads(sys.argv[1]))
seconds, cpu = time.perf_counter() - began, time.process_time() - used
status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
peak = int(status["VmHWM"].split()[0]) * 1024
distinct = int(frame["distinct"].max())
print(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "peak_bytes": peak, "distinct": distinct}))
"""
READ = 1 << 16
PIECE = 1 << 20


def make(path: Path, configurations: int, configurable: int, nodes: int, changed: float) -> None:
    """Writes the file of a case."""
    graph = synthetic.arrays(nodes, synthesize.SOURCES, configurable)
    shape = (configurations, *graph.node_config_feat.shape[1:])
    pieces = Pieces(shape, synthesize.layouts(graph, configurations, changed))
    arrays = {
        "node_feat": graph.node_feat,
        "node_opcode": graph.node_opcode,
        "edge_index": graph.edge_index,
        "node_config_ids": graph.node_config_ids,
        "node_splits": graph.node_splits[None],
        "config_runtime": 1_000_000 + np.arange(configurations),
        "node_config_feat": pieces,
    }
    synthesize.write(path, arrays.items())


def inflate(path: Path, library: str) -> float:
    """Seconds in which zlib or isal inflates node_config_feat."""
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        info = archive.getinfo("node_config_feat.npy")
        file.seek(info.header_offset + 26)  # where the lengths of the member's name and extra field stand
        name, extra = struct.unpack("<HH", file.read(4))
        file.seek(name + extra, os.SEEK_CUR)
        began = time.perf_counter()
        total, left = 0, info.compress_size
        inflater = zlib.decompressobj(-zlib.MAX_WBITS) if library == "zlib" else IgzipDecompressor(flag=DECOMP_DEFLATE)
        while not inflater.eof:
            compressed = inflater.unconsumed_tail if library == "zlib" else b""
            if not compressed and (library == "zlib" or inflater.needs_input):
                compressed = file.read(min(READ, left))
                left -= len(compressed)
            total += len(inflater.decompress(compressed, PIECE))
        seconds = time.perf_counter() - began
    if total != info.file_size:
        raise RuntimeError(f"{library} made {total} of {info.file_size} bytes")
    return seconds


def run(root: str, data: str) -> dict:
    """Prunes the collection in a new process; returns its seconds, peak memory and distinct configurations."""
    knobs = {"collection": COLLECTION, "root": root, "data": data, "workers": 1}
    done = subprocess.run([sys.executable, "-c", RUN, json.dumps(knobs)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def measured(path: Path, repeat: int) -> dict:
    """The figures of one file: medians of `repeat` runs, each in a process of its own."""
    with tempfile.TemporaryDirectory(dir=path.parent) as work:
        root = Path(work, "npz_all")
        for split in SPLITS:
            small = synthesize.Size(COLLECTION, split, "small", 100, 5, 10, 0)
            synthesize.write_file(root, small)
        train = folder(root, COLLECTION, "train")
        shutil.rmtree(train)
        train.mkdir()
        (train / path.name).symlink_to(path.resolve())
        inflated = {name: min(inflate(path, name) for _ in range(repeat)) for name in ("isal", "zlib")}
        runs = []
        for number in range(repeat):
            data = Path(work, f"data{number}")
            runs.append(run(str(root), str(data)))
            packed = next(data.rglob(f"{path.stem}.safetensors")).stat().st_size
            shutil.rmtree(data)
    seconds, cpu = (statistics.median(result[key] for result in runs) for key in ("seconds", "cpu_seconds"))
    return {
        "file_bytes": path.stat().st_size,
        "packed_bytes": packed,
        "distinct": runs[0]["distinct"],
        "seconds": seconds,
        "cpu_seconds": cpu,
        "peak_bytes": max(result["peak_bytes"] for result in runs),
        "repeats": repeat,
        "isal_seconds": inflated["isal"],
        "zlib_seconds": inflated["zlib"],
        "over_isal": seconds / inflated["isal"],
        "over_zlib": seconds / inflated["zlib"],
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the files are kept")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=measure.RESULTS)
    options = parser.parse_args(arguments)
    rows = []
    with tempfile.TemporaryDirectory() as work:
        kept = options.folder or Path(work)
        for name, (configurations, configurable, nodes, changed) in (QUICK if options.quick else CASES).items():
            path = kept / f"{configurations}x{configurable}-{changed}.npz"
            if not path.exists():
                make(path, configurations, configurable, nodes, changed)
            raw = configurations * configurable * 72
            row = measured(path, options.repeat) | {"load": os.getloadavg()[0]}
            rows.append({"case": name, "raw_bytes": raw, "changed": changed} | row)
            print(pl.DataFrame(rows[-1:]).transpose(include_header=True))
    if not options.quick:
        measure.write("prune", {"rows": rows, "first_place": FIRST_PLACE}, options.out)


if __name__ == "__main__":
    sys.exit(main())
