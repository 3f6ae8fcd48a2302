"""An executed notebook as one HTML page: code hidden, nothing loaded from anywhere, the same bytes every time."""

import html as escape

import nbformat
from nbconvert import HTMLExporter

# The page says itself that it may load nothing, so that a report opened offline is the report.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:"
_STYLE = """
:root { color-scheme: light; }
body { margin: 2rem auto; max-width: 60rem; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif; color: #222; }
h1, h2, h3 { line-height: 1.2; margin: 1.6em 0 0.5em; }
h1 { margin-top: 0; }
pre, code { font: 13px/1.45 ui-monospace, monospace; }
pre { overflow-x: auto; background: #f6f6f6; padding: 0.6rem 0.8rem; border-radius: 4px; }
img, svg { max-width: 100%; height: auto; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; margin: 0.8rem 0; }
th, td { border-bottom: 1px solid #ddd; padding: 0.25rem 0.7rem; text-align: right; }
th:first-child, td:first-child { text-align: left; }
.output_html, .output_subarea { overflow-x: auto; }
.anchor-link { display: none; }
"""
_WIDGET = "application/vnd.jupyter.widget-view+json"


def html(notebook: nbformat.NotebookNode, title: str) -> str:
    """Return the page: markdown and results without code, prompts, progress lines (stderr) or scripts.

    Byte-stable: a notebook with the same results gives the same page, whenever and in how long it ran. Standard error
    is left out because progress lines carry times; the console showed them.
    """
    exporter = HTMLExporter(template_name="basic", exclude_input=True)
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    body, _ = exporter.from_notebook_node(_bare(notebook))
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body.strip()}\n"
        f"</body>\n</html>\n"
    )


def _bare(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return a copy with what a reader sees and nothing of how, when or where it ran."""
    cells = []
    for cell in notebook.cells:
        name = f"cell-{len(cells):02d}"
        if cell.cell_type == "markdown":
            cells.append(nbformat.v4.new_markdown_cell(cell.source, id=name))
        elif cell.cell_type == "code" and (outputs := [shown for shown in map(_shown, cell.outputs) if shown]):
            cells.append(nbformat.v4.new_code_cell("", id=name, outputs=outputs))
    return nbformat.v4.new_notebook(cells=cells)


def _shown(output: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    """Return the output as the page shows it; None for standard error and for widgets without a static form."""
    if output.output_type == "stream":
        return output if output.name == "stdout" else None
    if output.output_type in ("display_data", "execute_result"):
        data = {kind: content for kind, content in output.data.items() if "javascript" not in kind and kind != _WIDGET}
        return nbformat.v4.new_output("display_data", data=data) if data else None
    return None
