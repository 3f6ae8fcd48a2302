"""`make bundle`: models in one file that needs nothing else, has the same bytes every time, and is not believed."""

import hashlib
import io
import json
import shutil
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest
from safetensors.numpy import load, save

from stages import bundle as command
from stages import rank as rank_command
from stages.engine.errors import InputError
from stages.graphs.collection import slug
from stages.rank import rank
from stages.ranking import bundles, tree_text
from tests.support.pipeline import CHOSEN

TILE, LAYOUT = CHOSEN
PLACE = slug(LAYOUT)
NETWORK, TREES = f"gnn/{PLACE}/weights-0.safetensors", f"gbdt/{PLACE}/models/lambdarank-0-0.txt"
RIDGE, SCALER = f"gbdt/{PLACE}/models/ridge-0-0.json", f"pad/{PLACE}/scaler.json"
KNOBS = f"gnn/{PLACE}/parameters.json"


@pytest.fixture(scope="module")
def data(reproduced):
    """The data folder of the tiny pipeline; nothing writes there."""
    return reproduced[0] / "data"


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """A sound bundle."""
    path = tmp_path_factory.mktemp("bundle") / "bundle.zip"
    bundles.write(data, path)
    return path


def graph(data, collection):
    return data / "sample" / "npz_all" / "npz" / collection.replace(":", "/") / "test" / "test_0.npz"


def members(path):
    """Name -> content of a bundle's members, in their order."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def written(path, contents, compression=zipfile.ZIP_STORED):
    """A zip of these members; contents: mapping, or pairs where a name comes twice."""
    pairs = contents.items() if isinstance(contents, dict) else contents
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", compression) as archive:
        warnings.simplefilter("ignore")  # zipfile's, of two members of one name
        for name, content in pairs:
            archive.writestr(name, content)
    return path


def listed(contents):
    """The members with a bundle.json that says what they are now, as somebody who means harm writes it."""
    head = json.loads(contents[bundles.CONTENTS])
    head["members"] = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in contents.items()
        if name != bundles.CONTENTS
    }
    return contents | {bundles.CONTENTS: json.dumps(head).encode()}


def refused(path, data=None):
    """The line that refuses a bundle when it is opened or, with `data`, when its models are asked for."""
    with pytest.raises(InputError) as caught:
        if data is None:
            with bundles.unpacked(path):
                pass
        else:
            rank(graph(data, LAYOUT), path)
    line = str(caught.value)
    assert line.startswith(str(path)) and "\n" not in line
    assert "/models-" not in line  # not where it was unpacked to
    return line.removeprefix(f"{path}: ")


def test_the_same_models_give_the_same_bytes(data, whole, tmp_path):
    """Wherever they lie, and whenever they were written."""
    shutil.copytree(data, tmp_path / "elsewhere", ignore=shutil.ignore_patterns("sample"), copy_function=shutil.copy)
    bundles.write(tmp_path / "elsewhere", tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == whole.read_bytes()


def test_it_says_what_it_holds(data, whole):
    contents = members(whole)
    assert list(contents)[0] == bundles.CONTENTS
    head = json.loads(contents.pop(bundles.CONTENTS))
    assert head["collections"] == list(CHOSEN) and head["version"] == bundles.VERSION
    assert set(head["data"]) == set(CHOSEN) and len(set(head["data"].values())) == 2
    assert set(head["packages"]) == {"lightgbm", "numpy", "polars", "scipy", "torch"}
    assert {name: entry["sha256"] for name, entry in head["members"].items()} == {
        name: hashlib.sha256(content).hexdigest() for name, content in contents.items()
    }
    for name, content in contents.items():
        assert content == (data / name).read_bytes()
    kinds = {Path(name).suffix for name in contents}
    assert kinds == {".json", ".safetensors", ".txt"}  # and no pickle


def test_other_data_are_another_identity(data, whole, tmp_path):
    shutil.copytree(data, tmp_path / "data", ignore=shutil.ignore_patterns("sample"))
    file = tmp_path / "data" / "prune" / PLACE / "train" / "train_0.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\1")
    head = bundles.write(tmp_path / "data", tmp_path / "other.zip")
    before = json.loads(members(whole)[bundles.CONTENTS])["data"]
    assert head["data"][TILE] == before[TILE] and head["data"][LAYOUT] != before[LAYOUT]


@pytest.mark.parametrize("collection", CHOSEN)
def test_it_ranks_as_the_pipelines_folder_does(data, whole, tmp_path, monkeypatch, collection):
    expected = rank(graph(data, collection), data)
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(whole, alone / "models.zip")
    shutil.copy(graph(data, collection), alone / "mine.npz")
    monkeypatch.chdir(alone)
    table = rank("mine.npz", "models.zip", collection)
    assert table.drop("graph").equals(expected.drop("graph"))
    assert sorted(path.name for path in alone.iterdir()) == ["mine.npz", "models.zip"]


def test_the_commands(data, tmp_path, capsys):
    out = tmp_path / "new" / "bundle.zip"
    assert command.main(["--data", str(data), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: {out.stat().st_size:,} bytes, models of {', '.join(CHOSEN)}\n"
    assert [path.name for path in out.parent.iterdir()] == ["bundle.zip"]
    assert rank_command.main([str(graph(data, LAYOUT)), "--models", str(out)]) == 0
    shown = capsys.readouterr()
    assert shown.err == "" and f"ranked by the models of {LAYOUT}" in shown.out
    assert command.main(["--data", str(tmp_path), "--out", str(out)]) == 1
    assert capsys.readouterr().err == f"{tmp_path}: holds no trained models; run make repro, or give --models FILE\n"
    assert command.main(["--data", str(data), "--out", str(out / "below.zip")]) == 1
    assert "cannot be written" in capsys.readouterr().err
    out.write_bytes(out.read_bytes()[:-100])
    assert rank_command.main([str(graph(data, LAYOUT)), "--models", str(out)]) == 1
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1 and str(out) in shown.err


def test_a_bundle_of_other_code_says_so_and_ranks(data, whole, tmp_path, capsys):
    contents = members(whole)
    head = json.loads(contents[bundles.CONTENTS]) | {"code": "0" * 64}
    path = written(tmp_path / "other.zip", contents | {bundles.CONTENTS: json.dumps(head)})
    assert rank_command.main([str(graph(data, LAYOUT)), "--models", str(path)]) == 0
    assert capsys.readouterr().err == f"{path}: was made by other code than this, so its scores may be others\n"


@pytest.mark.parametrize("number", [0, 2, "1", True, None])
def test_another_format_version_is_refused_and_not_misread(whole, tmp_path, number):
    contents = members(whole)
    head = json.loads(contents[bundles.CONTENTS]) | {"version": number}
    path = written(tmp_path / "other.zip", contents | {bundles.CONTENTS: json.dumps(head)})
    assert f"is a bundle of format version {number!r}, and this code reads version 1; make it" in refused(path)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"\xff", b"{", b"[" * 100_000, b'{"format": "x"}', b'{"format": NaN}', b"null"]
)
def test_a_list_of_contents_that_is_none_is_refused(whole, tmp_path, content):
    path = written(tmp_path / "bad.zip", members(whole) | {bundles.CONTENTS: content})
    assert refused(path).startswith(f"{bundles.CONTENTS} is not what make bundle writes")


@pytest.mark.parametrize(
    "change",
    [
        {"collections": []},
        {"collections": ["tile:xla"] * 2},
        {"collections": [["tile:xla"]]},
        {"collections": ["tile:gpu"]},
        {"collections": None},
        {"members": []},
        {"members": {"a": {"sha256": "x"}}},
        {"members": {"a": 1}},
        {"data": None},
        {"code": 3},
    ],
)
def test_a_list_of_contents_of_another_form_is_refused(whole, tmp_path, change):
    contents = members(whole)
    head = json.loads(contents[bundles.CONTENTS]) | change
    path = written(tmp_path / "bad.zip", contents | {bundles.CONTENTS: json.dumps(head)})
    assert refused(path).startswith(f"{bundles.CONTENTS} is not what make bundle writes")


def test_what_is_no_bundle_is_refused(whole, tmp_path):
    content = whole.read_bytes()
    for name, part in {"cut": content[: len(content) // 2], "empty": b"", "text": b"models\n" * 50}.items():
        (tmp_path / name).write_bytes(part)
        assert refused(tmp_path / name).startswith("is no bundle or is cut off; take another copy")
    np.save(tmp_path / "array.npy", np.zeros(3))
    assert "is a single array and no bundle" in refused(tmp_path / "array.npy")
    assert "is no bundle: it has no bundle.json" in refused(written(tmp_path / "other.zip", {"a": b"b"}))
    assert "no such file; give --models a bundle" in refused(tmp_path / "absent.zip")


NAMES = [
    "../escaped",
    "/tmp/escaped",
    f"gnn/{PLACE}/../../../escaped",
    "gnn\\..\\escaped",
    f"gnn/{PLACE}/weights-0.safetensors\n",
    f"gnn/{PLACE}/weights-\u0661.safetensors",
    f"gnn/{PLACE}/weights-0.pickle",
    "gnn/layout-gpu-random/parameters.json",
    "blend/",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_no_bundle_has_is_never_written(whole, tmp_path, name):
    escaped = written(tmp_path / "bad.zip", listed(members(whole) | {name: b"x"}))
    line = refused(escaped)
    assert line.startswith("has a member ") and "as no bundle has" in line
    assert [path.name for path in tmp_path.iterdir()] == ["bad.zip"] and not Path("/tmp/escaped").exists()


def test_members_that_lack_or_are_too_many_are_refused(whole, tmp_path):
    contents = members(whole)
    path = tmp_path / "bad.zip"
    without = {name: content for name, content in contents.items() if name != NETWORK}
    assert refused(written(path, without)).startswith(f"{NETWORK} is missing")
    more = f"gnn/{PLACE}/weights-7.safetensors"
    extra = contents | {more: contents[NETWORK]}
    assert refused(written(path, extra)).startswith(f"{more} is not listed in bundle.json")
    assert refused(written(path, listed(extra))).startswith(f"{more} belongs to no model")
    twice = [*contents.items(), (NETWORK, contents[NETWORK])]
    assert refused(written(path, twice)).startswith("has two members of one name")


@pytest.mark.parametrize("name", [NETWORK, TREES, RIDGE, SCALER, KNOBS, "blend/weights.json"])
def test_a_bundle_that_lacks_a_file_and_does_not_list_it_is_refused(data, whole, tmp_path, name):
    contents = {other: content for other, content in members(whole).items() if other != name}
    line = refused(written(tmp_path / "bad.zip", listed(contents)), data)
    assert name.removesuffix(".json").removesuffix(".txt") in line


def test_what_is_not_what_its_hash_says_is_refused(whole, tmp_path):
    contents = members(whole)
    changed = contents[NETWORK][:-1] + bytes([contents[NETWORK][-1] ^ 1])
    path = written(tmp_path / "bad.zip", contents | {NETWORK: changed})
    assert refused(path).startswith(f"{NETWORK} is not what bundle.json says: its hash is another")


def test_a_flipped_bit_is_refused_or_changes_nothing(whole, tmp_path):
    content, path = whole.read_bytes(), tmp_path / "flipped.zip"
    rng = np.random.default_rng(0)
    refusals = 0
    for _ in range(60):
        flipped = bytearray(content)
        flipped[rng.integers(len(content))] ^= 1 << rng.integers(8)
        path.write_bytes(flipped)
        try:
            with bundles.unpacked(path) as folder:
                names = [name for name in members(whole) if name != bundles.CONTENTS]
                assert all((folder / name).read_bytes() == members(whole)[name] for name in names)
        except InputError as error:
            refusals += "\n" not in str(error)
    assert refusals > 40  # the others were flipped where no reader looks: dates and rights


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compressed_member_is_not_inflated(whole, tmp_path, compression):
    bomb = bytes(50_000_000)
    path = written(tmp_path / "bomb.zip", listed(members(whole) | {NETWORK: bomb}), compression)
    del bomb
    assert path.stat().st_size < 1_000_000
    tracemalloc.start()
    assert refused(path).startswith("bundle.json is compressed, as nothing in a bundle is")
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_a_member_larger_than_any_model_is_not_read(whole, monkeypatch):
    monkeypatch.setattr(bundles, "LARGEST_MEMBER", 1000)
    assert "bytes, more than 1000; take another copy" in refused(whole)


def test_members_that_overlap_are_refused(whole, tmp_path):
    """Two entries of the zip's directory that lead to one place, as bombs without compression have them."""
    content = bytearray(whole.read_bytes())
    with zipfile.ZipFile(whole) as archive:
        first, second = archive.infolist()[1:3]
    place = content.rindex(second.filename.encode()) - 46 + 42  # of the entry's offset
    content[place : place + 4] = first.header_offset.to_bytes(4, "little")
    (tmp_path / "bad.zip").write_bytes(content)
    assert refused(tmp_path / "bad.zip").startswith("has members that overlap")


def weights(contents, change):
    tensors = load(contents[NETWORK])
    name = sorted(tensors)[0]
    return save(change(dict(tensors), name))


def changed(**values):
    return lambda contents, name: json.dumps(json.loads(contents[name]) | values).encode()


HOSTILE = {
    "weights NaN": (
        NETWORK,
        lambda c, _: weights(c, lambda t, n: t | {n: np.full_like(t[n], np.nan)}),
        "NaN or infinite",
    ),
    "weights infinite": (
        NETWORK,
        lambda c, _: weights(c, lambda t, n: t | {n: np.full_like(t[n], np.inf)}),
        "NaN or infinite",
    ),
    "weights of another shape": (
        NETWORK,
        lambda c, _: weights(c, lambda t, n: t | {n: np.zeros((3, *t[n].shape), np.float32)}),
        "and the network's is",
    ),
    "weights of another kind": (
        NETWORK,
        lambda c, _: weights(c, lambda t, n: t | {n: t[n].astype(np.float64)}),
        "and the network's is",
    ),
    "a tensor less": (NETWORK, lambda c, _: weights(c, lambda t, n: t.pop(n) is None or t), "lacks a tensor"),
    "a tensor more": (NETWORK, lambda c, _: weights(c, lambda t, n: t | {"zz": t[n]}), "has a tensor 'zz'"),
    "no weights": (NETWORK, lambda c, n: c[n][:50], "is no safetensors file or is cut off"),
    "a pickle": (NETWORK, lambda c, n: b"cos\nmkdir\n(S'executed'\ntR.", "is no safetensors file or is cut off"),
    "endless layers": (KNOBS, changed(layers=10**12), "too few for 1000000000000 layers"),
    "endless width": (KNOBS, changed(width=10**12), "too few for 1 layers 1000000000000 wide"),
    "another width": (KNOBS, changed(width=16), "and the network's is"),
    "endless seeds": (KNOBS, changed(seeds=10**12), "claims 1000000000000 seeds, more than 1000"),
    "endless permutations": (KNOBS, changed(permutations=10**12), "claims 1000000000000 permutations"),
    "seeds that lack": (KNOBS, changed(seeds=3), "weights-2.safetensors: cannot be read"),
    "an unknown knob": (KNOBS, changed(colour=1), "does not hold what its stage writes"),
    "a knob of another type": (KNOBS, changed(width="8"), "expected int"),
    "of another collection": (KNOBS, changed(collection=TILE), "does not hold what its stage writes"),
    "endless folds": (f"gbdt/{PLACE}/parameters.json", changed(folds=10**12), "folds"),
    "more folds": (
        f"prune/{PLACE}/manifest.json",
        changed(graphs={"train": [{"id": id} for id in ("alpha", "beta", "gamma")], "valid": []}),
        "lambdarank-0-2.txt: no such file",
    ),
    "no tree": (TREES, lambda c, n: b"tree\n", "is no LightGBM model as the pipeline writes it (no header)"),
    "a tree that is no text": (TREES, lambda c, n: b"\xff\xfe", "is no LightGBM model as the pipeline writes it"),
    "a tree cut off": (TREES, lambda c, n: c[n][: c[n].index(b"end of trees")], "is no LightGBM model"),
    "an infinite leaf": (TREES, lambda c, n: c[n].replace(b"leaf_value=0\n", b"leaf_value=inf\n", 1), "LightGBM model"),
    "a ridge NaN": (RIDGE, lambda c, n: c[n].replace(b": 0.0", b": NaN", 1), "does not hold what its stage writes"),
    "a ridge infinite": (RIDGE, lambda c, n: c[n].replace(b": 0.0", b": 1e999", 1), "no finite number"),
    "a ridge of texts": (RIDGE, lambda c, n: c[n].replace(b": 0.0", b': "a"', 1), "no finite number"),
    "a ridge of another column": (RIDGE, changed(colour=1), "weights of other statistics"),
    "a scaler of another length": (
        SCALER,
        changed(node={"columns": [1], "mean": [], "deviation": [1.0]}),
        "does not hold what its stage writes",
    ),
    "a scaler beyond the columns": (
        SCALER,
        changed(node={"columns": [140], "mean": [0.0], "deviation": [1.0]}),
        "does not hold what its stage writes",
    ),
    "a scaler that divides by 0": (
        SCALER,
        changed(node={"columns": [1], "mean": [0.0], "deviation": [0.0]}),
        "does not hold what its stage writes",
    ),
    "a scaler of fewer columns": (
        SCALER,
        changed(node={"columns": [1], "mean": [0.0], "deviation": [1.0]}),
        "and the network's is",
    ),
    "other padding": (SCALER, changed(layout_padding=3), "does not hold what its stage writes"),
    "no graphs": (f"prune/{PLACE}/manifest.json", changed(graphs=3), "does not hold what its stage writes"),
    "a graph without a name": (
        f"prune/{PLACE}/manifest.json",
        changed(graphs={"train": [{"id": "../a"}], "valid": []}),
        "does not hold what its stage writes",
    ),
    "other pruning": (f"prune/{PLACE}/manifest.json", changed(hops="far"), "'far' is neither"),
    "a blend of nothing": ("blend/weights.json", changed(**{LAYOUT: {"rule": "rank", "weights": {}}}), "weights.json"),
    "a blend of others": (
        "blend/weights.json",
        changed(**{LAYOUT: {"rule": "rank", "weights": {"gpt": 1.0}}}),
        "weights.json",
    ),
    "a blend by no rule": (
        "blend/weights.json",
        changed(**{LAYOUT: {"rule": "best", "weights": {"gnn": 1.0}}}),
        "weights.json",
    ),
    "a blend beyond 1": (
        "blend/weights.json",
        changed(**{LAYOUT: {"rule": "rank", "weights": {"gnn": 9.0, "gbdt": -8.0}}}),
        "weights.json",
    ),
    "other collections": ("blend/weights.json", lambda c, n: b'{"tile:gpu": {}}', "names other collections"),
}


@pytest.mark.parametrize("fault", HOSTILE)
def test_a_member_that_means_harm_is_refused_though_its_hash_fits(data, whole, tmp_path, monkeypatch, fault):
    monkeypatch.chdir(tmp_path)
    name, change, message = HOSTILE[fault]
    contents = members(whole)
    harmful = change(contents, name)
    assert harmful != contents[name]
    line = refused(written(tmp_path / "bad.zip", listed(contents | {name: harmful})), data)
    assert message in line
    assert [path.name for path in tmp_path.iterdir()] == ["bad.zip"]


@pytest.fixture(scope="module")
def model():
    """LightGBM's text of a model of real trees, and the names of its columns."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(300, 3))
    names = ["one", "two", "three"]
    options = {"objective": "regression", "num_leaves": 6, "min_data_in_leaf": 5, "verbosity": -1, "num_threads": 1}
    booster = lgb.train(options, lgb.Dataset(values, values @ [1, 2, 3], feature_name=names), 4)
    return booster.model_to_string(), names


def line_of(text, name, tree=1):
    """A line of a tree, and the same with other values."""
    start = text.index(f"\n{name}=", text.index(f"Tree={tree}\n")) + 1
    return text[start : text.index("\n", start)]


def numbers(text, name, change):
    """The text with other numbers in one line, and the size of the tree put right."""
    line = line_of(text, name)
    values = line.partition("=")[2].split(" ")
    return sized(text, text.replace(line, f"{name}={' '.join(map(str, change(values)))}", 1))


def sized(before, after):
    """The text with the size of the second tree put right."""
    line = next(line for line in after.split("\n") if line.startswith("tree_sizes="))
    sizes = list(map(int, line.partition("=")[2].split(" ")))
    sizes[1] += len(after) - len(before)
    return after.replace(line, f"tree_sizes={' '.join(map(str, sizes))}", 1)


def test_a_model_as_lightgbm_writes_it_is_taken(model):
    text, names = model
    tree_text.check(text, "pointwise", names)


TEXTS = {
    "a column beyond the last": lambda t: numbers(t, "split_feature", lambda v: ["99", *v[1:]]),
    "a column before the first": lambda t: numbers(t, "split_feature", lambda v: ["-1", *v[1:]]),
    "a child that is the first node": lambda t: numbers(t, "left_child", lambda v: ["0", *v[1:]]),
    "a child twice": lambda t: numbers(t, "right_child", lambda v: [v[1], *v[1:]]),
    "a leaf beyond the last": lambda t: numbers(t, "right_child", lambda v: [*v[:-1], "-99"]),
    "too few children": lambda t: numbers(t, "left_child", lambda v: v[1:]),
    "too many leaves": lambda t: numbers(t, "num_leaves", lambda v: [10**9]),
    "no leaf": lambda t: numbers(t, "num_leaves", lambda v: [0]),
    "a leaf NaN": lambda t: numbers(t, "leaf_value", lambda v: ["nan", *v[1:]]),
    "a leaf too many": lambda t: numbers(t, "leaf_value", lambda v: ["1", *v]),
    "an infinite threshold": lambda t: numbers(t, "threshold", lambda v: ["inf", *v[1:]]),
    "an infinite shrinkage": lambda t: numbers(t, "shrinkage", lambda v: ["1e999"]),
    "a category": lambda t: numbers(t, "decision_type", lambda v: ["1", *v[1:]]),
    "categories": lambda t: numbers(t, "num_cat", lambda v: ["1"]),
    "linear leaves": lambda t: numbers(t, "is_linear", lambda v: ["1"]),
    "a number that is a word": lambda t: numbers(t, "left_child", lambda v: ["one", *v[1:]]),
    "a number beyond int64": lambda t: numbers(t, "left_child", lambda v: [str(2**70), *v[1:]]),
    "a wrong size": lambda t: sized(t + " ", t),
    "a size below 0": lambda t: t.replace("tree_sizes=", "tree_sizes=-", 1),
    "a tree more": lambda t: t.replace("tree_sizes=", "tree_sizes=0 ", 1),
    "a tree less": lambda t: t[: t.index("Tree=3\n")] + t[t.index("end of trees") :],
    "another line": lambda t: sized(t, t.replace("\nis_linear=0\n", "\nis_linear=0\ncat_threshold=1\n", 1)),
    "another head": lambda t: t.replace("num_class=1\n", "num_class=1\naverage_output\n", 1),
    "classes": lambda t: t.replace("num_class=1\n", "num_class=2\n", 1),
    "another version": lambda t: t.replace("version=v4", "version=v3", 1),
    "another objective": lambda t: t.replace("objective=regression", "objective=binary sigmoid:1", 1),
    "more columns": lambda t: t.replace("max_feature_idx=2", "max_feature_idx=200", 1),
    "other columns": lambda t: t.replace("feature_names=one", "feature_names=ten", 1),
    "no end": lambda t: t.replace("end of trees", "end of frees", 1),
    "categories at the end": lambda t: t.replace("pandas_categorical:null", 'pandas_categorical:[["a"]]', 1),
}


@pytest.mark.parametrize("fault", TEXTS)
def test_a_model_that_lightgbm_would_believe_is_refused(model, fault):
    text, names = model
    harmful = TEXTS[fault](text)
    assert harmful != text
    with pytest.raises((ValueError, KeyError, IndexError, OverflowError)):
        tree_text.check(harmful, "pointwise", names)


def test_a_model_of_another_objective_is_refused(model):
    text, names = model
    with pytest.raises(ValueError, match="objective 'regression'"):
        tree_text.check(text, "pairwise", names)


def test_a_sound_bundle_is_no_larger_than_its_models(whole):
    contents = members(whole)
    with zipfile.ZipFile(whole) as archive:
        assert all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
        assert {entry.date_time for entry in archive.infolist()} == {bundles.EPOCH}
    assert len(whole.read_bytes()) < sum(map(len, contents.values())) + 300 * len(contents)
    assert io.BytesIO(whole.read_bytes()).getvalue().startswith(b"PK")
