"""Ranks the configurations of files by the trained models: `python -m stages.rank FILE ...`.

A file is an official npz of layouts or of a tile, with or without run times, or raw tuning data (.pb). The pipeline
does not run, and nothing but the models is read: the folder `data` after `make repro`, or a bundle (`make bundle`).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stages.engine import files
from stages.engine.errors import InputError
from stages.graphs import npz
from stages.graphs.archive import Archive
from stages.graphs.collection import COLLECTIONS, from_slug, is_tile, name_fault, slug
from stages.ranking.trained import MODELS, opened

if TYPE_CHECKING:  # what trains and scores takes seconds to import, and a fault of the command line has none
    import numpy as np
    import polars as pl

    from stages.ranking.models import Models
    from stages.ranking.scoring import Ranking

FORMATS = (".csv", ".parquet")


def rank(path: str | Path, models: str | Path = MODELS, collection: str | None = None) -> pl.DataFrame:
    """Ranks the configurations of a file.

    Args:
        path: Official npz file, or raw tuning data (.pb), each of whose programs or kernels is a graph.
        models: The pipeline's data folder, or a bundle.
        collection: Whose models rank it, in either form; by default told from the file's path, then from its form.

    Returns:
        Columns graph, rank (1 is the fastest), configuration (its number in the file) and score (smaller is faster),
        in the order of the ranks.

    Raises:
        InputError: The file or the models are faulty, or no models are for such a file.
    """
    import polars as pl

    with opened(models) as folder:
        trained = _Trained(folder, Path(models))
        return pl.concat([ranked.ranking.table for ranked in _rankings(Path(path), trained, collection)])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Prints the first configurations of each file; a fault is one line on standard error and status 1."""
    parser = argparse.ArgumentParser(prog="python -m stages.rank", description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="npz of layouts or a tile, or tuning data")
    parser.add_argument(
        "--models", default=MODELS, help="the pipeline's data folder, or a bundle made by make bundle; default: data"
    )
    parser.add_argument("--collection", help="whose models rank the files, where neither path nor form tells it")
    parser.add_argument("--out", type=Path, help="CSV or Parquet file of all: graph, rank, configuration, score")
    given = parser.parse_args(arguments)
    try:
        _rank_all(given.files, given.models, given.collection, given.out)
    except InputError as fault:
        print(fault, file=sys.stderr)
        return 1
    return 0


def _rank_all(paths: Sequence[Path], models: str, collection: str | None, out: Path | None) -> None:
    if out is not None and out.suffix not in FORMATS:
        raise InputError(f"{out}: ends in neither {' nor '.join(FORMATS)}; give --out such a name")
    import polars as pl

    from stages.ranking import words

    tables, graphs = [], {}
    with opened(models) as folder:
        trained = _Trained(folder, Path(models))
        for path in paths:
            for ranked in _rankings(path, trained, collection):
                graph = ranked.ranking.graph.id
                if out is not None and graph in graphs:
                    raise InputError(f"{path}: holds a graph {graph}, as {graphs[graph]} does; rank them one by one")
                graphs[graph] = path
                tables.append(ranked.ranking.table)
                print(words.shown(ranked.name, ranked.collection, ranked.ranking, ranked.nodes))
    if out is not None:
        _write(pl.concat(tables), out)


def _write(table: pl.DataFrame, out: Path) -> None:
    content = io.BytesIO()
    table.write_csv(content) if out.suffix == ".csv" else table.write_parquet(content)
    try:
        files.replace(out, content.getvalue())
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror}); give --out another place") from None


class _Trained:
    """Models in a folder; those of a collection are read when the first file asks for them. origin: what was named."""

    def __init__(self, folder: Path, origin: Path) -> None:
        from stages.ranking import models

        self.origin, self._folder, self._read = origin, folder, {}
        self.collections = models.collections(folder)

    def of(self, collection: str) -> Models:
        """The models of a collection."""
        from stages.ranking import models

        if collection not in self._read:
            try:
                self._read[collection] = models.read(self._folder, collection)
            except InputError as error:
                if self._folder == self.origin:
                    raise
                # Of a bundle, name the file and not where it was unpacked to.
                raise InputError(str(error).replace(f"{self._folder}/", f"{self.origin}: ")) from None
        return self._read[collection]


@dataclass(frozen=True, eq=False)
class _Ranked:
    """A graph's ranking, as long as its packed file is there. name: of the file, and of the kernel in it; nodes: (nc,)
    numbers of its configurable nodes, None of a tile."""

    name: str
    collection: str
    ranking: Ranking
    nodes: np.ndarray | None


def _rankings(path: Path, trained: _Trained, collection: str | None) -> Iterator[_Ranked]:
    """The rankings of a file's graphs, one after the other."""
    with tempfile.TemporaryDirectory(prefix="rank-") as work:
        if path.suffix == ".npz":
            yield _ranking(path, str(path), path, trained, collection, Path(work))
            return
        for number, file in enumerate(_converted(path, Path(work, "npz"))):
            several = file.stem != path.stem
            name = f"{path}, {file.stem}" if several else str(path)
            yield _ranking(file, name, path, trained, collection, Path(work, str(number)))


def _converted(path: Path, folder: Path) -> list[Path]:
    """The npz files of raw tuning data."""
    from stages.hlo.__main__ import write
    from stages.hlo.hlo_pb2 import HloModuleProto
    from stages.hlo.reading import read

    try:
        source = read(path)
    except InputError as error:
        raise InputError(error if path.suffix == ".pb" else f"{path}: is no npz file and no .pb; give one") from None
    if isinstance(source, HloModuleProto):
        raise InputError(f"{path}: is a graph without configurations, so there is nothing to rank; leave it out")
    return write(source, path, folder)


def _ranking(file: Path, name: str, path: Path, trained: _Trained, collection: str | None, work: Path) -> _Ranked:
    """Ranks one npz file.

    Args:
        file: The npz file, which may have been made of another.
        name: What messages and the screen call it.
        path: What the user named.
        trained: The models.
        collection: As the user named it.
        work: A folder for what is made of it.
    """
    from stages.ranking import scoring

    try:
        if fault := name_fault(file.stem):
            raise InputError(f"{file}: the name {fault}; rename the file")
        chosen = choose(path, _has_tiles(file), trained.collections, trained.origin, collection)
        ranking = scoring.rank(file, trained.of(chosen), work)
        nodes = None
        if not is_tile(chosen):
            with npz.LayoutFile(file) as layouts:
                nodes = layouts.node_config_ids
    except InputError as error:
        raise InputError(str(error).replace(str(file), name)) from None
    except OSError as error:
        raise InputError(f"{name}: cannot be ranked in {work.parent} ({error.strerror}); make room there") from None
    return _Ranked(name, chosen, ranking, nodes)


def _has_tiles(file: Path) -> bool:
    """Whether an npz file is of a tile and not of layouts."""
    with Archive(file) as archive:
        return any(map(archive.has, npz.TILE_KEYS))


def choose(path: Path, tile: bool, known: Sequence[str], origin: Path, collection: str | None = None) -> str:
    """The collection whose models rank a file.

    Args:
        path: The file. A folder layout/xla/random above it, or one named layout-xla-random, tells its collection.
        tile: Whether it is of a tile and not of layouts.
        known: Collections that have models.
        origin: Where these are from, for the message.
        collection: As the user named it; None to tell it from the path, or else from the form.

    Returns:
        The official name.

    Raises:
        InputError: There are no models for such a file, or it cannot be told whose.
    """
    form = "a tile" if tile else "layouts"
    of_form = [name for name in known if is_tile(name) == tile]
    wanted = from_slug(collection) if collection else _told(path)
    if wanted and is_tile(wanted) != tile:
        if collection:
            raise InputError(f"{path}: is a file of {form}, and {wanted} is not; give another --collection, or none")
        wanted = None  # a folder may be named like anything
    if wanted and wanted in known:
        return wanted
    if not of_form or wanted:
        lacking = f"of {wanted}" if wanted else f"for {form}"
        raise InputError(
            f"{path}: {origin} has no models {lacking}, only of {', '.join(known)}; train them by make repro, or give "
            "--collection"
        )
    if len(of_form) > 1:
        raise InputError(f"{path}: does not tell its collection; give --collection, one of {', '.join(of_form)}")
    return of_form[0]


def _told(path: Path) -> str | None:
    """The collection that a path names; where it names several, the one nearest to the file."""
    folders = path.absolute().parts[:-1]
    for end in range(len(folders), 0, -1):
        for name in COLLECTIONS:
            parts = tuple(name.split(":"))
            if folders[end - 1] == slug(name) or folders[max(0, end - len(parts)) : end] == parts:
                return name
    return None


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
