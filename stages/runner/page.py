"""Renders an executed notebook as one HTML page that hides code, loads nothing, and has the same bytes every time."""

import html as escape
from collections.abc import Mapping

import nbformat
from nbconvert import HTMLExporter

# The page forbids itself to load anything, so a report looks the same without a network.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:"
_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #222; --faint: #595959; --line: #d8d8d8; --box: #f5f5f5;
  --link: #0b5394; }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; font: 16px/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--paper); overflow-wrap: break-word; }
h1, h2, h3 { line-height: 1.2; margin: 1.6em 0 0.5em; }
h1 { margin-top: 0; font-size: 1.8rem; }
a { color: var(--link); }
nav { font-size: 14px; margin-bottom: 0.8rem; }
pre, code { font: 13px/1.45 ui-monospace, monospace; }
pre { overflow-x: auto; background: var(--box); padding: 0.6rem 0.8rem; border-radius: 4px; }
img { max-width: 100%; height: auto; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; margin: 0.8rem 0; }
th, td { border-bottom: 1px solid var(--line); padding: 0.25rem 0.7rem; text-align: right; }
th:first-child, td:first-child, .words { text-align: left; }
.dense { font-size: 13px; }
.dense th, .dense td { padding: 0.2rem 0.3rem; }
.output_html, .output_subarea { overflow-x: auto; }
.anchor-link { display: none; }
.label { color: var(--faint); font-size: 14px; }
details { margin: 0.6rem 0; }
summary { cursor: pointer; color: var(--link); font-size: 15px; }
.answers { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); gap: 0.6rem; }
.answers section { background: var(--box); border-radius: 6px; padding: 0.6rem 0.9rem; font-size: 14.5px;
  line-height: 1.4; }
.answers h2 { font-size: 1rem; margin: 0 0 0.2rem; }
.answers p { margin: 0; }
.answers strong { font-size: 1.15em; }
.pages { font-size: 14px; line-height: 1.6; margin: 0.6rem 0; }
.pages dt { float: left; clear: left; min-width: 7rem; color: var(--faint); }
.pages dd { margin: 0 0 0 7rem; }
@media screen and (prefers-color-scheme: dark) {
  :root { --paper: #1f1f1f; --ink: #e4e4e4; --faint: #a8a8a8; --line: #444; --box: #2b2b2b; --link: #8ab4f8; }
  img { filter: invert(0.88) hue-rotate(180deg); }
}
@media screen and (max-width: 600px) {
  th, td { padding: 0.25rem 0.4rem; }
  .pages dt { float: none; }
  .pages dd { margin: 0; }
  .blocks, .blocks tbody { display: block; }
  .blocks thead { display: none; }
  .blocks tr { display: grid; grid-template-columns: 1fr 1fr; border-bottom: 1px solid var(--line);
    padding: 0.3rem 0; }
  .long tr { grid-template-columns: 1fr; }
  .blocks td { border: none; text-align: left; padding: 0.1rem 0.4rem; }
  .long td[data-name]:not(.words) { display: flex; justify-content: space-between; gap: 0.6rem; }
  .blocks td:first-child, .blocks .words { grid-column: 1 / -1; }
  .blocks td:first-child { font-weight: bold; }
  .blocks td[data-name]::before { content: attr(data-name) " "; color: var(--faint); }
}
@media print {
  body { max-width: none; padding: 0; font-size: 10.5pt; }
  nav { display: none; }
  h1, h2, h3 { break-after: avoid; }
  img, tr, section { break-inside: avoid; }
  .output_html, .output_subarea, pre { overflow: visible; }
  details::details-content { content-visibility: visible; }
  table { font-size: 8.5pt; }
  th, td { padding: 0.15rem 0.3rem; }
}
"""
_WIDGET = "application/vnd.jupyter.widget-view+json"


def html(notebook: nbformat.NotebookNode, title: str, links: Mapping[str, str] | None = None) -> str:
    """Renders markdown and results, without code, prompts, scripts or standard error.

    A notebook with the same results gives the same bytes, whenever and however long it ran. Standard error is left out
    because progress lines contain times; the console has shown them. Pictures are drawn on white. On a dark screen
    their lightness is inverted, and the hues stay.

    Args:
        notebook: executed.
        title: of the page.
        links: to which the page's first line leads: what a link says -> name of a file beside the page.

    Returns:
        The page.
    """
    exporter = HTMLExporter(template_name="basic", exclude_input=True)
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    body, _ = exporter.from_notebook_node(_bare(notebook))
    ways = [f'<a href="{escape.escape(file)}">{escape.escape(text)}</a>' for text, file in (links or {}).items()]
    nav = f"<nav>{' · '.join(ways)}</nav>\n" if ways else ""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{nav}<main>\n"
        f"{body.strip()}\n</main>\n</body>\n</html>\n"
    )


def _bare(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A copy with what a reader sees, and without how, when or where the notebook ran."""
    cells = []
    for cell in notebook.cells:
        name = f"cell-{len(cells):02d}"
        if cell.cell_type == "markdown":
            cells.append(nbformat.v4.new_markdown_cell(cell.source, id=name))
        elif cell.cell_type == "code" and (outputs := [output for output in map(_visible, cell.outputs) if output]):
            cells.append(nbformat.v4.new_code_cell("", id=name, outputs=outputs))
    return nbformat.v4.new_notebook(cells=cells)


def _visible(output: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    """The output as the page shows it; None for standard error and for widgets without a static form."""
    if output.output_type == "stream":
        return output if output.name == "stdout" else None
    if output.output_type in ("display_data", "execute_result"):
        data = {kind: content for kind, content in output.data.items() if "javascript" not in kind and kind != _WIDGET}
        return nbformat.v4.new_output("display_data", data=data) if data else None
    return None
