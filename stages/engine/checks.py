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
from dataclasses import fields
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError

from stages.engine import files
from stages.engine.errors import InputError
from stages.graphs.collection import slug

#: parameters on which no result depends by their value: paths, and the number of processes
_ELSEWHERE = ("data", "root", "workers", "knobs", "eval_indices", "solution", "programs", "sample_submission")
P = typing.ParamSpec("P")
R = typing.TypeVar("R")


def entry(stage: str, *, writes: bool = False) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Makes a decorator for a stage's function that refuses an argument of another type than its annotation.

    Arguments that `**knobs` collects have no annotation here. The dataclass that takes them calls `settings`.

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
            for name in bound.arguments.keys() & annotations.keys():
                bound.arguments[name] = fitting(f"{stage}.{name}", bound.arguments[name], annotations[name])
            result = function(*bound.args, **bound.kwargs)
            bound.apply_defaults()
            if writes:
                _write_parameters(stage, bound.arguments | bound.arguments.get("knobs", {}))
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
    content = {name: value for name, value in arguments.items() if name not in _ELSEWHERE}
    files.replace(_parameters_file(stage, arguments), (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())


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
    raise InputError(f"{name}: {printed} is {type(value).__name__}, expected {_spelt(wanted)}; {advice}")


@functools.cache
def _adapter(wanted: object) -> TypeAdapter:
    return TypeAdapter(wanted, config=ConfigDict(strict=True))


def _spelt(wanted: object) -> str:
    """The type in words for a message: int | str, list of str."""
    if not (parts := typing.get_args(wanted)):
        return "None" if wanted is type(None) else wanted.__name__
    spelt = " | ".join(map(_spelt, parts))
    return f"list of {spelt}" if typing.get_origin(wanted) in (list, Sequence) else spelt
