"""nbgrader's part: what a student receives, the database of grades, the feedback. It never runs anybody's code."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sysconfig
import tempfile
import unittest.mock
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmcook.course import REPOSITORY

SOLUTIONS = REPOSITORY / "notebooks" / "solutions"
RELEASED = REPOSITORY / "notebooks" / "exercises"
NOTEBOOK = "exercises.ipynb"


@dataclass(frozen=True)
class Grade:
    """The marks that the database holds for one exercise of one student."""

    student: str
    assignment: str
    exercise: str
    score: float
    most: float


class Gradebook:
    """A fresh nbgrader course in an empty folder.

    Args:
        folder: where the course lives; ``gradebook.db`` in it is the database.
        sources: the folder of the source notebooks, ``NN_name/exercises.ipynb``.
    Raises: ValueError when there are no sources.
    """

    def __init__(self, folder: Path, sources: Path = SOLUTIONS) -> None:
        """Copy the sources into the folder and let nbgrader make of them what students receive."""
        self.folder = folder
        self.sources = {path.parent.name: path for path in sorted(sources.glob(f"*/{NOTEBOOK}"))}
        if not self.sources:
            raise ValueError(f"no exercises under {sources}; expected NN_name/{NOTEBOOK}")
        self._api = _nbgrader(folder)
        for name, source in self.sources.items():
            (folder / "source" / name).mkdir(parents=True)
            shutil.copyfile(source, folder / "source" / name / NOTEBOOK)
            with _own_programs():
                _demand(self._api.generate_assignment(name), f"generating {name}")

    def released(self, assignment: str) -> Path:
        """The notebook that a student receives."""
        return self.folder / "release" / assignment / NOTEBOOK

    def record(self, assignment: str, executed: dict[str, str]) -> None:
        """Enter the marks of an assignment and write its feedback.

        Args:
            assignment: its name.
            executed: for each student, the notebook as it was run and judged.
        """
        for student, text in executed.items():
            path = self.folder / "submitted" / student / assignment / NOTEBOOK
            path.parent.mkdir(parents=True)
            path.write_text(text, encoding="utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SQLAlchemy's about nbgrader's own habits
            _demand(self._api.autograde(assignment, "*"), f"recording {assignment}")
            _demand(self._api.generate_feedback(assignment, "*"), f"writing the feedback on {assignment}")

    def feedback(self, student: str, assignment: str) -> Path:
        """The page with a student's notebook, marks and reasons."""
        return (self.folder / "feedback" / student / assignment / NOTEBOOK).with_suffix(".html")

    def grades(self) -> list[Grade]:
        """All marks, by student, assignment and order of the exercises."""
        from nbgrader.api import Gradebook as Database

        with Database(f"sqlite:///{self.folder / 'gradebook.db'}") as database:
            return [
                Grade(submission.student.id, submission.assignment.name, grade.name, grade.auto_score, grade.max_score)
                for assignment in database.assignments
                for submission in assignment.submissions
                for notebook in submission.notebooks
                for grade in notebook.grades
            ]


def release(target: Path = RELEASED, sources: Path = SOLUTIONS) -> list[Path]:
    """Write what students receive: the sources without solutions and hidden tests.

    Returns: the files; the same sources give the same bytes.
    """
    with tempfile.TemporaryDirectory() as folder:
        book = Gradebook(Path(folder).resolve(), sources)
        written = []
        for name in book.sources:
            (target / name).mkdir(parents=True, exist_ok=True)
            written.append(Path(shutil.copyfile(book.released(name), target / name / NOTEBOOK)))
    return written


def _nbgrader(folder: Path) -> Any:
    """nbgrader over a folder: the marks come from the outputs that the judge wrote; nothing is executed.

    Raises: ValueError when nbgrader is not installed.
    """
    try:
        from nbgrader.apps import NbGraderAPI
        from nbgrader.preprocessors import CheckCellMetadata, SaveAutoGrades
    except ImportError as missing:
        raise ValueError(f"{missing.name} is not installed; pip install 'mmcook[classroom]'") from None
    from traitlets.config import Config

    config = Config()
    config.CourseDirectory.root = str(folder)
    config.CourseDirectory.db_url = f"sqlite:///{folder / 'gradebook.db'}"
    config.Autograde.sanitize_preprocessors = [CheckCellMetadata]
    config.Autograde.autograde_preprocessors = [SaveAutoGrades]
    config.HTMLExporter.sanitize_html = True  # a page of a student's must not run a script at the teacher's
    logging.getLogger("traitlets").setLevel(logging.CRITICAL)
    return NbGraderAPI(config=config)


def _own_programs() -> contextlib.AbstractContextManager[Any]:
    """This environment's programs first on the path: nbgrader calls ``alembic`` by its bare name."""
    paths = [sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)]
    return unittest.mock.patch.dict(os.environ, {"PATH": os.pathsep.join(paths)})


def _demand(result: dict[str, Any], what: str) -> None:
    """Go on only if nbgrader did.

    Raises: ValueError with the end of nbgrader's log.
    """
    if not result["success"]:
        raise ValueError(f"nbgrader failed in {what}:\n{(result['log'] or result['error'])[-2000:]}")
