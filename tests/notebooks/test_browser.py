"""Every chapter opens in a real JupyterLab: mathematics rendered, figures shown with alt text; chapter 00 runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import sample
from browser import STEADY, Lab, opened
from playwright.sync_api import TimeoutError as NotInTime

from mmcook.chapters import chapters

FIRST = "00_start_here.ipynb"
RUN = 180_000  # ms until chapter 00 must have run
# JupyterLab gives a picture without alt text the alt text "Image", and an error the MIME type of stderr
PROBLEMS = r"""
({formulas, figures}) => {
  const root = document.querySelector('.jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook');
  if (!root) return ['the notebook did not open'];
  const found = [];
  const cells = [...root.querySelectorAll('.jp-Cell')];
  formulas.forEach((expected, i) => {
    const cell = cells[i];
    if (!cell) return found.push(`cell ${i + 1}: not drawn`);
    const shown = cell.querySelectorAll('.jp-RenderedMarkdown mjx-container').length;
    if (shown < expected) found.push(`cell ${i + 1}: ${shown} of ${expected} formulas rendered`);
  });
  cells.forEach((cell, i) => {
    for (const text of cell.querySelectorAll('.jp-RenderedMarkdown')) {
      const copy = text.cloneNode(true);
      copy.querySelectorAll('code, mjx-container').forEach(node => node.remove());
      if (copy.textContent.includes('$$')) found.push(`cell ${i + 1}: raw $$ in the text`);
    }
    const wrong = 'mjx-merror, [data-mjx-error], mjx-mtext[style*="red"]';
    if (cell.querySelector(wrong)) found.push(`cell ${i + 1}: a formula is broken`);
    for (const image of cell.querySelectorAll('.jp-OutputArea img, .jp-RenderedMarkdown img')) {
      if (!image.naturalWidth) found.push(`cell ${i + 1}: a figure is not loaded`);
      if (/^(image)?$/i.test(image.alt.trim())) found.push(`cell ${i + 1}: a figure has no alt text`);
    }
    const complaint = '[data-mime-type$="jupyter.error"], [data-mime-type$="jupyter.stderr"]';
    if (cell.querySelector(complaint)) found.push(`cell ${i + 1}: an error or stderr`);
  });
  const shown = root.querySelectorAll('.jp-OutputArea img').length;
  if (shown !== figures) found.push(`${shown} of ${figures} figures shown`);
  return found;
}
"""
START = """
async () => {
  const panel = jupyterapp.shell.currentWidget;
  await panel.context.ready;
  await panel.sessionContext.ready;
  await jupyterapp.commands.execute('notebook:clear-all-cell-outputs');
  void jupyterapp.commands.execute('notebook:run-all-cells');
}
"""
ENDED = """
() => {
  const panel = jupyterapp.shell.currentWidget;
  const code = panel.content.widgets.map(cell => cell.model).filter(model => model.type === 'code');
  const failed = code.some(model => model.sharedModel.getOutputs().some(output => output.output_type === 'error'));
  const idle = panel.sessionContext.session?.kernel?.status === 'idle';
  return failed || (idle && code.at(-1).executionCount === code.length);
}
"""
DONE = """
() => jupyterapp.shell.currentWidget.content.widgets.filter(cell => cell.model.executionCount).length
"""


def expectation(path: Path) -> dict[str, object]:
    """What a notebook's file says must be seen: the formulas of each cell, and the figures."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    pages = ["".join(output.get("data", {}).get("text/html", "")) for output in outputs]
    return {"formulas": [formulas(cell) for cell in cells], "figures": sum(page.count("<img ") for page in pages)}


def formulas(cell: dict) -> int:
    """How many formulas a Markdown cell holds."""
    text = "".join(cell["source"]) if cell["cell_type"] == "markdown" else ""
    text = re.sub(r"(?ms)^(```|~~~).*?^\1|`[^`\n]+`|\\\$", "", text)
    return len(re.findall(r"(?s)\$\$.+?\$\$|\$[^$]+\$", text))


def problems(page, expected: dict[str, object], timeout: int = STEADY) -> list[str]:
    """What is wrong with an opened notebook once it had the time to look right."""
    try:
        page.wait_for_function(f"expected => ({PROBLEMS})(expected).length === 0", arg=expected, timeout=timeout)
    except NotInTime:
        return page.evaluate(PROBLEMS, expected)
    return []


@pytest.mark.parametrize("chapter", [path.name for path in chapters()])
def test_chapter_looks_right(chapter, lab):
    path = lab.root / "notebooks" / chapter
    with opened(lab, path) as page:
        assert problems(page, expectation(path)) == []


def test_first_chapter_runs_to_its_end(lab):
    path = lab.root / "notebooks" / FIRST
    with opened(lab, path) as page:
        page.evaluate(START)
        try:
            page.wait_for_function(ENDED, timeout=RUN, polling=500)
        except NotInTime:
            pytest.fail(f"{FIRST} had run {page.evaluate(DONE)} cells after {RUN // 1000} s")
        assert problems(page, expectation(path)) == []
        summary = page.locator(".jp-Notebook .jp-CodeCell").last.inner_text()
    assert re.search(r"\b(\d+) of \1 claims hold at laptop scale", summary)


def test_small_chapter_passes_the_check(lab):
    path = write(lab, "good", sample.chapter())
    with opened(lab, path) as page:
        assert problems(page, expectation(path)) == []


def test_broken_chapter_is_refused(lab):
    notebook = sample.chapter()
    sample.cell(notebook, "title")["source"] += " $\\frac{1}{$ has no end."
    sample.cell(notebook, "mathematics")["source"] += "\n\n$\\nosuchcommand$"
    notebook["cells"] += [sample.markdown("argument", "$\\frac{1}$"), sample.markdown("raw", "$$ begins nothing")]
    pictures = sample.cell(notebook, "figures")["outputs"]
    pictures[0] = sample.show({"text/html": f'<img src="data:image/png;base64,{sample.pixel()}">'})
    pictures[1] = sample.show({"text/html": f'<img alt="{sample.ALT}" src="https://example.org/a.png">'})
    error = {"output_type": "error", "ename": "ClaimError", "evalue": "no", "traceback": ["ClaimError: no"]}
    sample.cell(notebook, "claims")["outputs"].append(error)
    sample.cell(notebook, "summary")["outputs"].append(sample.stream("a warning", "stderr"))
    path = write(lab, "bad", notebook)
    with opened(lab, path) as page:
        expected = expectation(path) | {"figures": 4}
        found = problems(page, expected, timeout=5_000)
    assert found == [
        "cell 1: 1 of 2 formulas rendered",
        "cell 4: a formula is broken",
        "cell 5: a figure has no alt text",
        "cell 5: a figure is not loaded",
        "cell 6: an error or stderr",
        "cell 7: an error or stderr",
        "cell 8: a formula is broken",
        "cell 9: raw $$ in the text",
        "3 of 4 figures shown",
    ]


def write(lab: Lab, name: str, notebook: dict) -> Path:
    """Put a notebook beside the copied chapters."""
    path = lab.root / "notebooks" / f"{name}.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path
