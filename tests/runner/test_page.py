import nbformat

from stages.runner import page, stage


def test_widgets_and_prompts_are_left_out_of_the_page():
    widget = nbformat.v4.new_output("display_data", data={"application/vnd.jupyter.widget-view+json": {}})
    result = nbformat.v4.new_output("execute_result", data={"text/plain": "forty-two"}, execution_count=9)
    cell = nbformat.v4.new_code_cell("secret", outputs=[widget, result], execution_count=9)
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"widgets": {"state": {}}})
    shown = page.html(notebook, "a <title>")
    assert "forty-two" in shown and "a &lt;title&gt;" in shown
    assert "widget" not in shown and "secret" not in shown and "[9]" not in shown


def test_the_first_line_links_to_the_front_page_and_along_the_story():
    assert stage.links("leaderboard", None) == {}
    assert stage.links("tune_gbdt", None) == {"Front page": "leaderboard.html"}
    assert stage.links("configuration", "tile:xla") == {
        "Front page": "leaderboard.html",
        "prune →": "prune-tile-xla.html",
    }
    assert stage.links("gbdt", "tile:xla") == {
        "Front page": "leaderboard.html",
        "← gnn": "gnn-tile-xla.html",
        "blend →": "blend.html",
    }
    assert stage.links("blend", None) == {"Front page": "leaderboard.html", "leaderboard →": "leaderboard.html"}
    shown = page.html(nbformat.v4.new_notebook(), "title", stage.links("gbdt", "tile:xla"))
    assert '<nav><a href="leaderboard.html">Front page</a> · <a href="gnn-tile-xla.html">← gnn</a> · ' in shown
    assert "<nav>" not in page.html(nbformat.v4.new_notebook(), "title")
