"""Nothing in, a picture of the example notebook out: its cells run by a kernel, shown as Jupyter's own export does."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from browser import launched
from paint import save

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "examples" / "notebook" / "notebook.ipynb"
SHOWN = slice(2, 6)
"""The cells that are on the picture."""
FORMULA = r", $F \\propto M / r^3$"
"""It is left out: Jupyter draws formulas by MathJax, which an export would fetch from elsewhere."""


def notebook(path: Path) -> None:
    """Show two answers in a notebook: Markdown, thoughts, a call of a tool, figures."""
    import nbformat
    from nbclient import NotebookClient
    from nbconvert import HTMLExporter

    book = nbformat.read(NOTEBOOK, as_version=4)
    book.cells[1].source = book.cells[1].source.replace(FORMULA, "")
    with TemporaryDirectory() as name:
        env = {**os.environ, "PYTHONPATH": str(ROOT), "IPYTHONDIR": name, "JUPYTER_RUNTIME_DIR": name}
        NotebookClient(book, timeout=60, kernel_name="python3").execute(cwd=str(NOTEBOOK.parent), env=env)
        book.cells = book.cells[SHOWN]
        page, _ = HTMLExporter(template_name="lab").from_notebook_node(book)
        for browser in launched():
            tab = browser.new_page(viewport={"width": 860, "height": 900}, device_scale_factor=1.5)
            tab.route("**/*", lambda route: route.abort())
            tab.set_content(page, wait_until="domcontentloaded")
            tab.locator("details").first.evaluate("each => each.open = true")
            save(tab.locator("main").screenshot(animations="disabled"), path, colours=96)


PICTURES = {"notebook.png": notebook}
