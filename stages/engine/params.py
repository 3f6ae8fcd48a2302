"""Strict reading of params.yaml: one section a stage, and values that may differ between collections.

The sections of gnn and gbdt are the one place that has the values of these stages' knobs; the dataclass `Settings` of
each stage has their names and types.
"""

import copy
import functools
import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from fnmatch import fnmatchcase
from pathlib import Path

import yaml

from stages.engine.errors import InputError

# What YAML 1.1 (PyYAML) reads otherwise than YAML 1.2 (DVC): two readers of one file must see one value.
_BOOLEAN, _INTEGER, _FLOAT, _STRING = (f"tag:yaml.org,2002:{kind}" for kind in ("bool", "int", "float", "str"))
_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
_DECIMAL_INTEGER = re.compile(r"[-+]?(0|[1-9]\d*)")
Knobs = typing.TypeVar("Knobs")
_READ_ALIKE = (_STRING, _BOOLEAN, _INTEGER, _FLOAT, "tag:yaml.org,2002:null")


def section(
    path: str | Path, stage: str, collection: str | None = None, overrides: Mapping[str, object] | None = None
) -> dict:
    """The parameters of one stage, resolved for one collection.

    A value is a scalar, a list, or a mapping from a pattern (`fnmatch`) over the collection's official name to a
    scalar, of which the first match wins. `overrides` replaces values, or adds parameters the section lacks.

    Raises:
        InputError: no such file or section (lists the sections), bad YAML, a value that YAML 1.1 and 1.2 read
            differently, no pattern that matches, a value per collection where no collection is given, or a collection
            in the section.
    """
    values = read(path)
    if stage not in values:
        raise InputError(f"{path}: no section '{stage}'; the sections are {', '.join(values)}")
    if "collection" in values[stage]:
        raise InputError(f"{path}, {stage}.collection: holds for one run only; remove it and give collection=NAME")
    overrides = dict(overrides or {})
    resolved = {
        key: _resolve(f"{path}, {stage}.{key}", value, collection)
        for key, value in values[stage].items()
        if key not in overrides
    }
    return resolved | overrides


def data(path: str | Path, collection: str | None) -> dict:
    """The section `data` for one collection, without the list of the collections, which is the pipeline's.

    Raises:
        InputError: as of `section`.
    """
    values = section(path, "data", collection, {"collections": None})
    del values["collections"]
    return values


def settings(
    kind: type[Knobs],
    stage: str,
    collection: str | None,
    changes: Mapping[str, object],
    path: str | Path = "params.yaml",
) -> Knobs:
    """A stage's knobs for one collection: those of its section, `changes` over them.

    Where `changes` has all of them, the file is not read.

    Args:
        kind: the stage's dataclass `Settings`, whose fields are the names of the section.
        stage: also the section's name.
        collection: official name.
        changes: name -> value, of knobs that are not to be as in the file.
        path: the file.

    Raises:
        InputError: as `section`; an unknown name, or one that the section lacks; whatever `kind` refuses.
    """
    names = [field.name for field in fields(kind)]
    check_names(changes, names, f"{stage}.run", f"its knobs are {', '.join(names)}")
    values = dict(changes)
    if values.keys() != set(names):
        values = section(path, stage, collection, changes)
        check_names(values, names, f"{path}, {stage}", f"its knobs are {', '.join(names)}")
        check_whole(values, names, f"{path}, {stage}")
    return kind(**values)


def check_names(given: Iterable[str], known: Iterable[str], where: str, advice: str) -> None:
    """Raises InputError for the first name that is not known."""
    for name in given:
        if name not in known:
            raise InputError(f"{where}: unknown parameter '{name}'; {advice}")


def check_whole(given: Iterable[str], wanted: Iterable[str], where: str) -> None:
    """Raises InputError for the first name that is wanted and not given: a knob has no other value than its line's."""
    for name in wanted:
        if name not in given:
            raise InputError(f"{where}: lacks '{name}'; write a line for it, or bring the file back from git")


def sections(path: str | Path) -> list[str]:
    """The names of the sections in the file's order."""
    return list(read(path))


def read(path: str | Path) -> dict[str, dict]:
    """The file's sections, values as they stand there; InputError unless each is a mapping or empty."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); run from the project's folder") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not UTF-8 text; save it as UTF-8") from None
    return copy.deepcopy(_parsed(str(path), text))


@functools.lru_cache(maxsize=8)  # a run of a stage asks several times, and PyYAML takes a tenth of a second for each
def _parsed(path: str, text: str) -> dict[str, dict]:
    """The sections of a file with this text; `path` is for the messages."""
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):  # it may stand inside what it names, without end
                line = event.start_mark.line + 1
                raise InputError(f"{path}, line {line}: *{event.anchor} is an alias; write the value itself")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        first_fault = next(_faults(node), None) if node else None
        if first_fault:
            line, fault = first_fault
            raise InputError(f"{path}, line {line}: {fault}")
        values = yaml.safe_load(text)
    except InputError:
        raise
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise InputError(f"{path}{where}: is not YAML ({getattr(error, 'problem', error)}); mend it") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):  # of PyYAML's own making of values
        raise InputError(f"{path}: holds a value that cannot be read; write plain numbers and words") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: holds no sections; expected one mapping a stage")
    for name, content in values.items():
        if content is not None and not isinstance(content, dict):
            raise InputError(f"{path}, {name}: is {content!r}; a section is a mapping of parameters")
    return {name: content or {} for name, content in values.items()}


def _faults(node: yaml.Node) -> Iterator[tuple[int, str]]:
    """Yield (line, fault) for keys that are no names or repeated, and scalars on which YAML 1.1 and 1.2 disagree."""
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, child in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                yield line, "a key is a list or a mapping; write name: value"
                continue
            if key.value in seen:
                yield line, f"'{key.value}' is given twice; keep one"
            seen.add(key.value)
            yield from _faults(key)
            if key.tag != _STRING:
                yield line, f"the key {key.value or 'null'} is no name; write name: value"
            yield from _faults(child)
    elif isinstance(node, yaml.SequenceNode):
        for child in node.value:
            yield from _faults(child)
    elif node.style is None and (advice := _advice(node.tag, node.value)):
        yield node.start_mark.line + 1, advice


def _advice(tag: str, text: str) -> str | None:
    """Say how to write a plain scalar that YAML 1.1 and 1.2 read differently; None where they agree."""
    if tag == _STRING and _EXPONENT.fullmatch(text):
        return f"{text} is a string to YAML 1.1 and a number to DVC; write {_plain(float(text))}"
    if tag == _BOOLEAN and text.lower() not in ("true", "false"):
        return f"{text} is a truth value to YAML 1.1 and a string to DVC; write true or false, or quote it"
    if tag == _INTEGER and not _DECIMAL_INTEGER.fullmatch(text):
        return f"{text} is not the same whole number to every YAML; write it in plain decimals, or quote it"
    if tag == _FLOAT and re.search("[_:]", text):
        return f"{text} is not the same number to every YAML; write it in plain decimals, or quote it"
    if tag not in _READ_ALIKE:
        return f"{text} is not a plain value; quote it"
    return None


def _plain(number: float) -> str:
    """Write a number without an exponent: 1e-05 becomes 0.00001."""
    text = f"{number:.15f}".rstrip("0")
    return text + "0" if text.endswith(".") else text


def _resolve(name: str, value: object, collection: str | None) -> object:
    """The value for this collection where `value` maps patterns to values, else `value` itself."""
    if not isinstance(value, dict):
        return value
    if collection is None:
        raise InputError(f"{name}: differs between collections; give collection=NAME")
    for pattern, choice in value.items():
        if fnmatchcase(collection, str(pattern)):
            if isinstance(choice, dict):
                raise InputError(f"{name}, {pattern}: is a mapping; expected one value")
            return choice
    raise InputError(f"{name}: no pattern matches {collection}; the patterns are {', '.join(map(str, value))}")
