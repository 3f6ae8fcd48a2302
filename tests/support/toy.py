"""A toy project: two notebooks whose cells do what a test asks of them, and params.yaml."""

import os
from pathlib import Path

import nbformat

from stages import run

LISTING = (
    "notebooks/toy.ipynb takes collection (str), rate (float), deep (bool), steps (int), hops (int | str), root (str)"
)
PARAMETERS = """\
collection = "layout:xla:random"
rate = 0.5
deep = False
steps = 3
hops: int | str = 1  # a number or "all"
root = ""
"""
WORK = """\
import os, sys
for step in range(steps):
    print(f"step {step}", file=sys.stderr)
print(repr([collection, rate, deep, steps, hops, root]))
print(os.getcwd(), os.environ["PYTHONHASHSEED"], os.environ["CUBLAS_WORKSPACE_CONFIG"])
"""
DRAW = """\
import matplotlib.pyplot as plt
from IPython.display import HTML, Javascript, display
from stages.engine.errors import InputError
plt.plot([1, 2, 3])
plt.show()
display(HTML("<b>shown</b>"), Javascript("alert(1)"))
"""
FAIL = """\
if steps == 7:
    raise InputError("graph.npz: no node_feat; write it again")
if steps == 8:
    raise KeyError("first line\\nsecond line")
if steps == 9:
    os._exit(1)
if steps == 6:
    raise MemoryError("of torch")
if steps == 11:
    raise OSError(28, "No space left on device", "data/toy/file")
"""
PARAMS = """\
data:
  root: elsewhere/npz_all
toy:
  rate: 2
  steps: {"tile:*": 4, "*": 2}
"""


def write_notebook(path, cells):
    """Write (kind, source) cells; a code cell's kind may be the tag `parameters`."""
    made = []
    for position, (kind, source) in enumerate(cells):
        new = nbformat.v4.new_markdown_cell if kind == "markdown" else nbformat.v4.new_code_cell
        cell = new(source, id=f"cell-{position:02d}")
        cell.metadata.tags = [kind] if kind == "parameters" else []
        made.append(cell)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path.parent.mkdir(exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=made, metadata={"kernelspec": kernel}), path)


def toy(folder: Path) -> Path:
    """Writes the toy project into a folder, which it returns."""
    cells = [("markdown", "# A toy"), ("parameters", PARAMETERS), ("code", WORK), ("code", DRAW), ("code", FAIL)]
    write_notebook(folder / "notebooks" / "toy.ipynb", cells)
    write_notebook(folder / "notebooks" / "plain.ipynb", [("code", "print(6 * 7)")])
    (folder / "params.yaml").write_text(PARAMS)
    # A project's own stages come from its folder in real life; here from this repository.
    (folder / "stages").symlink_to(os.path.abspath("stages"))
    return folder


def refused(project, capfd, *arguments):
    """Runs a stage from the command line, expects it to fail, and returns the one line that it prints."""
    assert run.main(arguments, project) == 1
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1
    return err.rstrip("\n")
