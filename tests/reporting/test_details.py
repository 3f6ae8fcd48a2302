"""What is folded away."""

from stages.reporting.details import folded


def test_the_summary_is_text_and_the_parts_are_html():
    assert folded("a < b", "<p>x</p>", "<p>y</p>") == ("<details><summary>a &lt; b</summary><p>x</p><p>y</p></details>")
