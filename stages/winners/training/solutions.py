"""Which networks make a solution, and how they are shrunk for the sample.

A winner's members that are no networks are not here: the eleventh place has no other, so it is no solution here. GST's
paper is about layouts, and so is what is known of the fourth place, whose idea is "node-pairs", of the ninth,
"shortest-paths", and of the fourteenth. Tiles of these are the data set's own network's, so that their submissions are
whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace

from stages.engine.errors import InputError
from stages.graphs.collection import is_tile, slug
from stages.winners import (
    fifth_place,
    first_place_layout,
    first_place_tile,
    fourteenth_place,
    gst_paper,
    middle_fusion,
    node_pairs,
    official_layout,
    official_tile,
    parts,
    second_place,
    shortest_paths,
    sixth_place,
    third_place,
)
from stages.winners.training import NAMES, SIZES


@dataclass(frozen=True)
class Stream:
    """Graphs that a network is trained on by one loss.

    Attributes:
        recipe: Whose features, labels and loss they have.
        collections: Official names.
        graphs: Of a step; None for what the settings say.
        configurations: Of each graph of a step; ignored where `graphs` is None.
    """

    recipe: parts.Recipe
    collections: tuple[str, ...]
    graphs: int | None = None
    configurations: int | None = None


@dataclass(frozen=True)
class Model:
    """A network of a solution, which is trained `networks` times with other seeds.

    Attributes:
        name: In files and tables.
        streams: What it is trained on; the first one's recipe builds it.
        scores: Official names of the collections that it scores.
        settings: Its sizes and training.
        watched: The metric on valid that chooses weights: "tau", Kendall's, or "top 50", the mean run time of the 50
            first.
        scale: Share of the steps, of the networks and of valid's configurations, for a rehearsal.
        shrunk: What the settings are smaller in than the original's: field -> the original's value.
    """

    name: str
    streams: tuple[Stream, ...]
    scores: tuple[str, ...]
    settings: parts.Training
    watched: str = "tau"
    scale: float = 1.0
    shrunk: dict[str, object] = field(default_factory=dict)

    @property
    def recipe(self) -> parts.Recipe:
        return self.streams[0].recipe

    def of_step(self, stream: Stream) -> tuple[int, int | None]:
        """Graphs of a step of one of the streams, and configurations of each; None for all."""
        if stream.graphs is None:
            return self.settings.graphs, self.settings.configurations
        return stream.graphs, stream.configurations

    @property
    def networks(self) -> int:
        """How many are trained, one at least."""
        return max(1, round(self.scale * self.settings.networks))


def models(name: str, size: str, collections: Sequence[str], scale: float = 1.0) -> list[Model]:
    """The networks of a solution, each after those that it starts from.

    Args:
        name: One of `NAMES`.
        size: One of `SIZES`.
        collections: Official names of those that the data have.
        scale: As in `Model`.

    Raises:
        InputError: The size is none of these, or the scale is not above 0 and at most 1.
    """
    if size not in SIZES:
        raise InputError(f"size: {size!r} is none of {', '.join(SIZES)}; give one of them")
    if not 0 < scale <= 1:
        raise InputError(f"scale: {scale:g} is no share above 0 and up to 1; give one, or leave it out")
    found = [replace(model, scale=scale) for model in _SOLUTIONS[name](list(collections))]
    found = [_small(model) for model in found] if size == "sample" else found
    return sorted(found, key=lambda model: getattr(model.settings, "starts_from", None) is not None)


def rate_name(model: Model) -> str:
    """What the rates of a network are named in reports/gpu.json: the recipe, and what makes it slower or faster."""
    if getattr(model.settings, "attention", True) is False:
        return f"{model.recipe.name}, without attention"
    return f"{model.recipe.name}, GIN" if getattr(model.settings, "messages", None) == "gin" else model.recipe.name


#: how SIZE=sample shrinks a recipe's networks, so that all collections of the sample take minutes on two cores: its
#: graphs are fewer, and have a hundredth or less of the configurations
_WIDTHS = (32, 32, 64, 64, 64)
_SMALL: dict[str, dict[str, object]] = {
    "first-place layout": {"width": 64, "steps": 800, "evaluate": 80},
    "first-place tile": {"width": 64, "steps": 2000, "evaluate": 200},
    "second-place nlp": {"widths": _WIDTHS, "steps": 300},
    "second-place xla": {"widths": _WIDTHS, "graphs": 4, "configurations": 10, "steps": 300},
    "second-place tile": {"widths": _WIDTHS, "graphs": 20, "steps": 300},
    "third-place layout": {
        "first_width": 32,
        "widths": (24, 16, 16, 16),
        "walk_width": 16,
        "message_width": 16,
        "attention_width": 16,
        "graphs": 1,
        "steps": 200,
        "evaluate": 50,
    },
    "third-place tile": {"first_width": 64, "widths": (32, 32, 32, 32), "configurations": 8, "steps": 400},
    "node pairs": {"configurations": 32, "steps": 1000, "evaluate": 100},
    "fifth-place layout": {"width": 128, "tile_graphs": 16, "tile_configurations": 16, "steps": 400},
    "fifth-place tile": {"width": 64, "token_width": 32, "graphs": 16, "configurations": 16, "steps": 300},
    "sixth-place layout": {"width": 64, "graphs": 2, "configurations": 32, "steps": 250, "evaluate": 25},
    "sixth-place tile": {"width": 64, "graphs": 8, "configurations": 32, "steps": 300},
    "shortest paths": {"width": 64, "first_width": 64, "configurations": 32, "steps": 600},
    "middle fusion layout": {"width": 64, "layers": 4, "configurations": 100, "chunk": 100, "steps": 300},
    "middle fusion tile": {"width": 64, "near": 4, "across": 2, "graphs": 8, "configurations": 32, "steps": 300},
    "fourteenth-place list": {"width": 32, "dense_width": 32, "heads": 4},
    "fourteenth-place pairs": {"width": 32, "dense_width": 32},
    "gst-paper": {
        "width": 64,
        "first_width": 64,
        "graphs": 8,
        "configurations": 16,
        "segment_nodes": 100,
        "steps": 600,
    },
    "official layout": {"epochs": 20},
    "official tile": {"epochs": 30},
}
#: why, by the field
WHY = {
    "width": "time grows with its square",
    "first_width": "time grows with its square",
    "layers": "time grows with them",
    "near": "time grows with them",
    "across": "time grows with them",
    "chunk": "as many as in training",
    "dense_width": "as wide as the layers before",
    "heads": "as wide as before, of fewer channels",
    "widths": "time grows with their squares",
    "token_width": "time grows with its square",
    "walk_width": "time grows with it",
    "message_width": "time grows with it",
    "attention_width": "time grows with it",
    "networks": "one shows how it runs; more are averaged",
    "steps": "few programs, seen often enough",
    "epochs": "few programs, seen often enough",
    "evaluate": "as often as before, for fewer steps",
    "graphs": "the sample has few",
    "tile_graphs": "the sample has few",
    "tile_configurations": "the sample has few tiles of a kernel",
    "configurations": "the sample has few of a graph",
    "segment_nodes": "the sample's graphs are smaller, and are to have segments",
}


def _small(model: Model) -> Model:
    """The model with the sizes of `_SMALL`, and one network."""
    changes = {"networks": 1, **_SMALL[model.recipe.name]}
    if "steps" in changes:
        changes["epochs"] = None
    settings = replace(model.settings, **changes)
    shrunk = {
        each.name: old
        for each in fields(settings)
        if (old := getattr(model.settings, each.name)) != getattr(settings, each.name) and each.name in WHY
    }
    if "steps" in shrunk and shrunk["steps"] is None:  # the original counts in epochs
        shrunk |= {"steps": f"{shrunk.pop('epochs'):g} epochs"}
    streams = tuple(
        stream
        if stream.graphs is None
        else replace(stream, graphs=settings.tile_graphs, configurations=settings.tile_configurations)
        for stream in model.streams
    )
    return replace(model, settings=settings, streams=streams, shrunk=shrunk)


def _of(recipe: parts.Recipe, collection: str, **options: str) -> Iterator[Model]:
    """The models of a recipe that sees one collection, one for each of its settings."""
    every = recipe.settings(collection)
    for number, settings in enumerate(every):
        name = slug(collection) + (f"-{number + 1}" if len(every) > 1 else "")
        yield Model(name, (Stream(recipe, (collection,)),), (collection,), settings, **options)


def _each(choose: Callable[[str], parts.Recipe], watched_tiles: str = "tau") -> Callable[[list[str]], list[Model]]:
    """A solution whose networks see one collection each."""

    def of(collections: list[str]) -> list[Model]:
        return [
            model
            for collection in collections
            for model in _of(choose(collection), collection, watched=watched_tiles if is_tile(collection) else "tau")
        ]

    return of


def _fifth(collections: list[str]) -> list[Model]:
    """One network for all layouts, whose steps with tiles lie among the others, and one for tiles."""
    layouts = tuple(collection for collection in collections if not is_tile(collection))
    tiles = tuple(filter(is_tile, collections))
    found = []
    if layouts:
        (settings,) = fifth_place.LAYOUT_RECIPE.settings(layouts[0])
        streams = [Stream(fifth_place.LAYOUT_RECIPE, layouts)]
        if tiles:
            sizes = settings.tile_graphs, settings.tile_configurations
            streams.append(Stream(fifth_place.JOINT_TILE_RECIPE, tiles, *sizes))
        found.append(Model("layout", tuple(streams), layouts, settings))
    return found + [model for tile in tiles for model in _of(fifth_place.TILE_RECIPE, tile)]


def _by_kind(tile: parts.Recipe, *layout: parts.Recipe) -> Callable[[list[str]], list[Model]]:
    """A solution whose networks see all layouts of xla or all of nlp; of a recipe those collections it has some for."""

    def of(collections: list[str]) -> list[Model]:
        found = [model for each in filter(is_tile, collections) for model in _of(tile, each)]
        for kind in ("xla", "nlp"):
            seen = tuple(each for each in collections if each.startswith(f"layout:{kind}:"))
            every = [(recipe, settings) for recipe in layout for settings in (recipe.settings(seen[0]) if seen else ())]
            for number, (recipe, settings) in enumerate(every, 1):
                name = f"layout-{kind}" + (f"-{number}" if len(every) > 1 else "")
                found.append(Model(name, (Stream(recipe, seen),), seen, settings))
        return found

    return of


def _second(collection: str) -> parts.Recipe:
    if is_tile(collection):
        return second_place.TILE_RECIPE
    return second_place.NLP_RECIPE if ":nlp:" in collection else second_place.XLA_RECIPE


def _choice(layout: parts.Recipe, tile: parts.Recipe) -> Callable[[str], parts.Recipe]:
    return lambda collection: tile if is_tile(collection) else layout


_EACH = (
    _each(_choice(first_place_layout.RECIPE, first_place_tile.RECIPE), watched_tiles="top 50"),
    _each(_second),
    _each(_choice(third_place.LAYOUT_RECIPE, third_place.TILE_RECIPE)),
    _each(_choice(node_pairs.RECIPE, official_tile.RECIPE)),
    _fifth,
    _each(_choice(sixth_place.LAYOUT_RECIPE, sixth_place.TILE_RECIPE)),
    _each(_choice(shortest_paths.RECIPE, official_tile.RECIPE)),
    _by_kind(middle_fusion.TILE_RECIPE, middle_fusion.LAYOUT_RECIPE),
    _by_kind(official_tile.RECIPE, fourteenth_place.LIST_RECIPE, fourteenth_place.PAIR_RECIPE),
    _each(_choice(gst_paper.RECIPE, official_tile.RECIPE)),
    _each(_choice(official_layout.RECIPE, official_tile.RECIPE)),
)
_SOLUTIONS: dict[str, Callable[[list[str]], list[Model]]] = dict(zip(NAMES, _EACH, strict=True))
