"""Imports torch_geometric without torch's compiler, which nothing here uses and which takes a third of its time.

torch_geometric imports torch._dynamo for one class, against which it compares modules. torch imports its compiler by
itself when something asks for it, so an empty module stands in its place only while torch_geometric is imported:
measured in processor seconds, 1.0 and not 2.7.
"""

import sys
from types import ModuleType

COMPILER = "torch._dynamo"


def torch_geometric() -> None:
    """Imports torch_geometric, so that a later import finds it there."""
    if COMPILER in sys.modules or "torch_geometric" in sys.modules:
        return
    import torch

    empty = ModuleType(COMPILER)
    sys.modules[COMPILER] = torch._dynamo = empty
    try:
        import torch_geometric.nn  # noqa: F401
    finally:
        if sys.modules.get(COMPILER) is empty:
            del sys.modules[COMPILER], torch._dynamo
