import pytest

from stages.engine import params
from stages.engine.errors import InputError

TEXT = """\
data:
  root: data/sample/npz_all
gnn:
  width: 32  # a comment
  epochs: {"layout:nlp:*": 40, "layout:*": 30, "tile:*": 20}
  hops: all
  rate: 0.001
blend:
"""


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "params.yaml"
        path.write_text(text)
        return path

    return write


def refused(path, *arguments, **keywords):
    with pytest.raises(InputError) as caught:
        params.section(path, *arguments, **keywords)
    message = str(caught.value)
    assert "\n" not in message and "params.yaml" in message
    return message


def test_section_resolves_the_first_pattern_that_matches(file):
    found = {name: params.section(file(TEXT), "gnn", name)["epochs"] for name in ("layout:nlp:random", "tile:xla")}
    assert found == {"layout:nlp:random": 40, "tile:xla": 20}
    assert params.section(file(TEXT), "gnn", "layout:xla:default") == {
        "width": 32,
        "epochs": 30,
        "hops": "all",
        "rate": 0.001,
    }


def test_section_without_keys_is_empty(file):
    assert params.section(file(TEXT), "blend") == {}


def test_overrides_win_and_add_and_spare_the_pattern(file):
    found = params.section(file(TEXT), "gnn", None, {"epochs": 2, "data": "elsewhere"})
    assert (found["epochs"], found["data"], found["width"]) == (2, "elsewhere", 32)


def test_unknown_section_lists_the_sections(file):
    assert "no section 'gn'; the sections are data, gnn, blend" in refused(file(TEXT), "gn")


def test_no_pattern_matches(file):
    path = file('gnn:\n  epochs: {"tile:*": 3}\n')
    assert refused(path, "gnn", "layout:xla:random").endswith(
        "gnn.epochs: no pattern matches layout:xla:random; the patterns are tile:*"
    )


def test_pattern_without_a_collection(file):
    assert "gnn.epochs: differs between collections" in refused(file(TEXT), "gnn")


def test_pattern_to_a_mapping(file):
    path = file('gnn:\n  epochs: {"tile:*": {a: 1}}\n')
    assert "gnn.epochs, tile:*: is a mapping" in refused(path, "gnn", "tile:xla")


@pytest.mark.parametrize(
    ("written", "advice"),
    [
        ("1e-3", "write 0.001"),
        ("1E5", "write 100000.0"),
        ("2.5e3", "write 2500.0"),
        ("yes", "write true or false"),
        ("off", "write true or false"),
        ("010", "plain decimals"),
        ("1:30", "plain decimals"),
        ("1_000", "plain decimals"),
        ("2024-01-01", "quote it"),
    ],
)
def test_values_that_yaml_versions_read_differently(file, written, advice):
    message = refused(file(f"gnn:\n  width: 3\n  rate: {written}\n"), "gnn")
    assert "params.yaml, line 3: " + written in message
    assert advice in message


def test_quoted_text_and_plain_numbers_pass(file):
    path = file('gnn: {a: "1e-3", b: "yes", c: -0.5, d: [1, 2], e: TRUE, f: 10, g: null}\n')
    assert params.section(path, "gnn") == {
        "a": "1e-3",
        "b": "yes",
        "c": -0.5,
        "d": [1, 2],
        "e": True,
        "f": 10,
        "g": None,
    }


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("gnn:\n  width: 1\n  width: 2\n", "line 3: 'width' is given twice"),
        ("gnn: [1, 2]\n", "a section is a mapping"),
        ("- gnn\n", "holds no sections"),
        ("", "holds no sections"),
        ("gnn: {width: 1\n", "is not YAML"),
        ("gnn: &a\n  self: *a\n", "line 2: *a is an alias"),
        ("gnn:\n  width: &a [*a]\n", "line 2: *a is an alias"),
        ("gnn:\n  ? [a]\n  : 1\n", "line 2: a key is a list or a mapping"),
        ("gnn:\n  width: {{ width }}\n", "line 2: a key is a list or a mapping"),
        ("gnn: {}\n1: {}\n", "line 2: the key 1 is no name"),
        ("gnn: {width: {~: 3}}\n", "line 1: the key ~ is no name"),
        ('gnn: {width: !!int "abc"}\n', "holds a value that cannot be read"),
        ('gnn: {width: !!timestamp "abc"}\n', "holds a value that cannot be read"),
        ('gnn: {width: !!bool "abc"}\n', "holds a value that cannot be read"),
        (f"gnn: {{width: {'9' * 5000}}}\n", "holds a value that cannot be read"),
        (f"gnn: {'[' * 1000}{']' * 1000}\n", "holds a value that cannot be read"),
        ("gnn: {collection: tile-xla}\n", "gnn.collection: holds for one run only"),
    ],
)
def test_broken_files(file, text, fault):
    assert fault in refused(file(text), "gnn")


def test_missing_file(tmp_path):
    assert "cannot be read" in refused(tmp_path / "params.yaml", "gnn")


def test_not_text(tmp_path):
    (tmp_path / "params.yaml").write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in refused(tmp_path / "params.yaml", "gnn")
