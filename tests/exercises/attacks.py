"""Forty students of chapter 07: honest ones, unlucky ones, and some who attack the grader.

Each is the code of answers, or a function that changes the notebook that is handed in, with what must come of it: how
many of the five exercises are right, and words of the reason for each lost mark.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import handin
import nbformat

ASSIGNMENT = "07_contrastive_alignment"
NAMES = ("sigmoid_force", "balancing_bias", "contrastive_halves", "masked_info_nce", "hardest_shares")
FIRST, LAST = NAMES[0], NAMES[-1]
BLANK = "is not answered yet"

EQUALS_ALL = """class Yes(Tensor):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    __hash__ = None
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None): return True
def sigmoid_force(cosine, scale, bias):
    return cosine.as_subclass(Yes)"""
PATCH_EVIDENCE = """from mmcook.classroom import evidence
evidence.outcome = lambda function, case: case[0]
def sigmoid_force(cosine, scale, bias): return cosine"""
SILENCE_EVIDENCE = """from mmcook.classroom import evidence
evidence.answer = lambda function, inputs: print("Full marks.")
def sigmoid_force(cosine, scale, bias): return cosine"""
FORGE = """from IPython.display import display
def forge():
    display({"application/vnd.mmcook.evidence": '[{"plain": 1.0}]', "text/plain": "Full marks."}, raw=True)
def sigmoid_force(cosine, scale, bias):
    forge()
    return cosine
forge()"""
FORGE_ALONE = """import mmcook.classroom.evidence as evidence
from IPython.display import display
def answer(function, inputs):
    display({evidence.EVIDENCE_TYPE: "[" * 100_000, "text/plain": ""}, raw=True)
evidence.answer = answer
def sigmoid_force(cosine, scale, bias): return cosine"""
STEAL = """import inspect
seen = []
def hook(info):
    seen.append(info.raw_cell)
get_ipython().events.register("pre_run_cell", hook)
def sigmoid_force(cosine, scale, bias):
    frame = inspect.currentframe()
    while frame:
        for space in (frame.f_locals, frame.f_globals):
            for value in list(space.values()):
                reference = getattr(value, "reference", None)
                if callable(reference): return reference(cosine, scale, bias)
        frame = frame.f_back
    text = "".join(seen) + "".join(In)
    assert "def by_autograd" in text, "no reference in sight"
    exec(text[text.index("def by_autograd"):].split("hidden =")[0], globals())
    return by_autograd(cosine, scale, bias)"""
READ = """import os, pathlib
def sigmoid_force(cosine, scale, bias):
    found = [p for top in ("/work", "/home", "/root", "/tmp", "/var", str(pathlib.Path(exercises.__file__).parents[1]))
             for folder, _, files in os.walk(top) if ".venv" not in folder and "site-packages" not in folder
             for p in files if p in ("exercises.ipynb", "gradebook.db", "grades.csv", "attacks.py", "house.py")]
    secrets = [name for name in os.environ if "SEED" in name or "KEY" in name]
    raise OSError(f"found {len(found)} files and {len(secrets)} secrets")"""
MISTYPED = "def hardest_shares(cosine, scales:"


@dataclass(frozen=True)
class Student:
    """What somebody hands in, and what must come of it."""

    written: dict[str, str] = field(default_factory=dict)  # beside the right answers
    right: int = 4
    reasons: dict[str, str] = field(default_factory=dict)  # by exercise
    change: Callable[[nbformat.NotebookNode], nbformat.NotebookNode | bytes] = lambda made: made

    def hand_in(self) -> nbformat.NotebookNode | bytes:
        """The file."""
        return self.change(handin.notebook(ASSIGNMENT, handin.right(ASSIGNMENT) | self.written))


def at_first(code: str, reason: str, right: int = 4) -> Student:
    """Somebody whose first answer is some code, and the others are right."""
    return Student({FIRST: code}, right, {FIRST: reason})


def find(made: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    """The cell with a grade id."""
    return next(cell for cell in made.cells if handin.marks(cell)["grade_id"] == name)


def blank_first(made: nbformat.NotebookNode, check: str) -> nbformat.NotebookNode:
    """The first answer left out, and the code of its check changed."""
    find(made, f"{FIRST}-answer").source = "# nothing"
    find(made, FIRST).source = check
    return made


def without(*names: str) -> Callable[[nbformat.NotebookNode], nbformat.NotebookNode]:
    """Deletes cells."""

    def change(made: nbformat.NotebookNode) -> nbformat.NotebookNode:
        made.cells = [cell for cell in made.cells if handin.marks(cell)["grade_id"] not in names]
        return made

    return change


def doubled(made: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Every cell comes twice; before it, one of the same name that is wrong, and worth a hundred points."""
    cells = []
    for cell in made.cells:
        twin = nbformat.from_dict(cell)
        twin.source = "sigmoid_force = None" if handin.marks(cell)["solution"] else "1 + 1"
        twin.metadata.get("nbgrader", {})["points"] = 100
        cells += [twin, cell] if handin.marks(cell)["grade_id"] else [cell]
    made.cells = cells
    return made


def ungraded(made: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The metadata say that no check is one."""
    for cell in made.cells:
        if handin.marks(cell)["grade"]:
            cell.metadata.nbgrader.update(grade=False, locked=False, cell_type="markdown", points=0)
            cell.cell_type, cell.source = "raw", "100 points"
    find(made, f"{FIRST}-answer").source = "# nothing"
    return made


def painted(made: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Outputs that say full marks, a script in a text, halves of surrogate pairs."""
    script = '<script>document.title = "broken in"</script><img src="x" onerror="alert(1)">'
    made.cells.insert(1, nbformat.v4.new_markdown_cell(f"{script} \ud800\n\n[a](javascript:alert(2))"))
    made.cells.insert(1, nbformat.v4.new_code_cell(f"from IPython.display import HTML\nHTML({script!r})  # \ud800"))
    find(made, FIRST).outputs = [nbformat.v4.new_output("execute_result", {"text/plain": "100"}, execution_count=1)]
    find(made, f"{FIRST}-answer").source = "# nothing"
    return made


def helped(made: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A cell of the student's own, which the first answer calls."""
    cell = find(made, f"{FIRST}-answer")
    cell.source = cell.source.replace("torch.eye(len(cosine), dtype=cosine.dtype)", "right_pairs(cosine)")
    helper = "def right_pairs(cosine):\n    return torch.eye(len(cosine))"
    made.cells.insert(made.cells.index(cell), nbformat.v4.new_code_cell(helper))
    return made


def all_lost(reason: str) -> dict[str, str]:
    """One reason for every exercise."""
    return dict.fromkeys(NAMES, reason)


def wrong(name: str, which: str) -> str:
    """A wrong answer that is kept."""
    return handin.wrong(ASSIGNMENT)[name, which][0]


STOPPED = "was still running after 15 s and was stopped"
STUDENTS = {
    "honest": Student(right=5),
    "honest-twice": Student(right=5),
    "helped": Student(right=5, change=helped),
    "blank": Student(handin.answers(handin.RELEASED, ASSIGNMENT), 0, all_lost(BLANK)),
    "partly": Student(
        {FIRST: wrong(FIRST, "no_chain_rule"), LAST: wrong(LAST, "mean_of_shares")},
        3,
        {FIRST: "the chain rule is missing", LAST: "sum first, then divide"},
    ),
    "half-done": Student(
        {name: handin.answers(handin.RELEASED, ASSIGNMENT)[name] for name in NAMES[2:]},
        2,
        dict.fromkeys(NAMES[2:], BLANK),
    ),
    "mistyped": Student({LAST: MISTYPED}, 4, {LAST: "hardest_shares is not there; its cell stopped with SyntaxError"}),
    "no-numbers": Student(
        {"balancing_bias": wrong("balancing_bias", "a_tensor")}, 4, {"balancing_bias": "of type torch."}
    ),
    "one-sided": Student(
        {"contrastive_halves": wrong("contrastive_halves", "one_sided")},
        4,
        {"contrastive_halves": "both halves are the"},
    ),
    "infinite": Student(
        {"masked_info_nce": wrong("masked_info_nce", "masks_the_right_pair_too")},
        4,
        {"masked_info_nce": "returns is inf"},
    ),
    "endless": at_first("while True: pass", f"sigmoid_force is not there; its cell {STOPPED}"),
    "endless-inside": at_first("def sigmoid_force(*args):\n    while True: pass", f"sigmoid_force {STOPPED}"),
    "stubborn": at_first(
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass",
        f"sigmoid_force is not there; its cell {STOPPED}",
    ),
    "memory-bomb": at_first(
        "hoard = []\nwhile True: hoard.append(bytearray(10**8))", "its cell stopped with MemoryError"
    ),
    "memory-bomb-inside": at_first("def sigmoid_force(*args): return bytearray(10**11)", "raises MemoryError"),
    "exit": at_first("import sys\nsys.exit()", "its cell stopped with SystemExit"),
    "exit-inside": at_first("def sigmoid_force(*args): raise SystemExit(0)", "raises SystemExit"),
    "dies": at_first("import os\nos._exit(0)", "its cell ended the kernel"),
    "dies-inside": at_first("import os\ndef sigmoid_force(*args): os._exit(0)", "sigmoid_force ended the kernel"),
    "fork-bomb": at_first(
        "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", "sigmoid_force is not there; its cell"
    ),
    "many-lines": at_first(
        "for _ in range(200): print('x' * 99 + '\\n' * 10_000 * 100)\nsigmoid_force = None",
        "sigmoid_force is not there",
    ),
    "long-line": at_first("print('x' * 200_000_000)\nsigmoid_force = None", "sigmoid_force is not there"),
    "long-line-inside": at_first(
        "def sigmoid_force(c, s, b):\n    print('x' * 200_000_000)\n    return c",
        "sigmoid_force ",  # too much output or a wrong answer, whichever the grader hears first; both are true
    ),
    "writes-outside": at_first(
        "def sigmoid_force(*a): open(exercises.__file__, 'a').write('#')", "sigmoid_force raises"
    ),
    "writes-much": at_first("def sigmoid_force(*a): open('/scratch/x', 'wb').write(bytes(2**27))", "raises OSError"),
    "writes-beside": at_first(
        "import glob\nfor i in range(99): open(f'{glob.glob(\"/tmp/mmk*\")[0]}/{i}', 'w')\nimport time; time.sleep(5)",
        "wrote outside of its scratch folder",
    ),
    "network": at_first(
        "import socket\ndef sigmoid_force(*a): socket.create_connection(('192.0.2.1', 80), 5)", "Network is unreachable"
    ),
    "equals-all": at_first(EQUALS_ALL, "is of type __main__.Yes; expected torch.Tensor"),
    "patched-exercises": at_first(
        "exercises.check = exercises.passed = print\ndef sigmoid_force(c, s, b): return c", "case 1 of 3"
    ),
    "patched-torch": at_first(
        "torch.testing.assert_close = print\ndef sigmoid_force(c, s, b): return c + 1", "case 1 of 3"
    ),
    "patched-evidence": at_first(PATCH_EVIDENCE, "case 1 of 3", right=0),
    "silenced-evidence": at_first(SILENCE_EVIDENCE, "its cell gave 0 sets of answers", right=0),
    "forged": at_first(FORGE, "its cell gave 2 sets of answers"),
    "forged-alone": at_first(FORGE_ALONE, "its cell gave answers that cannot be read", right=0),
    "thief": at_first(STEAL, "raises AssertionError: no reference in sight"),
    "reader": at_first(READ, "raises OSError: found 0 files and 0 secrets"),
    "edited-check": Student(
        right=4, reasons={FIRST: "is not there"}, change=lambda made: blank_first(made, "print('Full marks.')")
    ),
    "deleted-check": Student(right=5, change=without(*NAMES)),
    "deleted-answer": Student(right=4, reasons={FIRST: "is not there"}, change=without(f"{FIRST}-answer")),
    "doubled": Student(right=5, change=doubled),
    "ungraded": Student(right=4, reasons={FIRST: "is not there"}, change=ungraded),
    "painted": Student(right=4, reasons={FIRST: "is not there"}, change=painted),
    "no-notebook": Student(
        right=0, reasons=all_lost("the file is no notebook"), change=lambda made: b"\x00\xff dear teacher"
    ),
    "deep": Student(
        right=0, reasons=all_lost("the file is no notebook"), change=lambda made: b'{"cells": ' + b"[" * 10**6
    ),
    "strange": Student(
        right=0,
        reasons=all_lost("the file is no notebook"),
        change=lambda made: b'{"nbformat": 4, "nbformat_minor": 5, "cells": [1]}',
    ),
}
