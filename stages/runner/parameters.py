"""The parameters of a run: names that a notebook does not have and values of another type are refused.

A notebook whose first cell has `knobs` takes all of its stage's section of params.yaml as that one parameter. Names and
types of its knobs are those of the stage's dataclass `Settings`.
"""

from __future__ import annotations

import ast
import functools
import json
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat

from stages import inputs
from stages.engine import checks, params
from stages.engine.errors import InputError
from stages.graphs import collection as collections
from stages.runner.notebook import names

LARGEST_WHOLE = 2**53  # beyond it float64 merges neighbours
SHARED = ("data", "engine")  # sections of params.yaml that are no stage's
KNOBS = "knobs"  # the parameter that holds a whole section
_TYPES = {
    "bool": bool,
    "int": int,
    "float": float,
    "str": str,
    "list": list,
    "Sequence[str]": Sequence[str],
    "None": type(None),
}


@dataclass(frozen=True)
class Default:
    """A parameter in a notebook's first cell of code: its value there and the types it may have, as `int | str`."""

    value: object
    kind: str


def of(
    notebook: nbformat.NotebookNode, stage: str, overrides: Mapping[str, object], project: Path
) -> dict[str, object]:
    """Every parameter of a notebook with its value.

    Values come, the last one winning, from the notebook's defaults, its section of params.yaml and `overrides`. A
    notebook that has `root` takes the section `data` too.

    Args:
        notebook: of the stage.
        stage: its name, also of its section in params.yaml.
        overrides: values of the command line.
        project: the project's folder.

    Returns:
        Parameter -> value, in the notebook's order; `knobs` -> those of the stage, in the order of `Settings`.

    Raises:
        InputError: a name that the notebook does not have, a value of another type than its default, or a knob that
            params.yaml lacks.
    """
    file, source = project / "params.yaml", f"notebooks/{stage}.ipynb"
    defaults = read_defaults(notebook, source)
    knobs = read_knobs(project, stage) if KNOBS in defaults else {}
    kinds = {}
    for name, default in defaults.items():
        kinds |= knobs if name == KNOBS else {name: default.kind}
    stages = names(project)
    if foreign := [name for name in params.sections(file) if name not in (*SHARED, *stages)]:
        raise InputError(f"params.yaml: no stage '{foreign[0]}'; the stages are {', '.join(stages)}")
    listing = ", ".join(f"{name} ({checks.spelt(_wanted(kind))})" for name, kind in kinds.items()) or "none"
    advice = f"{source} takes {listing}"
    params.check_names(overrides, kinds, "command line", advice)
    overrides = {name: _official(name, value) for name, value in overrides.items()}
    collection = overrides.get("collection", defaults["collection"].value if "collection" in defaults else None)
    values = params.section(file, stage, collection, overrides) if stage in params.sections(file) else overrides
    params.check_names(values, kinds, f"params.yaml, {stage}", advice)
    params.check_whole(values, knobs, f"params.yaml, {stage}")
    values = _of_the_data(file, collection, kinds, advice) | values
    everything = params.read(file)
    values = {name: inputs.resolved(everything, name, value) for name, value in values.items()}
    values = {name: default.value for name, default in defaults.items() if name != KNOBS} | values
    typed = {name: _typed(f"{stage}.{name}", values[name], kind, advice) for name, kind in kinds.items()}
    return {name: {knob: typed[knob] for knob in knobs} if name == KNOBS else typed[name] for name in defaults}


def read_defaults(notebook: nbformat.NotebookNode, source: str) -> dict[str, Default]:
    """The parameters of a notebook, from its cell tagged `parameters`.

    Only literals are accepted there, so that a notebook's parameters can be known without running it. The type is the
    annotation's, which may allow several as in `hops: int | str = 1`, or the default's.

    Raises:
        InputError: the cell holds anything else.
    """
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if not cells:
        return {}
    defaults = {}
    try:
        for statement in ast.parse(cells[0].source).body:
            if isinstance(statement, ast.AnnAssign):
                target, kind = statement.target, ast.unparse(statement.annotation)
            else:
                (target,), kind = statement.targets, None
            value = ast.literal_eval(statement.value)
            defaults[target.id] = Default(value, kind or type(value).__name__)
    except (SyntaxError, ValueError, AttributeError):
        raise InputError(f"{source}: the parameters cell holds more than name = literal; move the rest below") from None
    return defaults


def read_knobs(project: Path, stage: str) -> dict[str, str]:
    """The knobs of a stage and their types, as the fields of `Settings` in stages/STAGE/settings.py are annotated.

    The file is parsed and not imported: what it imports takes seconds to load, torch among it.
    """
    module = ast.parse((project / "stages" / stage / "settings.py").read_text(encoding="utf-8"))
    (body,) = (part.body for part in module.body if isinstance(part, ast.ClassDef) and part.name == "Settings")
    return {part.target.id: ast.unparse(part.annotation) for part in body if isinstance(part, ast.AnnAssign)}


def parse(argument: str) -> tuple[str, object]:
    """Splits `key=value` of a command line.

    Returns:
        The key, and the value: a YAML 1.2 scalar, a flat list of such in brackets, else the text.

    Raises:
        InputError: the argument is nothing of the kind.
    """
    key, equals, text = argument.partition("=")
    if not equals or not key.isidentifier():
        raise InputError(f"{argument}: is not a parameter; write key=value")
    return key, _scalar(text)


def _scalar(text: str) -> object:
    if text.startswith("[") and text.endswith("]"):
        return [_scalar(item.strip()) for item in text[1:-1].split(",") if item.strip()]
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _of_the_data(file: Path, collection: object, known: Mapping, advice: str) -> dict[str, object]:
    """What a notebook takes of the section `data`: all of it where it has `root`, and the list of the collections."""
    values: dict[str, object] = {}
    everything = params.read(file)
    if "root" in known:
        values = params.data(file, collection)
        params.check_names(values, known, "params.yaml, data", advice)
    if "collections" in known and "collections" in everything.get("data", {}):
        values["collections"] = inputs.collections(everything)
    return values


def _official(name: str, value: object) -> object:
    """Turns slugs into official collection names; raises InputError that lists the five for any other name."""
    if name == "collection":
        return collections.from_slug(str(value))
    if name == "collections" and isinstance(value, list):
        return [collections.from_slug(str(item)) for item in value]
    return value


def _typed(name: str, value: object, kind: str, advice: str) -> object:
    """The value, a whole number as float where a float is wanted; raises InputError on another type."""
    _check_number(name, value)
    return checks.fitting(name, value, _wanted(kind), advice)


def _wanted(kind: str) -> object:
    """The type that an annotation spells."""
    return functools.reduce(operator.or_, (_TYPES[part.strip()] for part in kind.split("|")))


def _check_number(name: str, value: object) -> None:
    if type(value) is float and not math.isfinite(value):
        raise InputError(f"{name}: {value} is no number to compute with; give a finite one")
    if type(value) is int and abs(value) > LARGEST_WHOLE:
        raise InputError(f"{name}: {str(value)[:20]} is too large; give at most 2^53")
