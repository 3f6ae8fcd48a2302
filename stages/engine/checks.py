"""Checks the arguments of a stage's function against the function's annotations, before the stage begins.

Values that a user types in JupyterLab or gives to papermill are of the type as which they are read: papermill passes
`-p skip_bad false` on as the text "false", which Python takes for true. pydantic compares strictly here. A text is no
number and no truth value, a truth value is no number, and None is valid only if the annotation has it. A whole number
is valid for a float, and becomes one.

The parameters of a run are written beside its outputs, as parameters.json. From them the runner tells whether another
run wrote the outputs, so that it does not record the result of that run as its own.
"""

from __future__ import annotations

import functools
import inspect
import json
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError

from stages.engine import files, params
from stages.engine.errors import InputError
from stages.graphs.collection import slug

#: parameters on which no result depends by their value: paths, and the number of processes
_ELSEWHERE = ("data", "root", "workers", "eval_indices", "solution", "programs", "sample_submission")
_MAPPING = "give a mapping of those that are not to be as in params.yaml, such as {'seeds': 1}"
P = typing.ParamSpec("P")
R = typing.TypeVar("R")


def entry(stage: str, *, writes: bool = False) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Makes a decorator for a stage's function that refuses an argument of another type than its annotation.

    A parameter annotated with a dataclass, `knobs: Settings`, is the stage's section of params.yaml. The caller gives a
    mapping of the knobs that differ from that file. The function gets the dataclass, which `params.settings` makes for
    the argument `collection`.

    Args:
        stage: prefix of the parameter's name in a message, as in `prune.skip_bad`.
        writes: whether the function writes a folder of outputs, DATA/STAGE or DATA/STAGE/SLUG, which then gets a
            parameters.json.

    Returns:
        The decorator. The decorated function raises InputError, with one line that names the parameter, its type and
        the expected type.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            bound, annotations = signature.bind(*args, **kwargs), typing.get_type_hints(function)
            names = bound.arguments.keys() & annotations.keys()
            sections = {name for name in names if is_dataclass(annotations[name])}
            for name in names:
                kind, advice = (dict, _MAPPING) if name in sections else (annotations[name], None)
                bound.arguments[name] = fitting(f"{stage}.{name}", bound.arguments[name], kind, advice)
            for name in sections:
                changes, collection = bound.arguments[name], bound.arguments["collection"]
                bound.arguments[name] = params.settings(annotations[name], stage, collection, changes)
            result = function(*bound.args, **bound.kwargs)
            bound.apply_defaults()
            if writes:
                _write_parameters(stage, bound.arguments)
            return result

        return checked

    return decorate


def made_by(stage: str, values: Mapping[str, object]) -> None:
    """Checks that the run with these parameters was the last to write a stage's folder of outputs.

    Args:
        stage: the stage's name.
        values: the run's parameters, with `data` and, if the stage works on one collection, `collection`.

    Raises:
        InputError: a run with other parameters wrote there last.
    """
    values = _flat(values)
    file = _parameters_file(stage, values)
    if not file.exists():  # the stage has no folder of outputs
        return
    written = json.loads(file.read_text())
    for name in sorted(written.keys() & values.keys()):
        if written[name] != values[name]:
            raise InputError(
                f"{file.parent}: another run wrote there, with {stage}.{name} {written[name]!r} instead of "
                f"{values[name]!r}; run again"
            )


def _write_parameters(stage: str, arguments: Mapping[str, object]) -> None:
    """Writes the parameters that decide a result beside it."""
    content = {name: value for name, value in _flat(arguments).items() if name not in _ELSEWHERE}
    files.replace(_parameters_file(stage, arguments), (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())


def _flat(values: Mapping[str, object]) -> dict[str, object]:
    """The parameters, with the entries of `knobs`, a mapping or a dataclass, in its place."""
    flat = dict(values)
    knobs = flat.pop("knobs", {})
    return flat | (asdict(knobs) if is_dataclass(knobs) else knobs)


def _parameters_file(stage: str, arguments: Mapping[str, object]) -> Path:
    """The file that holds the parameters of a stage's last run."""
    folder = Path(arguments.get("data", "data"), stage)
    if "collection" in arguments:
        folder /= slug(str(arguments["collection"]))
    return folder / "parameters.json"


def settings(knobs: object, section: str) -> None:
    """Checks that each value of a dataclass is of its field's type; called in `__post_init__`, frozen or not.

    Args:
        knobs: an instance of a dataclass whose fields are a section of params.yaml.
        section: the section's name.

    Raises:
        InputError: a value is of another type.
    """
    annotations = typing.get_type_hints(type(knobs))
    for field in fields(knobs):
        value = fitting(f"params.yaml, {section}.{field.name}", getattr(knobs, field.name), annotations[field.name])
        object.__setattr__(knobs, field.name, value)


def fitting(name: str, value: object, wanted: object, advice: str | None = None) -> object:
    """Checks the type of a value.

    Args:
        name: the parameter, for the message.
        value: its value.
        wanted: an annotation, such as `int | str`; the entries of a `list[str]` are checked too.
        advice: what to do, for the message.

    Returns:
        The value; a whole number becomes a float where a float is expected.

    Raises:
        InputError: the value is of another type, or an entry of the list is.
    """
    try:
        return _adapter(wanted).validate_python(value)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
    if fault["loc"] and isinstance(fault["loc"][0], int):
        name, value, wanted = f"{name}[{fault['loc'][0]}]", fault["input"], typing.get_args(wanted)[0]
    advice = advice or ("give True or False, in params.yaml true or false" if wanted is bool else "give one")
    printed = " ".join(repr(value).split())
    raise InputError(f"{name}: {printed} is {type(value).__name__}, expected {spelt(wanted)}; {advice}")


@functools.cache
def _adapter(wanted: object) -> TypeAdapter:
    return TypeAdapter(wanted, config=ConfigDict(strict=True))


def spelt(wanted: object) -> str:
    """The type in words for a message: int | str, list of str."""
    if not (parts := typing.get_args(wanted)):
        return "None" if wanted is type(None) else wanted.__name__
    joined = " | ".join(map(spelt, parts))
    return f"list of {joined}" if typing.get_origin(wanted) in (list, Sequence) else joined
