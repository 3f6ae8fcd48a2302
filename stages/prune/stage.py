"""Prune: npz files to packed graphs, cut down to what lies near the configurable nodes.

What is packed lies in DATA/checkpoints/prune/SLUG until all of it takes its place in DATA/prune/SLUG at once (DVC
empties that folder before a run), so that the next run goes on where one was cut short.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import polars as pl

from stages.engine import checks
from stages.engine.errors import InputError
from stages.graphs import dataset
from stages.graphs.collection import SPLITS, is_tile, npz_files, slug
from stages.prune.jobs import Job, pack_all
from stages.prune.packing import Options, Sizes


@checks.entry("prune", writes=True)
def run(
    *,
    collection: str,
    root: str | Path,
    hops: int | str = 1,
    neighbour_edges: bool = False,
    direction: str = "both",
    duplicates: str = "first",
    skip_bad: bool = False,
    data: str | Path = "data",
    workers: int | None = None,
) -> pl.DataFrame:
    """Packs every npz file of a collection into DATA/prune/SLUG; each is read once.

    Args:
        collection: Official name.
        root: The folder that holds `npz/`.
        hops: As in `Options`, and so are neighbour_edges, direction and duplicates. They are of layout graphs; tile
            graphs are packed whole.
        skip_bad: Whether to go on without faulty files, and list them in the manifest.
        data: The folder of all outputs.
        workers: Processes, by default one a core where there is work for it. Nothing that is written depends on it, nor
            on how often the run was cut short.

    Returns:
        A row per graph: split, id, whole_nodes, nodes, whole_edges, edges, configurable, configurations (in the file)
        and distinct (different ones among them).

    Raises:
        InputError: A folder without files, a faulty parameter, a faulty file (all others are packed by then, and kept
            for the next run), a full disk, or a process that was killed.
    """
    options = Options(hops, neighbour_edges, direction, duplicates)
    options = None if is_tile(collection) else options
    paths = {split: npz_files(root, collection, split) for split in SPLITS}
    folder = dataset.prune_folder(data, collection)
    (folder / "manifest.json").unlink(missing_ok=True)  # so that a run cut short is not taken for a finished one
    work = Path(data, "checkpoints", "prune", slug(collection))
    jobs = [Job(path, split, options, work) for split in SPLITS for path in paths[split]]
    packed, faults = pack_all(jobs, f"prune {collection}", workers)
    emptied = [split for split in SPLITS if not any(job.split == split for job in packed)]
    if faults and (emptied or not skip_bad):
        raise InputError(_fault_line(faults, len(jobs)))
    _publish(work, folder, _manifest(collection, options, packed, faults))
    rows = [{"split": job.split, "id": job.id} | asdict(sizes) for job, sizes in packed.items()]
    return pl.DataFrame(rows).drop("packed_configurations")


def _manifest(collection: str, options: Options | None, packed: Mapping[Job, Sizes], faults: Mapping[Job, str]) -> dict:
    """What manifest.json holds: the options, and the graphs of each split; where files were skipped, also those."""
    graphs = {
        split: [_manifest_entry(job.id, sizes) for job, sizes in packed.items() if job.split == split]
        for split in SPLITS
    }
    manifest = {"collection": collection, **(asdict(options) if options else {}), "graphs": graphs}
    if faults:
        manifest["skipped"] = [
            {"split": job.split, "id": job.id, "fault": fault.removeprefix(str(job.file)).lstrip(": ")}
            for job, fault in faults.items()
        ]
    return manifest


def _manifest_entry(id: str, sizes: Sizes) -> dict[str, str | int]:
    return {
        "id": id,
        "nodes": sizes.nodes,
        "whole_nodes": sizes.whole_nodes,
        "edges": sizes.edges,
        "configurable": sizes.configurable,
        "configurations": sizes.packed_configurations,
    }


def _publish(work: Path, folder: Path, manifest: dict) -> None:
    """Moves what is packed to its place, at once, and removes what was kept for a next run."""
    packed = work / "packed"
    dataset.remove_stale(packed, {split: [graph["id"] for graph in manifest["graphs"][split]] for split in SPLITS})
    dataset.write_json(packed / "manifest.json", manifest)
    if folder.exists():
        shutil.rmtree(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(packed, folder)
    shutil.rmtree(work)


def _fault_line(faults: Mapping[Job, str], total: int) -> str:
    """The first fault, and how many and which others there are."""
    first, *others = faults.values()
    rest = f"the other {total - len(faults)} files are packed and kept; data.skip_bad: true goes on with them"
    if not others:
        return f"{first} ({rest})"
    names = ", ".join(job.file.name for job in [*faults][1:4]) + (", ..." if len(others) > 3 else "")
    return f"{first} ({len(others)} more of {total} files are faulty: {names}; {rest})"
