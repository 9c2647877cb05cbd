"""An exercise in a real JupyterLab: a wrong answer is told what is wrong with it, the right one passes."""

from __future__ import annotations

import handin
import pytest
from browser import Lab, opened

ASSIGNMENT = "00_start_here"
EXERCISE = "best_from_captions"
WAIT = 120_000  # ms
RUN_FIRST = """
async count => {
  const panel = jupyterapp.shell.currentWidget;
  await panel.context.ready;
  await panel.sessionContext.ready;
  const notebook = panel.content;
  for (let i = 0; i < count; i++) {
    notebook.activeCellIndex = i;
    notebook.deselectAll();
    await jupyterapp.commands.execute('notebook:run-cell');
  }
}
"""


def place(name: str) -> int:
    """The position of a cell in the hand-out."""
    names = [handin.marks(cell)["grade_id"] for cell in handin.read(handin.RELEASED, ASSIGNMENT).cells]
    return names.index(name)


def write(page, code: str) -> None:
    """Type an answer into its cell, as a student does."""
    cell = page.locator(".jp-Notebook .jp-Cell").nth(place(f"{EXERCISE}-answer")).locator(".cm-content")
    cell.click()
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.insert_text(code)


def check(page, says: str) -> str:
    """Run everything up to the check and wait for what it says."""
    page.evaluate(RUN_FIRST, place(EXERCISE) + 1)
    output = page.locator(".jp-Notebook .jp-Cell").nth(place(EXERCISE)).locator(".jp-OutputArea-output")
    output.filter(has_text=says).wait_for(timeout=WAIT)
    return output.inner_text()


@pytest.mark.parametrize("assignment", handin.ASSIGNMENTS)
def test_exercises_open_with_their_formulas(assignment, lab: Lab):
    with opened(lab, lab.root / "notebooks" / "exercises" / assignment / "exercises.ipynb") as page:
        page.wait_for_selector(".jp-RenderedMarkdown mjx-container", timeout=WAIT)
        assert page.locator("mjx-merror, [data-mjx-error]").count() == 0


def test_a_wrong_answer_is_explained_and_the_right_one_passes(lab: Lab, tmp_path):
    with opened(lab, lab.root / "notebooks" / "exercises" / ASSIGNMENT / "exercises.ipynb") as page:
        write(page, f"def {EXERCISE}(p, q):\n    return (1 - p) * (1 - q)")
        said = check(page, "Not yet:")
        assert said.strip() == "Not yet: A_w with a perfect leak is 0.5; expected 1"
        write(page, handin.right(ASSIGNMENT)[EXERCISE])
        said = check(page, "the visible checks pass")
        assert "Not yet" not in said
