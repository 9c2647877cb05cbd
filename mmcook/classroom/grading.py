"""From a folder of submissions to marks with reasons: every notebook in a kernel of its own, two at a time."""

from __future__ import annotations

import csv
import io
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, field, fields
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from mmcook.classroom import evidence, sandbox
from mmcook.classroom.gradebook import NOTEBOOK, SOLUTIONS, Gradebook
from mmcook.classroom.judging import Hidden, load_hidden
from mmcook.course import write_atomically

SEED_VARIABLE = "MMCOOK_GRADING_SEED"
WORKERS = 2
STUDENT_NAME = re.compile(r"\w[\w.@ -]*")
MOST_BYTES = 20 * 2**20  # of a file that is handed in
MOST_TEXT = 200_000  # characters in its cells
MOST_RESTARTS = 4
MOST_REASON = 500  # characters


class SubmissionError(ValueError):
    """What was handed in cannot be graded; the message is the reason for the student."""


@dataclass(frozen=True)
class Row:
    """A line of ``grades.csv``."""

    student: str
    assignment: str
    exercise: str
    score: float
    max: float
    reason: str


@dataclass(frozen=True)
class Written:
    """A cell that was handed in, with nothing but its text."""

    name: str  # the grade id; empty in a cell of the student's own
    code: bool
    text: str


@dataclass(frozen=True)
class Assignment:
    """What the grader knows of an assignment."""

    name: str
    released: NotebookNode
    hidden: dict[str, Hidden]


@dataclass(frozen=True)
class Grader:
    """How notebooks are run and judged.

    Args:
        seed: the private seed.
        sandboxed: whether kernels run in sandboxes.
        limits: what a notebook may use.
    """

    seed: str
    sandboxed: bool = True
    limits: sandbox.Limits = field(default_factory=sandbox.Limits)

    def judge(self, assignment: Assignment, path: Path, root: Path) -> tuple[str, dict[str, str | None]]:
        """Run a submission and judge it.

        Args:
            assignment: what it answers.
            path: the file that was handed in.
            root: the folder that it may not lead out of.
        Returns: the notebook with outputs and verdicts; for each exercise the reason for lost marks, or None.
        """
        try:
            notebook = rebuilt(assignment.released, read_submission(path, root))
            reasons = self._run(notebook, assignment.hidden)
        except SubmissionError as error:
            notebook = rebuilt(assignment.released, [])
            reasons = dict.fromkeys(assignment.hidden, str(error))
        except Exception as error:  # whatever it is, it must not spoil another student's marks
            words = f"not graded, since the grader failed ({type(error).__name__}: {error}); grade it again"
            reasons = dict.fromkeys(assignment.hidden, words[:MOST_REASON])
        for cell in notebook.cells:
            if (name := _name(cell)) in reasons:
                cell.outputs = [_verdict(reasons[name])]
        return clean(nbformat.writes(notebook)), reasons

    def _run(self, notebook: NotebookNode, hidden: dict[str, Hidden]) -> dict[str, str | None]:
        """Run all cells; in the place of a check, ask the student's function."""
        reasons: dict[str, str | None] = {}
        troubles: list[str] = []
        with Sitting(self.limits, sandboxed=self.sandboxed) as sitting:
            for cell in notebook.cells:
                if cell.cell_type != "code":
                    continue
                if (test := hidden.get(_name(cell))) is None:
                    ran = sitting.run(cell.source, again=True)
                    cell.outputs = [nbformat.from_dict(output) for output in ran.outputs]
                    troubles += [f"its cell {words}" for words in _troubles(ran)]
                else:
                    ran = sitting.run(evidence.questions(test.function, test.draw(self.seed)), again=False)
                    reasons[_name(cell)] = self._reason(test, ran, troubles)
                    troubles = []
        return reasons

    def _reason(self, test: Hidden, ran: sandbox.Ran, troubles: list[str]) -> str | None:
        """The verdict on an exercise, from the evidence alone; what went wrong before it explains it."""
        try:
            reason = test.verdict(self.seed, evidence.read(ran.evidence))
        except evidence.EvidenceError as error:
            reason = f"{test.function} {ran.trouble}" if ran.trouble else f"{test.function}: {error}"
        if reason is None:
            return None
        words = " ".join(f"{reason}; {'; '.join(troubles)}".split() if troubles else reason.split())
        return words if len(words) <= MOST_REASON else f"{words[:MOST_REASON]}…"


class Sitting:
    """A notebook being run: its kernel, and what to run again when that has to be replaced."""

    def __init__(self, limits: sandbox.Limits, *, sandboxed: bool) -> None:
        """Nothing is started before the first cell."""
        self._limits, self._sandboxed = limits, sandboxed
        self._done: list[str] = []
        self._kernel: sandbox.Kernel | None = None
        self._starts = 0
        self._deadline = time.monotonic() + limits.notebook

    def __enter__(self) -> Sitting:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the kernel."""
        if self._kernel is not None:
            self._kernel.close()

    def run(self, source: str, *, again: bool) -> sandbox.Ran:
        """Run a cell.

        Args:
            source: its code.
            again: whether to run it again in a new kernel, if this one dies later.
        """
        if not self._ready():
            return sandbox.Ran(trouble="was not run: the kernel had ended too often, or the notebook's time was over")
        ran = self._kernel.run(source)
        if again and self._kernel.alive and ran.trouble is None:
            self._done.append(source)
        return ran

    def _ready(self) -> bool:
        """Make sure that there is a kernel in which everything up to here has run."""
        while self._kernel is None or not self._kernel.alive:
            if self._starts > MOST_RESTARTS or time.monotonic() > self._deadline:
                return False
            self._starts += 1
            self._kernel = sandbox.Kernel(self._limits, sandboxed=self._sandboxed)
            for source in list(self._done):
                self._kernel.run(source)
                if not self._kernel.alive:
                    self._done.remove(source)
                    break
        return time.monotonic() < self._deadline


def read_submission(path: Path, root: Path) -> list[Written]:
    """The cells of the notebook that a student handed in.

    Raises: SubmissionError with the reason when there is none.
    """
    if not path.resolve().is_relative_to(root.resolve()):
        raise SubmissionError("the file is a link that leads out of the submissions; hand in the file itself")
    if not path.is_file():
        others = sorted(p.name for p in path.parent.glob("*"))[:5] if path.parent.is_dir() else []
        raise SubmissionError(f"no {NOTEBOOK} was handed in" + (f"; there is {', '.join(others)}" if others else ""))
    if path.stat().st_size > MOST_BYTES:
        raise SubmissionError(f"the file has {path.stat().st_size / 2**20:.0f} MiB, at most 20; clear the outputs")
    try:
        notebook = nbformat.convert(nbformat.reader.reads(path.read_text(encoding="utf-8")), 4)
        cells = [Written(_name(cell), cell.cell_type == "code", clean(cell.source)) for cell in notebook.cells]
    except Exception as error:  # whatever a strange file does to a parser
        raise SubmissionError(f"the file is no notebook ({type(error).__name__}): {str(error)[:200]}") from None
    if (size := sum(len(cell.text) for cell in cells)) > MOST_TEXT:
        raise SubmissionError(f"the cells hold {size:,} characters, at most {MOST_TEXT:,}")
    return cells


def rebuilt(released: NotebookNode, written: list[Written]) -> NotebookNode:
    """The hand-out, with the student's text in its answer cells, and the student's own cells where they stood.

    Nothing else of a submission is kept: no outputs, no metadata, no changed check. Of an answer cell that comes twice
    the last one is the answer; the others are run before it.
    """
    handed_out = {name: cell for cell in released.cells if (name := _name(cell))}
    prose = {cell.source for cell in released.cells if cell.cell_type == "markdown"}
    last = {cell.name: i for i, cell in enumerate(written)}
    texts: dict[str, str] = {}
    before: dict[str, list[NotebookNode]] = {name: [] for name in handed_out}
    own: list[NotebookNode] = []
    for i, cell in enumerate(written):
        if cell.name not in handed_out:
            own.append(_own(cell, prose))
        elif last[cell.name] > i:
            before[cell.name].append(_own(cell, prose))
        else:
            texts[cell.name] = cell.text
            before[cell.name] += own
            own = []
    notebook = nbformat.v4.new_notebook(metadata=released.metadata)
    for name, cell in handed_out.items():
        answer = {"source": texts.get(name, "")} if cell.metadata.nbgrader.solution else {}
        notebook.cells += [*before[name], nbformat.from_dict({**cell, **answer})]
    notebook.cells += own
    return notebook


def clean(text: str) -> str:
    """A text without halves of surrogate pairs, which no file can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def grade(
    submissions: Path,
    output: Path,
    grader: Grader,
    *,
    sources: Path = SOLUTIONS,
    say: Callable[[str], None] = print,
) -> list[Row]:
    """Grade a folder of submissions, ``STUDENT/NN_name/exercises.ipynb``, into an empty database.

    Args:
        submissions: the folder.
        output: where ``grades.csv``, ``feedback/`` and ``gradebook.db`` go; those of an earlier run are replaced.
        grader: how to run and judge.
        sources: the source notebooks.
        say: told about each notebook that is done.
    Returns: the lines of ``grades.csv``.
    Raises:
        ValueError: there are no submissions.
        SandboxError: sandboxes are asked for and the system cannot make one.
    """
    students = sorted(path.name for path in submissions.glob("*") if path.is_dir() and not path.name.startswith("."))
    if not students:
        raise ValueError(f"{submissions} holds no folder of a student; expected STUDENT/NN_name/{NOTEBOOK}")
    if grader.sandboxed:
        sandbox.demand_sandbox()
    with tempfile.TemporaryDirectory(prefix="mmcook-grading-") as folder:
        book = Gradebook(Path(folder).resolve(), sources)
        named = [student for student in students if STUDENT_NAME.fullmatch(student)]
        handed_in = {path.name for student in named for path in (submissions / student).glob("*")}
        expected = [_assignment(book, name) for name in book.sources if name in handed_in]
        reasons = _judge_all(book, expected, submissions, named, grader, say)
        rows = [
            Row(
                g.student, g.assignment, g.exercise, g.score, g.most, reasons[g.student, g.assignment][g.exercise] or ""
            )
            for g in sorted(book.grades(), key=lambda g: (g.student, g.assignment))
        ]
        rows += _refused(submissions, students, set(book.sources))
        _deliver(book, rows, output)
    return rows


def new_seed() -> str:
    """The seed that the environment sets, or else one that nobody can guess."""
    return os.environ.get(SEED_VARIABLE) or secrets.token_hex(8)


def _assignment(book: Gradebook, name: str) -> Assignment:
    """An assignment with its hidden tests."""
    return Assignment(name, nbformat.read(book.released(name), as_version=4), load_hidden(book.sources[name]))


def _judge_all(
    book: Gradebook,
    expected: list[Assignment],
    submissions: Path,
    students: list[str],
    grader: Grader,
    say: Callable[[str], None],
) -> dict[tuple[str, str], dict[str, str | None]]:
    """Judge every submission and enter the marks; returns the reasons by student and assignment."""
    reasons = {}

    def judge(assignment: Assignment, student: str) -> str:
        text, found = grader.judge(assignment, submissions / student / assignment.name / NOTEBOOK, submissions)
        reasons[student, assignment.name] = found
        right = sum(reason is None for reason in found.values())
        say(f"{student}, {assignment.name}: {right} of {len(found)} exercises")
        return text

    with ThreadPoolExecutor(WORKERS) as pool:
        for assignment in expected:
            texts = pool.map(judge, [assignment] * len(students), students)
            book.record(assignment.name, dict(zip(students, texts, strict=True)))
    return reasons


def _refused(submissions: Path, students: list[str], known: set[str]) -> list[Row]:
    """A line for every folder that is no student's or no assignment."""
    rows = []
    for student in students:
        if not STUDENT_NAME.fullmatch(student):
            reason = f"not graded: {student!r} is no name; rename the folder with letters, digits, spaces and . _ - @"
            rows.append(Row("", "", "", 0.0, 0.0, reason))
            continue
        folders = sorted(path.name for path in (submissions / student).glob("*") if not path.name.startswith("."))
        for name in [name for name in folders if name not in known]:
            reason = f"not graded: no assignment is called {name!r}; there are {', '.join(sorted(known))}"
            rows.append(Row(student, "", "", 0.0, 0.0, reason))
        if not set(folders) & known:
            rows.append(Row(student, "", "", 0.0, 0.0, "nothing was handed in under the name of an assignment"))
    return rows


def _deliver(book: Gradebook, rows: list[Row], output: Path) -> None:
    """Write the marks, the pages of feedback and the database."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in fields(Row)])
    writer.writerows(map(astuple, rows))
    pages = output / "feedback"
    shutil.rmtree(pages, ignore_errors=True)
    for student, assignment in sorted({(row.student, row.assignment) for row in rows if row.exercise}):
        (pages / student).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(book.feedback(student, assignment), pages / student / f"{assignment}.html")
    output.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(book.folder / "gradebook.db", output / "gradebook.db")
    write_atomically(output / "grades.csv", text.getvalue())


def _own(cell: Written, prose: set[str]) -> NotebookNode:
    """A cell of the student's own. Text other than the hand-out's is shown as it was typed: it could hold a script."""
    if cell.code:
        return nbformat.v4.new_code_cell(cell.text)
    typed = "\n".join(f"    {line}" for line in cell.text.splitlines())
    return nbformat.v4.new_markdown_cell(cell.text if cell.text in prose else typed)


def _name(cell: NotebookNode) -> str:
    """The grade id of a cell; empty when it has none."""
    name = cell.metadata.get("nbgrader", {}).get("grade_id", "")
    return name if isinstance(name, str) else ""


def _troubles(ran: sandbox.Ran) -> list[str]:
    """What went wrong in a cell that was no check: how it ended, and the error that it shows."""
    errors = [f"stopped with {o['ename']}: {o['evalue']}" for o in ran.outputs if o["output_type"] == "error"]
    return [ran.trouble] if ran.trouble else errors[:1]


def _verdict(reason: str | None) -> Any:
    """The output that nbgrader takes the mark from: an error is no mark, anything else the full one."""
    if reason is None:
        return nbformat.v4.new_output("stream", text="Full marks.\n")
    return nbformat.v4.new_output("error", ename="No mark", evalue=reason, traceback=[f"No mark: {reason}"])
