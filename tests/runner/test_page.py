import nbformat

from stages.runner import page


def test_widgets_and_prompts_are_left_out_of_the_page():
    widget = nbformat.v4.new_output("display_data", data={"application/vnd.jupyter.widget-view+json": {}})
    result = nbformat.v4.new_output("execute_result", data={"text/plain": "forty-two"}, execution_count=9)
    cell = nbformat.v4.new_code_cell("secret", outputs=[widget, result], execution_count=9)
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"widgets": {"state": {}}})
    shown = page.html(notebook, "a <title>")
    assert "forty-two" in shown and "a &lt;title&gt;" in shown
    assert "widget" not in shown and "secret" not in shown and "[9]" not in shown
