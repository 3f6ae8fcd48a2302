"""`python -m stages.collect.tpu.real_runs FOLDER`: how well simulated times tell real ones.

Compiles the kernels of TpuGraphs' ``op_tuning_data.pb``, each with every window that was run on a real TPU v3, and
holds the time model against what was measured. Each kernel is judged with constants fitted to the other kernels.
--out writes the estimates, without the measured times, for the page `collect`.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import polars
from google.protobuf.message import DecodeError

from stages.collect.tpu import cutting, libtpu, time_model
from stages.collect.tpu.schedule import Schedule
from stages.collect.tpu.simulate import Simulator
from stages.collect.tpu.windows import Window, forced
from stages.engine import files
from stages.engine.errors import InputError
from stages.hlo import hlo_pb2
from stages.runner import failures

FILE = "op_tuning_data.pb"
#: kernels with fewer runs say nothing about ranking
RUNS_TO_RANK = 5


@dataclass(frozen=True)
class Run:
    """A measured run: its kernel's number and name, the kernel's text with its window, and the time in nanoseconds."""

    kernel: int
    name: str
    text: str
    measured_ns: int


@dataclass(frozen=True)
class Timed:
    """A run as it stands in the file: its kernel's number and name, and the measured time in nanoseconds."""

    kernel: int
    name: str
    measured_ns: int


def tuning_data(folder: Path) -> hlo_pb2.TuningData:
    """``op_tuning_data.pb`` in a folder or in its folder ``pb``.

    Raises:
        InputError: The file is missing or broken.
    """
    path = next((path for path in (folder / FILE, folder / "pb" / FILE) if path.is_file()), None)
    if path is None:
        raise InputError(f"{folder}: no {FILE} there; give the folder of TpuGraphs' tuning files")
    try:
        return hlo_pb2.TuningData.FromString(path.read_bytes())
    except DecodeError:
        raise InputError(f"{path}: not a file of tuning data; fetch it again") from None


def good_runs(module: hlo_pb2.ModuleTuningData) -> list[hlo_pb2.ConfigProfile]:
    """The runs of a kernel that ended well and have a time."""
    return [run for run in module.runs if not run.error and run.profile.compute_time_ns > 0]


def timed_of(folder: Path) -> list[Timed]:
    """The timed runs of ``op_tuning_data.pb``, in the file's order; needs none of the collector's libraries."""
    modules = enumerate(tuning_data(folder).modules)
    return [
        Timed(number, module.module.name, run.profile.compute_time_ns)
        for number, module in modules
        for run in good_runs(module)
    ]


def runs_of(folder: Path) -> list[Run]:
    """The same runs, with what is compiled for each."""
    from jaxlib import _hlo

    runs = []
    for number, module in enumerate(tuning_data(folder).modules):
        text = _hlo.XlaComputation(module.module.SerializeToString()).get_hlo_module().to_string()
        (kernel,) = cutting.kernels(text)
        for run in good_runs(module):
            tile = run.op_config.tile_size_config
            window = Window(tuple(tile.kernel_bounds), tuple(tile.output_bounds), tuple(tile.input_bounds))
            with_window = forced(kernel.text, window) if window.output else kernel.text
            runs.append(Run(number, module.module.name, with_window, run.profile.compute_time_ns))
    return runs


def fitted(terms: time_model.Terms, measured: np.ndarray, weights: np.ndarray) -> time_model.Constants:
    """Constants with the least weighted mean of absolute logarithmic errors.

    Args:
        terms: Of n pieces of code, one a run.
        measured: (n,) nanoseconds.
        weights: (n,) of the runs; runs of weight 0 are left out.
    """
    from scipy.optimize import minimize

    def error(values: np.ndarray) -> float:
        if (values <= 0).any():
            return 1e9
        estimates = time_model.times_ns(terms, time_model.Constants(*values))
        return float(np.abs(np.log(estimates / measured)) @ weights / weights.sum())

    start = np.array(astuple(time_model.CONSTANTS))
    best = minimize(error, start, method="Nelder-Mead", options={"maxiter": 2000, "xatol": 0.01, "fatol": 1e-6})
    return time_model.Constants(*map(float, best.x))


def weights_of(kernels: np.ndarray) -> np.ndarray:
    """(n,) weights of runs: half of the whole spread over runs, half over kernels, whose runs are 2 to 579."""
    counts = np.bincount(kernels)[kernels]
    return 0.5 / len(kernels) + 0.5 / (counts * len(np.unique(kernels)))


def left_out(terms: time_model.Terms, measured: np.ndarray, kernels: np.ndarray) -> np.ndarray:
    """(n,) estimates in nanoseconds, each kernel's with constants fitted to the others."""
    weights, estimates = weights_of(kernels), np.zeros(len(measured))
    for kernel in np.unique(kernels):
        constants = fitted(terms, measured, weights * (kernels != kernel))
        estimates[kernels == kernel] = time_model.times_ns(terms, constants)[kernels == kernel]
    return estimates


@dataclass(frozen=True)
class Row:
    """How well estimates tell a kernel's measured times.

    Attributes:
        runs: Measured runs.
        tau: Kendall's tau-b between estimates and times; None for a kernel with few runs.
        first: Time of the run that is first by the estimate, over the best time, less 1.
        five: The best of the first five, likewise.
        error: Median of |estimate / time - 1|.
        ratio: Median of estimate / time.
    """

    name: str
    runs: int
    tau: float | None
    first: float
    five: float
    error: float
    ratio: float


def row(name: str, estimates: np.ndarray, measured: np.ndarray) -> Row:
    """Judges estimates of one kernel's runs."""
    from scipy.stats import kendalltau

    order = np.argsort(estimates, kind="stable")
    best = measured.min()
    ratios = estimates / measured
    tau = float(kendalltau(estimates, measured).statistic) if len(measured) >= RUNS_TO_RANK else None
    return Row(
        name,
        len(measured),
        tau,
        float(measured[order[0]] / best - 1),
        float(measured[order[:5]].min() / best - 1),
        float(np.median(np.abs(ratios - 1))),
        float(np.median(ratios)),
    )


def table(rows: list[Row], estimates: np.ndarray, measured: np.ndarray) -> str:
    """The rows and, below, the means over kernels with enough runs and the errors over all runs."""
    lines = [f"{'kernel':14s} {'runs':>5s} {'tau':>6s} {'first':>7s} {'five':>7s} {'error':>7s} {'ratio':>6s}"]
    for each in rows:
        tau = "" if each.tau is None else f"{each.tau:.3f}"
        lines.append(
            f"{each.name:14s} {each.runs:5d} {tau:>6s} {each.first:7.2%} {each.five:7.2%} {each.error:7.1%}"
            f" {each.ratio:6.2f}"
        )
    ranked = [each for each in rows if each.tau is not None]
    mean = {name: np.mean([getattr(each, name) for each in ranked]) for name in ("tau", "first", "five", "error")}
    lines.append(
        f"mean of {len(ranked)} kernels with at least {RUNS_TO_RANK} runs: tau {mean['tau']:.3f}, first choice"
        f" +{mean['first']:.2%}, best of five +{mean['five']:.2%}, median error {mean['error']:.1%}"
    )
    errors = np.abs(estimates / measured - 1)
    lines.append(f"over all {len(measured)} runs: median error {np.median(errors):.1%}, mean error {errors.mean():.1%}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m stages.collect.tpu.real_runs", description=__doc__)
    parser.add_argument("folder", type=Path, help=f"holds {FILE} or pb/{FILE}")
    parser.add_argument(
        "--cache", type=Path, default=Path("data/kernels.sqlite"), help="compiled kernels are kept here"
    )
    parser.add_argument("--fit", action="store_true", help="print constants fitted to all runs")
    parser.add_argument("--out", type=Path, help="CSV of the estimates, such as reports/time-model.csv")
    options = parser.parse_args()
    return failures.exit_status(lambda: report(options.folder, options.cache, options.fit, options.out))


def report(folder: Path, cache: Path, fit: bool, out: Path | None = None) -> int:
    """Compiles what is new, prints the table and writes the estimates (kernel, run, estimate_ns)."""
    from tqdm import tqdm

    libtpu.require()
    libtpu.set_environment()
    runs = runs_of(folder)
    with Simulator(cache) as simulator, tqdm(unit="kernel", disable=None) as bar:
        records = simulator.records([run.text for run in runs], lambda: bar.update() and None)
    timed = [(run, record) for run, record in zip(runs, records, strict=True) if "fault" not in record]
    for run, record in zip(runs, records, strict=True):
        if "fault" in record:
            print(f"{run.name}: left out a run: {record['fault']}", file=sys.stderr)
    kernels = np.array([run.kernel for run, _ in timed])
    measured = np.array([run.measured_ns for run, _ in timed], float)
    terms = time_model.Terms.of([Schedule.of_record(record["schedules"][0]) for _, record in timed])
    if fit:
        print(fitted(terms, measured, weights_of(kernels)))
    estimates = left_out(terms, measured, kernels)
    names = {run.kernel: run.name for run, _ in timed}
    rows = [row(names[kernel], estimates[kernels == kernel], measured[kernels == kernel]) for kernel in names]
    print(table(rows, estimates, measured))
    if out is not None:
        good = np.array(["fault" not in record for record in records])
        columns = {"kernel": kernels, "run": np.flatnonzero(good), "estimate_ns": np.rint(estimates).astype(np.int64)}
        files.replace(out, polars.DataFrame(columns).write_csv().encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
