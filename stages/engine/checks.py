"""Types, checked where a stage is entered: what its function is given, against the function's own annotations.

By hand, from JupyterLab or by papermill, values come as they were typed: papermill hands over `-p skip_bad false` as
the text "false", which Python takes for true. pydantic compares strictly: a text is no number and no truth value, a
truth value no number, None is good only where it is annotated; a whole number is good where a float is wanted, and
becomes one.

What a stage was given is written beside what it made, as parameters.json, so that the runner can tell whose result it
is: a result that another run wrote is not recorded as this one's.
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

#: parameters that are no property of the result: where files lie, and how many processes work
_ELSEWHERE = ("data", "root", "workers", "eval_indices", "solution", "programs", "sample_submission")
_MAPPING = "give a mapping of those that are not to be as in params.yaml, such as {'seeds': 1}"
P = typing.ParamSpec("P")
R = typing.TypeVar("R")


def entry(stage: str, *, writes: bool = False) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorator of a stage's function that refuses an argument of another type than its annotation.

    A parameter annotated with a dataclass, `knobs: Settings`, is the stage's section of params.yaml. The caller gives a
    mapping, of the knobs that are not to be as they stand there; the function gets the dataclass, made by
    `params.settings` for the argument `collection`.

    Args:
        stage: what a message puts before the parameter, as in `prune.skip_bad`.
        writes: whether it writes a folder of outputs, DATA/STAGE or DATA/STAGE/SLUG, which then gets parameters.json.

    Returns:
        The decorator. The function it makes raises InputError, one line that names the parameter, the type it got and
        the type that is wanted.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            given, wanted = signature.bind(*args, **kwargs), typing.get_type_hints(function)
            sections = {name for name in given.arguments.keys() & wanted.keys() if is_dataclass(wanted[name])}
            for name in given.arguments.keys() & wanted.keys():
                kind, advice = (dict, _MAPPING) if name in sections else (wanted[name], None)
                given.arguments[name] = fitting(f"{stage}.{name}", given.arguments[name], kind, advice)
            for name in sections:
                changes, collection = given.arguments[name], given.arguments["collection"]
                given.arguments[name] = params.settings(wanted[name], stage, collection, changes)
            result = function(*given.args, **given.kwargs)
            given.apply_defaults()
            if writes:
                _seal(stage, given.arguments)
            return result

        return checked

    return decorate


def made_by(stage: str, values: Mapping[str, object]) -> None:
    """Compares what lies in a stage's folder of outputs with the parameters of the run that is to have made it.

    Args:
        stage: the stage's name.
        values: the run's parameters, `data` and, where the stage works on one, `collection` among them.

    Raises:
        InputError: another run, with other parameters, wrote there last.
    """
    values = _flat(values)
    file = _seal_file(stage, values)
    if not file.exists():  # the stage writes none
        return
    written = json.loads(file.read_text())
    for name in sorted(written.keys() & values.keys()):
        if written[name] != values[name]:
            raise InputError(
                f"{file.parent}: another run wrote there, with {stage}.{name} {written[name]!r} instead of "
                f"{values[name]!r}; run again"
            )


def _seal(stage: str, arguments: Mapping[str, object]) -> None:
    content = {name: value for name, value in _flat(arguments).items() if name not in _ELSEWHERE}
    files.replace(_seal_file(stage, arguments), (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())


def _flat(values: Mapping[str, object]) -> dict[str, object]:
    """The parameters with those of `knobs`, a mapping or a dataclass, one by one in its place."""
    flat = dict(values)
    knobs = flat.pop("knobs", {})
    return flat | (asdict(knobs) if is_dataclass(knobs) else knobs)


def _seal_file(stage: str, arguments: Mapping[str, object]) -> Path:
    """Where the parameters of a stage are written."""
    folder = Path(arguments.get("data", "data"), stage)
    if "collection" in arguments:
        folder /= slug(str(arguments["collection"]))
    return folder / "parameters.json"


def settings(knobs: object, section: str) -> None:
    """Refuses a dataclass's value of another type than its field; for its `__post_init__`, frozen or not.

    Args:
        knobs: an instance of a dataclass whose fields are a section of params.yaml.
        section: the section's name.

    Raises:
        InputError: as `fitting`.
    """
    wanted = typing.get_type_hints(type(knobs))
    for field in fields(knobs):
        value = fitting(f"params.yaml, {section}.{field.name}", getattr(knobs, field.name), wanted[field.name])
        object.__setattr__(knobs, field.name, value)


def fitting(name: str, value: object, wanted: object, advice: str | None = None) -> object:
    """The value, a whole number as float where a float is wanted.

    Args:
        name: the parameter, for the message.
        wanted: an annotation, such as `int | str`; the entries of a `list[str]` are checked too.
        advice: what to do, for the message.

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
    shown = " ".join(repr(value).split())
    raise InputError(f"{name}: {shown} is {type(value).__name__}, expected {spelt(wanted)}; {advice}")


@functools.cache
def _adapter(wanted: object) -> TypeAdapter:
    return TypeAdapter(wanted, config=ConfigDict(strict=True))


def spelt(wanted: object) -> str:
    """A type as a reader knows it: int | str, list of str."""
    if not (parts := typing.get_args(wanted)):
        return "None" if wanted is type(None) else wanted.__name__
    joined = " | ".join(map(spelt, parts))
    return f"list of {joined}" if typing.get_origin(wanted) in (list, Sequence) else joined
