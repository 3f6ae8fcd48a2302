import ast
from pathlib import Path

import nbformat
import pytest

from stages.runner.parameters import read_defaults

PROJECT = Path(__file__).parents[2]
NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))
LONGEST = 5  # lines of a function in a notebook; a longer one belongs in its stage's module, under test


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_nothing_of_a_run_is_committed(notebook):
    assert [cell.id for cell in code(notebook) if cell.outputs or cell.execution_count is not None] == []
    assert [cell.id for cell in notebook.cells if set(cell.metadata) - {"tags"}] == []
    assert [cell.id for cell in notebook.cells] == [f"cell-{place:02d}" for place in range(len(notebook.cells))]


def test_it_is_thin(notebook):
    for cell in code(notebook):
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, ast.ClassDef), f"{cell.id} holds the class {node.name}"
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                length = node.end_lineno - node.lineno + 1
                assert length <= LONGEST, f"{cell.id}: {node.name} has {length} lines"


def test_it_can_be_run_and_read(notebook):
    assert notebook.metadata.kernelspec.name == "python3"
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in notebook.cells) == 1
    assert read_defaults(notebook, "notebook")
    assert notebook.cells[0].cell_type == "markdown" and notebook.cells[0].source.startswith("# ")
