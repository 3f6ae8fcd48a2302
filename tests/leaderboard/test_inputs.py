"""Files that are absent or do not fit are named."""

import shutil

import pytest

from stages.blend import stage as blend
from stages.engine.errors import InputError
from tests.support.ranking import (
    MEMBERS,
)


def test_a_solution_of_other_configurations_is_refused(run, made, tmp_path):
    text = (made / "solution.csv").read_text()
    path = tmp_path / "short.csv"
    path.write_text(text[: text.rindex(";")] + "\n")
    with pytest.raises(InputError, match="short.csv: 7 run times of layout:nlp:default:test_3, which has 8"):
        run(solution=str(path))
    assert not (tmp_path / "reports").exists()


def test_programs_without_a_column_are_refused(run, made, tmp_path):
    path = tmp_path / "programs.csv"
    path.write_text((made / "programs.csv").read_text().replace("ceiling", "roof", 1))
    with pytest.raises(InputError, match="programs.csv: not a CSV with the columns"):
        run(programs=str(path))


@pytest.mark.parametrize("stage", ["gnn", "blend"])
def test_an_absent_member_names_the_stage_to_run(run, made, stage):
    file = made / "data" / stage / ("scores.parquet" if stage == "blend" else "tile-xla/scores.parquet")
    hidden = file.rename(file.with_suffix(".hidden"))
    try:
        with pytest.raises(InputError, match=f"not there; run the {stage} stage for tile:xla"):
            run()
    finally:
        hidden.rename(file)


def test_a_blend_of_other_collections_names_the_one_to_run(run, made, tmp_path):
    shutil.copytree(made, tmp_path / "some")
    blend.run(collections=["layout:nlp:random"], members=MEMBERS, data=str(tmp_path / "some" / "data"))
    with pytest.raises(InputError, match="weights.json: holds no tile:xla; run the blend stage with it"):
        run(tmp_path / "some")
    (tmp_path / "some" / "data" / "blend" / "weights.json").write_text("{")
    with pytest.raises(InputError, match="weights.json: not there or damaged; run the blend stage for tile:xla"):
        run(tmp_path / "some")
