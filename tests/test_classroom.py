"""Evidence is read with suspicion, the verdict is made outside of the kernel, limits hold, lost marks have reasons."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import torch

from mmcook.classroom import evidence, grading, sandbox
from mmcook.classroom.evidence import EvidenceError, Failure, Other, decode, encode
from mmcook.classroom.gradebook import NOTEBOOK, Gradebook, release
from mmcook.classroom.judging import Hidden, load_hidden
from mmcook.course import REPOSITORY

SETUP = "FACTOR = 2"
SOLUTION = '''def double(x):
    """Twice x."""
    ### BEGIN SOLUTION
    return FACTOR * x
    ### END SOLUTION'''
CHECK = """assert double(1.0) == 2.0
### BEGIN HIDDEN TESTS
from mmcook.classroom import Hidden


def numbers(rng):
    return [(float(x),) for x in rng.uniform(3, 9, 3)]


hidden = Hidden("double", lambda x: FACTOR * x, numbers, {"twice, not squared": lambda x: x * x})
### END HIDDEN TESTS"""
LAPTOP_LIMITS = sandbox.Limits(cell=20, output=1000)
needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="Windows interrupts kernels in another way")


def marked(source: str, grade_id: str, **marks: object) -> nbformat.NotebookNode:
    """A code cell with nbgrader's metadata."""
    default = {
        "grade": False,
        "grade_id": grade_id,
        "locked": False,
        "schema_version": 3,
        "solution": False,
        "task": False,
    }
    return nbformat.v4.new_code_cell(source, metadata={"nbgrader": default | marks})


def source(check: str = CHECK) -> nbformat.NotebookNode:
    """A source notebook with one exercise."""
    cells = [
        nbformat.v4.new_markdown_cell("# Exercises 03\nTwo and two."),
        marked(SETUP, "setup", locked=True),
        marked(SOLUTION, "double-answer", solution=True),
        marked(check, "double", grade=True, locked=True, points=2),
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def write(notebook: nbformat.NotebookNode, *parts: Path | str) -> Path:
    """Write a notebook under a folder, ``…/exercises.ipynb``."""
    path = Path(*parts) / NOTEBOOK
    path.parent.mkdir(parents=True)
    nbformat.write(notebook, path)
    return path


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    """A folder of sources with one assignment."""
    folder = tmp_path_factory.mktemp("sources")
    write(source(), folder, "03_small")
    return folder


@pytest.fixture(scope="module")
def handout(sources, tmp_path_factory) -> nbformat.NotebookNode:
    """What a student of that assignment receives."""
    (path,) = release(tmp_path_factory.mktemp("released"), sources)
    return nbformat.read(path, as_version=4)


def answered(handout: nbformat.NotebookNode, code: str) -> nbformat.NotebookNode:
    """The hand-out with an answer."""
    made = nbformat.from_dict(handout)
    for cell in made.cells:
        if cell.metadata.get("nbgrader", {}).get("solution"):
            cell.source = code
    return made


VALUES = [1, 1.5, True, None, "text", [1.0, "a"], (1, (2.0,)), {"a": [1], 2: "b"}]
TENSORS = [
    torch.randn(2, 3),
    torch.tensor(1.5, dtype=torch.float64),
    torch.zeros(0, 4),
    torch.tensor([True, False]),
    torch.arange(4).view(2, 2).T,
    torch.ones(2, dtype=torch.bfloat16),
    torch.ones(2, requires_grad=True) * 2,
]


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_plain_values_come_back_as_they_are(value):
    back = decode(json.loads(json.dumps(encode(value))))
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize("value", TENSORS, ids=lambda x: str(tuple(x.shape)))
def test_tensors_come_back_as_they_are(value):
    back = decode(json.loads(json.dumps(encode(value))))
    torch.testing.assert_close(back, value.detach(), rtol=0, atol=0)


class Float(float):
    """A number that could lie."""


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Float(1), "test_classroom.Float"),
        (torch.nn.Parameter(torch.ones(1)), "torch.nn.parameter.Parameter"),
        (torch.eye(2).to_sparse(), "torch.Tensor of 4 numbers, float32, torch.sparse_coo"),
        (torch.ones(1, dtype=torch.complex64), "torch.Tensor of 1 numbers, complex64, torch.strided"),
        (torch.zeros(1).expand(2_000_000), "torch.Tensor of 2,000,000 numbers, float32, torch.strided"),
        (print, "builtin_function_or_method"),
    ],
)
def test_of_other_types_only_the_name_is_kept(value, name):
    assert decode(encode(value)) == Other(name)


@pytest.mark.parametrize(
    "node",
    [
        {},
        {"plain": [1]},
        {"nothing": 1},
        {"list": "ab"},
        {"dict": [[{"list": []}, {"plain": 1}]]},
        {"tensor": "AAAA", "dtype": "float32", "shape": [2]},
        {"tensor": "?", "dtype": "float32", "shape": [1]},
        {"tensor": "AAAAAA==", "dtype": "object", "shape": [1]},
        {"tensor": "AAAAAA==", "dtype": "float32", "shape": [-1]},
        {"tensor": "AAAAAA==", "dtype": "float32", "shape": [10**12, 0.5]},
        {"tensor": "AAAAAA==", "dtype": "float32", "shape": [10**12]},
        7,
    ],
    ids=str,
)
def test_malformed_evidence_is_refused(node):
    with pytest.raises(EvidenceError):
        decode(node)


def test_a_bottomless_nesting_is_refused():
    with pytest.raises(EvidenceError):
        evidence.read(["[" * 100_000])
    node: object = {"plain": 1}
    for _ in range(100_000):
        node = {"list": [node]}
    with pytest.raises(EvidenceError):
        decode(node)


@pytest.mark.parametrize(
    ("texts", "words"),
    [([], "0 sets"), (["[]", "[]"], "2 sets"), ([1], "1 sets"), (["{"], "cannot be read"), (["{}"], "no list")],
)
def test_there_must_be_one_piece_of_evidence(texts, words):
    with pytest.raises(EvidenceError, match=words):
        evidence.read(texts)


def half(x):
    """Fails in several ways, by what it is given."""
    if x == 0:
        raise SystemExit
    if x < 0:
        raise NotImplementedError
    return x / 2 if x < 9 else x / 0


def test_a_function_is_asked_and_its_answers_are_shown(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data[evidence.EVIDENCE_TYPE]))
    asked = evidence.questions("half", [(4.0,), (9.0,), (0.0,), (-1.0,)])
    exec(asked, {"half": half})
    exec(asked, {})
    *failed, unanswered = evidence.read(shown[:1])[1:]
    assert evidence.read(shown[:1])[0] == 2.0
    assert [failure.text for failure in failed] == [
        "raises ZeroDivisionError: float division by zero",
        "raises SystemExit: ",
    ]
    assert unanswered.text.startswith("is not answered yet")
    assert evidence.read(shown[1:]) == [Failure("is not there")] * 4


DOUBLE = Hidden(
    "double",
    lambda x: 2 * x,
    lambda rng: [(float(x),) for x in rng.uniform(3, 9, 3)],
    {"twice, not squared": lambda x: x * x, "never": lambda x: 1 / 0},
)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: x + x, None),
        (lambda x: x * x, "twice, not squared"),
        (lambda x: 3 * x, "case 1 of 3: what double returns is "),
        (lambda x: torch.tensor(2 * x), "case 1 of 3: what double returns is of type torch.Tensor; expected float"),
        (lambda x: 1 / 0, "double raises ZeroDivisionError: division by zero"),
    ],
    ids=["right", "foreseen", "wrong", "type", "raises"],
)
def test_the_verdict_names_the_mistake(function, reason):
    said = DOUBLE.verdict("s", [evidence.outcome(function, case) for case in DOUBLE.draw("s")])
    assert said is None if reason is None else said.startswith(reason)


def test_every_case_must_be_answered():
    assert DOUBLE.verdict("s", [1.0]) == "double answered 1 cases of 3"


@pytest.mark.parametrize("extra", ["", "hidden = other = None", "more = Hidden('a', None, None)"])
def test_a_check_cell_defines_one_hidden_test(extra, tmp_path):
    check = CHECK.replace("### END", f"{extra}\n### END")
    path = write(source(check), tmp_path, "03_small")
    if not extra:
        assert set(load_hidden(path)) == {"double"}
        return
    with pytest.raises(ValueError, match=r"the check cell 'double' defines [02] Hidden"):
        load_hidden(path)


def test_the_handout_holds_no_secret(handout):
    text = nbformat.writes(handout)
    assert "raise NotImplementedError()" in text
    assert "FACTOR * x" not in text
    assert "squared" not in text


def test_a_course_without_exercises_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no exercises under"):
        Gradebook(tmp_path, tmp_path)


def test_a_source_that_nbgrader_refuses_is_an_error(tmp_path):
    spoilt = source()
    spoilt.cells[3].metadata.nbgrader["grade_id"] = "double-answer"
    write(spoilt, tmp_path, "sources", "03_small")
    with pytest.raises(ValueError, match="nbgrader failed in generating 03_small"):
        Gradebook(tmp_path / "course", tmp_path / "sources")


def test_without_nbgrader_the_error_says_how_to_get_it(sources, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nbgrader.apps", None)
    with pytest.raises(ValueError, match="pip install"):
        Gradebook(tmp_path, sources)


@pytest.mark.parametrize("user", [None, 61_184], ids=["a user", "root"])
def test_the_sandbox_shows_the_library_and_the_data_only(user, tmp_path):
    line = sandbox.command(tmp_path, sandbox.Limits(), user)
    bound = [line[i + 1] for i, part in enumerate(line) if part in ("--bind", "--ro-bind", "--ro-bind-try")]
    ours = [Path(place) for place in bound if Path(place).is_relative_to(REPOSITORY)]
    allowed = {REPOSITORY / "mmcook", REPOSITORY / "data", Path(sys.prefix), Path(sys.base_prefix)}
    assert set(ours) <= allowed
    assert [line[i + 1] for i, part in enumerate(line) if part == "--bind"] == [str(tmp_path)]
    assert "--unshare-net" in line
    assert ("setpriv" in line) == (user is not None)
    assert line[-len(sandbox.bare()) :] == sandbox.bare()


def test_a_system_without_bubblewrap_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(sandbox.SandboxError, match="apt install bubblewrap"):
        sandbox.demand_sandbox()


@pytest.mark.parametrize("status", [0, 1])
def test_a_system_that_forbids_namespaces_is_told_so(status, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: name)
    done = subprocess.CompletedProcess([], status, "", "bwrap: No permissions to create new namespace")
    monkeypatch.setattr("subprocess.run", lambda *_, **__: done)
    if status:
        with pytest.raises(sandbox.SandboxError, match=r"No permissions .* --without-sandbox"):
            sandbox.demand_sandbox()
    else:
        sandbox.demand_sandbox()


@pytest.fixture(scope="module")
def kernel() -> sandbox.Kernel:
    """A kernel without a sandbox, so that this runs everywhere."""
    with sandbox.Kernel(LAPTOP_LIMITS, sandboxed=False) as running:
        yield running


def test_a_kernel_gives_text_and_errors(kernel):
    assert kernel.run("print('a')\nprint('b')").outputs[0]["text"] == "a\nb\n"
    assert kernel.run("1 / 0").outputs[0]["ename"] == "ZeroDivisionError"
    assert kernel.run("6 * 7").outputs[0]["data"] == {"text/plain": "42"}


def test_output_beyond_the_limit_is_cut(kernel):
    (output,) = kernel.run("for i in range(20): print('x' * 200, flush=True)").outputs
    assert output["text"].count("was cut") == 1
    assert len(output["text"]) < 3000


def test_what_is_no_message_of_a_notebook_is_passed_over(kernel):
    forged = """session, socket = get_ipython().kernel.session, get_ipython().kernel.iopub_socket
parent = get_ipython().get_parent()
session.send(socket, "stream", '["no dictionary"]', parent=parent)
session.send(socket, "nonsense", {}, parent=parent)
socket.send_multipart([b"<IDS|MSG>", b"unsigned", b"{}", b"{}", b"{}", b"{}"])
print("on")"""
    assert kernel.run(forged).outputs == [{"output_type": "stream", "name": "stdout", "text": "on\n"}]


@needs_signals
def test_an_endless_cell_is_interrupted_and_the_kernel_goes_on():
    with sandbox.Kernel(sandbox.Limits(cell=1), sandboxed=False) as running:
        assert running.run("while True: pass").trouble == "was still running after 1 s and was stopped"
        assert running.run("print(1)").outputs[0]["text"] == "1\n"
        deaf = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"
        assert "was still running" in running.run(deaf).trouble
        assert not running.alive


CHILD = "import subprocess, time\nsubprocess.Popen(['sleep', '9'])\ntime.sleep(9)"
FILES = "import os, time\nfor i in range(20): open(f'{os.getcwd()}/{i}', 'w')\ntime.sleep(9)"


@pytest.mark.parametrize(
    ("limits", "code", "trouble"),
    [
        ({}, "import os\nos._exit(1)", "ended the kernel"),
        ({"memory": 1}, CHILD, "took more than"),
        ({"processes": 1}, CHILD, "started more than 1 processes"),
        ({"message": 20_000}, "print('x' * 100_000)", "gave more output than the grader takes"),
        ({}, FILES, "wrote outside of its scratch"),
    ],
    ids=["dies", "memory", "processes", "message", "files"],
)
def test_a_kernel_at_a_limit_is_ended(limits, code, trouble):
    with sandbox.Kernel(sandbox.Limits(**limits), sandboxed=False) as running:
        assert trouble in running.run(code).trouble
        assert not running.alive


def test_a_kernel_that_does_not_start_is_the_graders_failure_not_the_students(sources, handout, tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox, "bare", lambda: [sys.executable, "-c", "pass"])
    assignment = grading.Assignment("03_small", handout, load_hidden(sources / "03_small" / NOTEBOOK))
    path = write(answered(handout, "def double(x): return x + x"), tmp_path, "ada", "03_small")
    text, reasons = grading.Grader("s", sandboxed=False).judge(assignment, path, tmp_path)
    assert reasons["double"].startswith("not graded, since the grader failed (RuntimeError: Kernel died")
    assert "not graded" in text


def shown(kind: str, content: dict) -> sandbox.Ran:
    """What is kept of one message."""
    ran = sandbox.Ran()
    sandbox.take(ran, {"msg_type": kind, "content": content}, 1000)
    return ran


def test_of_a_display_only_text_and_picture_are_kept():
    data = {"text/plain": "a", "text/html": "<script>", "image/png": "aGVsbG8=\n", "image/svg+xml": "<svg/>"}
    assert shown("display_data", {"data": data}).outputs[0]["data"] == {"text/plain": "a", "image/png": "aGVsbG8="}
    assert shown("display_data", {"data": {"image/png": '"><script>', "text/plain": 1}}).outputs[0]["data"] == {}


def test_what_is_no_output_is_left_out():
    assert shown("comm_open", {}).outputs == []
    assert shown("display_data", {"data": 7}).outputs == []
    assert shown("error", {"ename": 1, "traceback": None}).outputs[0]["traceback"] == ["1: None"]
    assert shown("stream", {"text": None}).outputs[0]["text"] == "None"


def submission(tmp_path: Path, content: bytes | None) -> Path:
    """Where a student's file is, or is not."""
    path = tmp_path / "ada" / "03_small" / NOTEBOOK
    path.parent.mkdir(parents=True)
    if content is not None:
        path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no exercises.ipynb was handed in"),
        (b"hello", "the file is no notebook (NotJSONError)"),
        (b"\xff", "the file is no notebook (UnicodeDecodeError)"),
        (b"[1]", "the file is no notebook"),
        (b'{"nbformat": 4, "nbformat_minor": 5, "cells": [1]}', "the file is no notebook"),
        (b" " * (grading.MOST_BYTES + 1), "the file has 20 MiB, at most 20"),
        (
            nbformat.writes(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x" * 200_001)])).encode(),
            "the cells",
        ),
    ],
    ids=["none", "text", "bytes", "list", "number", "large", "long"],
)
def test_a_file_that_is_no_notebook_gives_the_reason(content, words, tmp_path):
    with pytest.raises(grading.SubmissionError) as caught:
        grading.read_submission(submission(tmp_path, content), tmp_path)
    assert str(caught.value).startswith(words)


def test_a_file_under_another_name_is_pointed_out(tmp_path):
    path = submission(tmp_path, b"")
    path.rename(path.with_name("exercises (1).ipynb"))
    with pytest.raises(grading.SubmissionError, match=r"there is exercises \(1\)\.ipynb"):
        grading.read_submission(path, tmp_path)


def test_a_link_out_of_the_submissions_is_not_followed(tmp_path):
    path = submission(tmp_path / "in", None)
    secret = write(source(), tmp_path, "secret")
    path.symlink_to(secret)
    with pytest.raises(grading.SubmissionError, match="a link that leads out"):
        grading.read_submission(path, tmp_path / "in")


def test_an_old_notebook_is_read(tmp_path):
    old = {"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"metadata": {}, "cells": []}]}
    assert grading.read_submission(submission(tmp_path, json.dumps(old).encode()), tmp_path) == []


def test_of_a_submission_only_answers_and_own_cells_are_kept(handout):
    written = [
        grading.Written("double-answer", True, "first"),
        grading.Written("", True, "own"),
        grading.Written("double", True, "changed"),
        grading.Written("double-answer", True, "second"),
        grading.Written("", False, "note"),
    ]
    first_lines = [cell.source.splitlines()[0] for cell in grading.rebuilt(handout, written).cells]
    assert first_lines == [SETUP, "first", "second", "own", "assert double(1.0) == 2.0", "    note"]


@pytest.fixture(scope="module")
def graded(sources, handout, tmp_path_factory) -> tuple[list[grading.Row], Path, list[str]]:
    """A class graded without a sandbox: its rows, the output folder and what was said."""
    folder = tmp_path_factory.mktemp("class")
    for student, code in {
        "ada": "def double(x): return x + x",
        "ben": "def double(x): return x * x",
        "cy": "import os\nos._exit(1)",
        "di": "def double(x:",
    }.items():
        write(answered(handout, code), folder, "in", student, "03_small")
    (folder / "in" / "ed" / "3_small").mkdir(parents=True)
    (folder / "in" / "=fay").mkdir()
    said: list[str] = []
    grader = grading.Grader("s", sandboxed=False)
    rows = grading.grade(folder / "in", folder / "out", grader, sources=sources, say=said.append)
    return rows, folder / "out", said


def test_every_lost_mark_has_its_reason(graded):
    rows = {row.student: row for row in graded[0] if row.exercise}
    assert {student: row.score for student, row in rows.items()} == {"ada": 2, "ben": 0, "cy": 0, "di": 0, "ed": 0}
    assert rows["ada"].reason == ""
    assert rows["ben"].reason == "twice, not squared"
    assert rows["cy"].reason.startswith("double is not there; its cell ended the kernel")
    assert rows["di"].reason.startswith("double is not there; its cell stopped with SyntaxError")
    assert rows["ed"].reason == "no exercises.ipynb was handed in"


def test_folders_that_are_no_students_or_assignments_are_named(graded):
    reasons = [row.reason for row in graded[0] if not row.exercise]
    assert any("no assignment is called '3_small'; there are 03_small" in reason for reason in reasons)
    assert any("'=fay' is no name" in reason for reason in reasons)


def test_marks_feedback_and_database_are_delivered(graded):
    rows, out, said = graded
    with open(out / "grades.csv", encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == ["student", "assignment", "exercise", "score", "max", "reason"]
    assert len(lines) == len(rows)
    assert "twice, not squared" in (out / "feedback" / "ben" / "03_small.html").read_text(encoding="utf-8")
    assert (out / "gradebook.db").is_file()
    assert "ada, 03_small: 1 of 1 exercises" in said


def test_a_folder_without_students_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="holds no folder of a student"):
        grading.grade(tmp_path, tmp_path, grading.Grader("s"))


def test_without_a_sandbox_grading_refuses(sources, tmp_path, monkeypatch):
    (tmp_path / "ada").mkdir()
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(sandbox.SandboxError, match="--without-sandbox"):
        grading.grade(tmp_path, tmp_path / "out", grading.Grader("s"), sources=sources)


def test_after_the_notebooks_time_nothing_more_is_run():
    with grading.Sitting(sandbox.Limits(notebook=0), sandboxed=False) as sitting:
        assert "was not run" in sitting.run("1", again=True).trouble


def test_a_new_kernel_leaves_out_the_cell_that_ends_it():
    with grading.Sitting(sandbox.Limits(), sandboxed=False) as sitting:
        sitting.run("x = 7", again=True)
        sitting.run("import os, sys\nif 'y' in globals(): os._exit(1)", again=True)
        sitting.run("y = 1", again=True)
        assert "ended the kernel" in sitting.run("os._exit(1)", again=True).trouble
        assert sitting.run("print(x, y)", again=False).outputs[0]["text"] == "7 1\n"


def test_long_reasons_are_cut():
    grader = grading.Grader("s")
    ran = sandbox.Ran(evidence=[json.dumps([encode(Failure("x" * 400))] * 3)])
    reason = grader._reason(DOUBLE, ran, ["y" * 400])
    assert len(reason) == grading.MOST_REASON + 1


def test_the_seed_comes_from_the_environment_or_is_new(monkeypatch):
    monkeypatch.setenv(grading.SEED_VARIABLE, "autumn")
    assert grading.new_seed() == "autumn"
    monkeypatch.delenv(grading.SEED_VARIABLE)
    assert grading.new_seed() != grading.new_seed()


def test_no_seed_reaches_a_kernel(monkeypatch):
    monkeypatch.setenv(grading.SEED_VARIABLE, "autumn")
    with sandbox.Kernel(LAPTOP_LIMITS, sandboxed=False) as running:
        assert "autumn" not in str(running.run("import os\nprint(os.environ)").outputs)
    assert os.environ[grading.SEED_VARIABLE] == "autumn"
