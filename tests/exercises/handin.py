"""What students hand in, made from the hand-outs and the solutions."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import nbformat

from mmcook.classroom.gradebook import NOTEBOOK, RELEASED, SOLUTIONS

HERE = Path(__file__).parent
ASSIGNMENTS = sorted(path.parent.name for path in SOLUTIONS.glob(f"*/{NOTEBOOK}"))


def read(folder: Path, assignment: str) -> nbformat.NotebookNode:
    """A notebook of an assignment."""
    return nbformat.read(folder / assignment / NOTEBOOK, as_version=4)


def marks(cell: nbformat.NotebookNode) -> dict:
    """What nbgrader's metadata say of a cell."""
    return cell.metadata.get("nbgrader", {"grade_id": "", "grade": False, "solution": False, "locked": False})


def answers(folder: Path, assignment: str) -> dict[str, str]:
    """The answer cells of a notebook by the name of their exercise."""
    cells = [cell for cell in read(folder, assignment).cells if marks(cell)["solution"]]
    return {marks(cell)["grade_id"].removesuffix("-answer"): cell.source for cell in cells}


def right(assignment: str) -> dict[str, str]:
    """The right answers."""
    return answers(SOLUTIONS, assignment)


def wrong(assignment: str) -> dict[tuple[str, str], tuple[str, str]]:
    """The wrong answers that are kept, by exercise and name: their code, and the reason that they must get."""
    found = {}
    for path in sorted((HERE / assignment).glob("*/*.py")):
        code = path.read_text(encoding="utf-8")
        found[path.parent.name, path.stem] = code, ast.get_docstring(ast.parse(code))
    return found


def notebook(assignment: str, written: dict[str, str]) -> nbformat.NotebookNode:
    """The hand-out with some answers written into it."""
    made = read(RELEASED, assignment)
    for cell in made.cells:
        if marks(cell)["solution"]:
            cell.source = written.get(marks(cell)["grade_id"].removesuffix("-answer"), cell.source)
    return made


def hand_in(made: nbformat.NotebookNode | bytes, submissions: Path, student: str, assignment: str) -> None:
    """Put a notebook, or any bytes, where the grader looks for it."""
    path = submissions / student / assignment / NOTEBOOK
    path.parent.mkdir(parents=True)
    path.write_bytes(made if isinstance(made, bytes) else json.dumps(made).encode())
