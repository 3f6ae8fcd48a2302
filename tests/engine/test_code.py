"""The one function that tells which code made a result, on small hand-made projects."""

import hashlib
from pathlib import Path

import pytest

from stages.engine import code

#: what each file of the hand-made project imports
FILES = {
    "__init__.py": "import stages.chosen",
    "chosen.py": "",
    "errors.py": "import json",
    "files.py": "from stages import errors",
    "model/__init__.py": "from stages.model.page import draw",
    "model/page.py": "import stages.files",
    "model/network.py": "def forward():\n    from stages.errors import InputError\n",
    "model/training.py": "import stages.model.network as network\nfrom stages.model.loop import turn",
    "model/loop.py": "from stages.model import training",
    "model/outside.py": "import numpy.linalg, stagesque\nfrom stagesque import model\nfrom . import page",
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The hand-made project; returns its folder stages/."""
    return made(tmp_path / "stages", monkeypatch)


def made(folder, monkeypatch):
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    monkeypatch.setattr(code, "STAGES", folder)
    code.digest.cache_clear()
    return folder


@pytest.fixture(autouse=True)
def fresh():
    """Digests are kept for a process's life: none of the hand-made project's may stay."""
    yield
    code.digest.cache_clear()


def closure(project, *modules):
    """Return the files by name, but for stages' own __init__ and what it imports, which are among them always."""
    names = [path.relative_to(project).as_posix() for path in code.closure(*modules)]
    assert names[:2] == ["__init__.py", "chosen.py"]
    return names[2:]


def test_all_that_a_module_imports_and_so_on(project):
    assert closure(project, "stages.files") == ["errors.py", "files.py"]
    assert closure(project, "stages.errors") == ["errors.py"]


def test_an_import_within_a_function_counts(project):
    assert closure(project, "stages.model.network") == [
        "errors.py",
        "model/__init__.py",
        "model/network.py",
    ]


def test_modules_that_import_each_other_end(project):
    """And a package's __init__ is a file of theirs, but what it imports, the page, is not."""
    expected = ["errors.py", "model/__init__.py"]
    expected += ["model/loop.py", "model/network.py", "model/training.py"]
    assert closure(project, "stages.model.training") == closure(project, "stages.model.loop") == expected


def test_several_modules_are_one_closure(project):
    both = closure(project, "stages.files", "stages.model.network")
    assert both == sorted({*closure(project, "stages.files"), *closure(project, "stages.model.network")})
    assert both == closure(project, "stages.model.network", "stages.files")


def test_a_package_is_its_init_alone(project):
    assert closure(project, "stages.model") == ["model/__init__.py"]


def test_what_does_not_lie_below_stages_is_no_file(project):
    """Also where a name only begins like it, and relative imports, which the project does not use."""
    assert closure(project, "numpy") == closure(project, "stagesque.model") == []
    assert closure(project, "stages.model.outside") == ["model/__init__.py", "model/outside.py"]
    assert closure(project, "stages.not_there") == []
    assert closure(project, "stages.model.not_there") == ["model/__init__.py"]


def test_imported_names_of_a_module_are_no_modules(project):
    found = list(code.imported("from stages.errors import InputError, files\nimport stages.files"))
    assert {path.relative_to(project).as_posix() for path in found} == {"errors.py", "files.py"}


def test_a_digest_is_of_names_and_bytes(project):
    whole = hashlib.sha256()
    for name in ("__init__.py", "chosen.py", "errors.py", "files.py"):
        whole.update(f"{name} {len(FILES[name])} ".encode() + FILES[name].encode())
    assert code.digest("stages.files") == whole.hexdigest()


@pytest.mark.parametrize("changed", sorted(FILES))
def test_a_changed_byte_changes_the_digests_of_those_who_need_the_file_alone(project, changed):
    modules = ("stages.files", "stages.model.training", "stages.model.outside")
    before = [code.digest(module) for module in modules]
    (project / changed).write_text(FILES[changed] + "\n")
    code.digest.cache_clear()
    needed = [changed in ("__init__.py", "chosen.py") or changed in closure(project, module) for module in modules]
    assert [code.digest(module) != old for module, old in zip(modules, before, strict=True)] == needed


def test_a_renamed_file_changes_the_digest(project):
    before = code.digest("stages.files")
    (project / "errors.py").rename(project / "faults.py")
    (project / "files.py").write_text("from stages import faults")  # as long as before
    code.digest.cache_clear()
    assert code.digest("stages.files") != before


def test_the_place_of_the_project_does_not_matter(project, tmp_path, monkeypatch):
    here = code.digest("stages.model.training")
    made(tmp_path / "elsewhere" / "stages", monkeypatch)
    assert code.digest("stages.model.training") == here


def test_of_the_project_itself():
    """What decides what the network learns is in it, and what draws its page is not."""
    names = {path.relative_to(code.STAGES).as_posix() for path in code.closure("stages.gnn.tasks")}
    assert {"gnn/__init__.py", "gnn/network.py", "gnn/training.py", "graphs/opcodes.py"} <= names
    assert not {name for name in names if name.startswith(("reporting/", "runner/", "studies/"))}
    assert Path("gnn/report.py").as_posix() not in names
