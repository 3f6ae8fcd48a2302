"""What is tuned: MODULE:FUNCTION with its argument shapes, or a program of the data set, as the text of a module."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import multiprocessing
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.collect.programs.registry import PROGRAMS
from stages.collect.tpu.libtpu import CompileError
from stages.collect.tpu_data import tracing
from stages.engine.errors import InputError
from stages.graphs.collection import name_fault

#: HLO's names of element types, and JAX's
TYPES = {
    "f32": "float32",
    "bf16": "bfloat16",
    "f16": "float16",
    "s8": "int8",
    "s16": "int16",
    "s32": "int32",
    "u8": "uint8",
    "u16": "uint16",
    "u32": "uint32",
    "pred": "bool",
}
_SHAPE = re.compile(r"(\w+)\[((?:\d+(?:,\d+)*)?)\]")
_EXAMPLE = '--shapes "f32[32,224,224,3]" "bf16[768,768]"'


@dataclass(frozen=True)
class Source:
    """A program before it is compiled.

    Attributes:
        name: Fit for a file.
        text: HLO, as JAX makes it for a TPU; of a function its instructions say which equation they come from.
        function: Module, function and shapes, by which it is traced again; None of a program of the data set.
    """

    name: str
    text: str
    function: tuple | None = None


def read(program: str, shapes: Sequence[str] | None) -> Source:
    """Traces a program, in a process of its own.

    Args:
        program: MODULE:FUNCTION, MODULE a dotted name or the path of a file; or the id of a program of the data set.
        shapes: Of the function's arguments, each as ``f32[32,224,224,3]``; None where the function takes nothing and
            returns another function and its arguments.

    Raises:
        InputError: There is no such function, the shapes do not fit it, or it cannot be traced.
    """
    module, colon, function = program.rpartition(":")
    if not colon:
        if program not in PROGRAMS:
            raise InputError(f"{program}: is no MODULE:FUNCTION and no program of the data set; give one of these")
        if shapes is not None:
            raise InputError(f"{program}: is a program of the data set, whose shapes are known; leave --shapes out")
        return Source(program, _traced(program, tracing.of_zoo, program))
    if not module or not function:
        raise InputError(f"{program}: names no module or no function; give MODULE:FUNCTION, as examples/net.py:forward")
    wanted = None if shapes is None else [parsed(each) for each in shapes]
    name = re.sub(r"[^\w.\-]+", "_", f"{module.removesuffix('.py').replace('/', '.').strip('.')}.{function}")
    if fault := name_fault(name):
        raise InputError(f"{program}: the name {fault}; give the function another")
    told = json.loads(_traced(program, _of_function, module, function, wanted, {}))
    return Source(name, told["text"], (module, function, wanted))


def constrained(source: Source, layouts: Mapping[int, Mapping[int, tuple]]) -> tuple[str, list[tuple[int, int]]]:
    """Traces a function once more, with layouts forced by ``with_layout_constraint``.

    Args:
        source: Of a function.
        layouts: As `equations.tuned` takes them.

    Returns:
        HLO text, and the equation and slot of each layout that could not be forced.

    Raises:
        InputError: It cannot be traced so.
    """
    told = json.loads(_traced(source.name, _of_function, *source.function, layouts))
    return told["text"], [tuple(each) for each in told["left"]]


def _traced(program: str, make: Callable[..., str], *arguments: object) -> str:
    try:
        return tracing.in_process(multiprocessing.get_context("spawn"), make, *arguments)
    except CompileError as fault:
        # Faults that are told here are whole lines; any other is the program's own.
        told = str(fault).removeprefix(f"{InputError.__name__}: ")
        reason = told if told != str(fault) else f"cannot be traced ({told}); mend that and run again"
        raise InputError(f"{program}: {reason}") from None


def parsed(shape: str) -> tuple[str, tuple[int, ...]]:
    """The element type, as JAX names it, and the dimensions of a shape as ``f32[32,224,224,3]``.

    Raises:
        InputError: It is no such shape.
    """
    match = _SHAPE.fullmatch(shape.replace(" ", ""))
    element = match and (TYPES.get(match[1]) or (match[1] if match[1] in TYPES.values() else None))
    if not element:
        raise InputError(
            f"--shapes: {shape!r} is no shape: give TYPE[SIZE,SIZE,...], the type one of {', '.join(TYPES)}"
        )
    return element, tuple(int(size) for size in match[2].split(",") if size)


def _of_function(
    module: str, function: str, shapes: Sequence[tuple[str, tuple[int, ...]]] | None, layouts: Mapping
) -> str:
    """Text of a function as JSON, in the process that imports the user's module; InputError tells the rest of a line.

    Args:
        layouts: To force, as `equations.tuned` takes them.
    """
    found = getattr(_module(module), function, None)
    if found is None:
        raise InputError(f"the module has no {function}; give the name of one of its functions")
    if not callable(found):
        raise InputError(f"{function} is no function but of {type(found).__name__}; give a function")
    tuned, arguments = _called(found) if shapes is None else (found, _structs(found, shapes))
    from stages.collect.programs import before_layout  # JAX, only where all else is well
    from stages.tuning import equations

    left: set[tuple[int, int]] = set()
    try:
        numbered = equations.tuned(tuned, arguments, layouts, True, lambda *place: left.add(place))
        text = before_layout.text_of(numbered, arguments, metadata=True)
        return json.dumps({"text": text, "left": sorted(left)})
    except Exception as fault:
        raise InputError(f"cannot be traced: {_told(fault)}; mend it, or give it other shapes") from None


def _module(name: str) -> object:
    sys.path.insert(0, "")
    try:
        if not name.endswith(".py"):
            return importlib.import_module(name)
        if not Path(name).is_file():
            raise InputError(f"there is no file {name}; give the path of a module, or its dotted name")
        sys.path.insert(0, str(Path(name).resolve().parent))  # so that it finds the modules beside it
        spec = importlib.util.spec_from_file_location(Path(name).stem, name)
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    except InputError:
        raise
    except ModuleNotFoundError as fault:
        if fault.name and (name == fault.name or name.startswith(f"{fault.name}.")):
            raise InputError(f"there is no module {name}; give its dotted name, or its file as path/name.py") from None
        raise InputError(f"needs a module {fault.name}, which is not installed; install it in .venv-collect") from None
    except Exception as fault:
        raise InputError(f"cannot be imported: {_told(fault)}; mend that and run again") from None


def _parameters(function: Callable) -> list[inspect.Parameter] | None:
    """The positional parameters of a function; None where they cannot be told, as of some builtins."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    return [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]


def _called(function: Callable) -> tuple[Callable, tuple]:
    """What a function without parameters returns: the function to tune and its arguments."""
    required = [each.name for each in _parameters(function) or () if each.default is each.empty]
    if required:
        raise InputError(f"takes {', '.join(required)}, whose shapes are missing; give one for each: {_EXAMPLE}")
    try:
        made = function()
    except Exception as fault:
        raise InputError(f"cannot be called: {_told(fault)}; mend that, or give --shapes") from None
    if not (isinstance(made, tuple) and len(made) == 2 and callable(made[0]) and isinstance(made[1], tuple)):
        raise InputError(
            "takes nothing and returns no (function, arguments), arguments a tuple of jax.ShapeDtypeStruct; return "
            "these, or give --shapes"
        )
    return made


def _structs(function: Callable, shapes: Sequence[tuple[str, tuple[int, ...]]]) -> tuple:
    import jax
    import jax.numpy as jnp

    parameters = _parameters(function)
    variadic = parameters is None or any(
        each.kind is each.VAR_POSITIONAL for each in inspect.signature(function).parameters.values()
    )
    if not variadic:
        least = sum(each.default is each.empty for each in parameters)
        if not least <= len(shapes) <= len(parameters):
            names = ", ".join(each.name for each in parameters) or "nothing"
            given = f"{len(shapes)} shape{' was' if len(shapes) == 1 else 's were'} given"
            raise InputError(f"takes {names}, and {given}; give --shapes one for each")
    return tuple(jax.ShapeDtypeStruct(dims, jnp.dtype(element)) for element, dims in shapes)


def _told(fault: Exception) -> str:
    """An exception in a line, with the last line of the user's code that it came from."""
    frames = [each for each in traceback.extract_tb(fault.__traceback__) if "site-packages" not in each.filename]
    own = [each for each in frames if Path(each.filename).resolve() != Path(__file__).resolve()]
    own = [each for each in own if "importlib" not in each.filename and "/stages/collect/" not in each.filename]
    place = f" at {Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""
    return " ".join(f"{type(fault).__name__}: {fault}".split())[:200] + place
