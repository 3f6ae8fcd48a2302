"""What all drivers share: a case read, stubs for what an original imports and does not need, results written.

A driver is run as `python DRIVER.py ORIGINAL CASE.npz RESULT.npz [CASE.npz RESULT.npz ...]` by an interpreter that has
what its original needs. So this module imports numpy alone at first, and nothing of the project.
"""

import importlib.machinery
import os
import re
import sys
import textwrap
import traceback
import types

import numpy as np


class Case:
    """A case's arrays by name.

    whole               path of the npz file as published
    chosen              path of the file with some of its configurations alone
    train               paths of train files
    wide                whether to compute in float64 too
    weight/NAME         a weight of the original's network, under the original's own name
    """

    def __init__(self, path):
        with np.load(path, allow_pickle=False) as file:
            self.arrays = dict(file)

    def __getitem__(self, name):
        return self.arrays[name]

    def __contains__(self, name):
        return name in self.arrays

    def path(self, name):
        return str(self.arrays[name])

    def paths(self, name):
        return [str(path) for path in self.arrays[name]]

    def widths(self):
        """What to compute in: float32, and float64 beside it where that is asked for."""
        return ["float32", "float64"] if bool(self.arrays["wide"]) else ["float32"]

    def weights(self):
        return {name[len("weight/") :]: array for name, array in self.arrays.items() if name.startswith("weight/")}


def main(function):
    """Calls function(original, case) for each case, and writes the dict of arrays that it returns."""
    original, *files = (os.path.abspath(path) for path in sys.argv[1:])
    for case, result in zip(files[::2], files[1::2], strict=True):
        try:
            with np.errstate(all="ignore"):
                arrays = function(original, Case(case))
        except Exception:
            traceback.print_exc()
            print(f"{case}: {traceback.format_exc().strip().splitlines()[-1]}", file=sys.stderr, flush=True)
            continue
        np.savez(result, **{name: np.asarray(array) for name, array in arrays.items()})


def on_path(*folders):
    """Lets these folders' modules be imported before all others."""
    sys.path[:0] = folders


class Anything:
    """Stands for any object of a library that is absent: it can be called, inherited from and asked for anything."""

    def __init__(self, *args, **kwargs):
        pass

    def __call__(self, *args, **kwargs):
        return args[0] if len(args) == 1 and callable(args[0]) else self

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything()

    def __bool__(self):
        return False

    def __mro_entries__(self, bases):
        return (object,)


def _attribute(name):
    """Of a stand-in for a module."""
    if name.startswith("__"):
        raise AttributeError(name)
    return Anything()


def stub(*names, **attributes):
    """Puts light stand-ins in place of modules that cannot be imported; `attributes` of the last of them."""
    for name in names:
        parts = name.split(".")
        for count in range(1, len(parts) + 1):
            full = ".".join(parts[:count])
            if full in sys.modules:
                continue
            module = types.ModuleType(full)
            module.__spec__ = importlib.machinery.ModuleSpec(full, None, is_package=True)
            module.__path__ = []
            module.__getattr__ = _attribute
            sys.modules[full] = module
            if count > 1:
                setattr(sys.modules[".".join(parts[: count - 1])], parts[count - 1], module)
    for name, value in attributes.items():
        setattr(sys.modules[names[-1]], name, value)


def stub_absent(*names):
    """As `stub`, for those that are not installed."""
    for name in names:
        try:
            __import__(name)
        except ImportError:
            stub(name)


def bare_package(name, folder):
    """Makes a package importable without its __init__, which would import what is not installed."""
    module = types.ModuleType(name)
    module.__path__ = [folder]
    sys.modules[name] = module


def lines(path, first, last, after=r""):
    """The lines of a file from one that matches `first` to the next that matches `last`, without their indentation.

    For what an original computes in the middle of a long function. The first is looked for behind one that matches
    `after`.
    """
    with open(path) as file:
        text = file.read().splitlines()
    begin = next(number for number, line in enumerate(text) if re.search(after, line))
    start = next(number for number in range(begin, len(text)) if re.search(first, text[number]))
    stop = next(number for number in range(start, len(text)) if re.search(last, text[number]))
    return textwrap.dedent("\n".join(text[start : stop + 1]))


def torch_results(build, case, forward, loss, optimizer, clip=None, ignored=()):
    """Scores, loss, gradients and a step of the optimiser, in float32 and float64, under the original's names.

    Args:
        build: makes the network.
        case: has its weights.
        forward: from the network and a dtype to scores.
        loss: from scores to a scalar.
        optimizer: from the network to an optimiser.
        clip: clips the network's gradients.
        ignored: parts of names of parameters that reach nothing and are left as they are.
    """
    import torch

    results = {}
    for name in case.widths():
        dtype = getattr(torch, name)
        network = build()
        given = {key: torch.from_numpy(np.array(value)) for key, value in case.weights().items()}
        absent = [key for key in network.state_dict() if key not in given and not any(part in key for part in ignored)]
        if absent:
            raise SystemExit(f"no weight for {absent}")
        network.load_state_dict(given, strict=False)
        unknown = given.keys() - network.state_dict().keys()
        if unknown:
            raise SystemExit(f"no such weights: {sorted(unknown)}")
        network = network.to(dtype).eval()
        stepped = optimizer(network)
        scores = forward(network, dtype)
        value = loss(scores)
        value.backward()
        results[f"{name}/scores"] = scores.detach().numpy()
        results[f"{name}/loss"] = value.detach().numpy()
        for key, parameter in network.named_parameters():
            if key in given and parameter.grad is not None:
                results[f"{name}/gradient/{key}"] = parameter.grad.numpy().copy()
        if clip is not None:
            clip(network)
        stepped.step()
        for key, parameter in network.named_parameters():
            if key in given:
                results[f"{name}/step/{key}"] = parameter.detach().numpy().copy()
    return results


def floats(inputs, dtype):
    """A dict's tensors of floating point in this dtype."""
    return {key: value.to(dtype) if value.is_floating_point() else value for key, value in inputs.items()}
