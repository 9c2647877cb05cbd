"""The operators change what they say, the draw is fair and repeatable, and the judgement tells wrong from equal."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import mutate
import psutil
import pytest
from mutate import drawn, mutants_of


def after(source: str, operator: str) -> set[str]:
    """The texts that an operator makes of a source."""
    return {m.source for m in mutants_of(source) if m.operator == operator}


@pytest.mark.parametrize(
    ("operator", "source", "expected"),
    [
        ("sign", "a + b * c", {"a - b * c", "a + b / c"}),
        ("sign", "-x.sum()", {"x.sum()"}),
        ("sign", "(a - b) ** 2", {"(a + b) ** 2"}),
        ("sign", "total += x", {"total -= x"}),
        ("axis", "x.sum(dim=0)", {"x.sum(dim=1)"}),
        ("axis", "x.amax(dim=1)", {"x.amax(dim=0)"}),
        ("axis", "x.norm(dim=-1)", {"x.norm(dim=0)"}),
        ("axis", "x[:, None]", {"x[None, :]"}),
        ("reduction", "x.mean()", {"x.sum()"}),
        ("reduction", "x.amax(dim=1)", {"x.mean(dim=1)"}),
        ("reduction", "max(x.all(), 3)", {"min(x.all(), 3)", "max(x.any(), 3)"}),
        ("mask", "x * ~seen", {"x * seen"}),
        ("mask", "x.masked_fill(own, 0)", {"x.masked_fill(~own, 0)"}),
        ("mask", "x.masked_fill(~own, 0)", {"x.masked_fill(own, 0)", "x.masked_fill(~~own, 0)"}),
        ("mask", "a | b", {"a & b"}),
        ("constant", "f(0, 1, 7)", {"f(1, 1, 7)", "f(0, 2, 7)", "f(0, 1, 8)"}),
        ("constant", "x + 0.0001", {"x + 0.0"}),
        ("constant", "x * 0.5", {"x * 1.0"}),
        ("constant", "x.sum(dim=1)", set()),
        ("constant", "f(True, None, 'text')", set()),
        ("dropped", "y = F.normalize(x, dim=-1)", {"y = x"}),
        ("dropped", "x.detach() + x.clamp(min=0)", {"x + x.clamp(min=0)", "x.detach() + x"}),
        ("dropped", "x @ y.T", {"x @ y"}),
        ("dropped", "optimizer.step()", {"pass"}),
        ("dropped", "y = sorted(x, key=len)", {"y = list(x)"}),
        ("dropped", "with torch.no_grad():\n    f = 1", {"if True:\n    f = 1"}),
        ("dropped", "@torch.no_grad()\ndef f():\n    return 1", {"def f():\n    return 1"}),
        ("comparison", "a < b", {"a <= b", "a >= b"}),
        ("comparison", "x == PADDING", {"x != PADDING"}),
        ("comparison", "1 <= k <= n", {"1 < k <= n", "1 > k <= n", "1 <= k < n", "1 <= k > n"}),
        ("comparison", "a is None", {"a is not None"}),
        ("boolean", "a and not b", {"a or not b", "a and b"}),
        ("boolean", "f(True)", {"f(False)"}),
        ("boolean", "if hardest:\n    f = 1", {"if not hardest:\n    f = 1"}),
        ("boolean", "x if c else y", {"y if c else x"}),
    ],
)
def test_an_operator_changes_what_it_says_and_nothing_else(operator, source, expected):
    assert after(source, operator) == expected


def test_every_operator_is_in_the_table():
    assert {operator.__name__ for operator in mutate.OPERATORS} == {
        "sign",
        "axis",
        "reduction",
        "mask",
        "constant",
        "dropped",
        "comparison",
        "boolean",
    }


@pytest.mark.parametrize(
    "source",
    [
        '"""One and 1."""',
        "def f(x: Tensor | None=None, *, seed: int=0, batch: int=128) -> tuple[int, 1]:\n    pass",
        "def f():\n    raise ValueError(f'{1 + 1} of {2}')",
        "class A:\n\n    def __repr__(self):\n        return str(1 + 1)",
        "x: list[1] = y",
        "Loss = Callable[[int], Tensor | None]",
        "y = zip(a, b, strict=True)",
        "f'{a:.3f} {1 + 1}'",
    ],
)
def test_texts_types_messages_and_settings_of_speed_are_left_alone(source):
    assert mutants_of(source) == []


def test_a_mutant_names_its_function_its_line_and_its_change():
    (mutant,) = mutants_of("class A:\n    def f(self, x):\n        return x.mean()", "mmcook/room.py")
    assert (mutant.room, mutant.line, mutant.name) == ("room", 3, "room.A.f: x.mean() -> x.sum()")
    (mutant,) = mutants_of("y = x[2] @ x")
    assert (mutant.before, mutant.after) == ("x[2]", "x[3]")


@pytest.mark.parametrize("source", ["x[None, None]", "y if a else y"])
def test_a_tree_that_reads_like_the_original_is_no_mutant(source):
    assert mutants_of(source) == []


def test_two_operators_that_make_the_same_text_make_one_mutant():
    texts = [m.source for m in mutants_of("x.masked_fill(~own, 1 + 1).sum(dim=1)")]
    assert len(texts) == len(set(texts))


@pytest.fixture(scope="module")
def library() -> list[mutate.Mutant]:
    """Every mutant of the library."""
    files = sorted((mutate.REPOSITORY / "mmcook").glob("*.py"))
    return [m for file in files for m in mutants_of(file.read_text(encoding="utf-8"), f"mmcook/{file.name}")]


def test_every_mutant_of_the_library_is_python(library):
    for mutant in library:
        ast.parse(mutant.source)


def test_what_is_listed_as_equivalent_is_a_mutant_of_the_library(library):
    assert set(mutate.EQUIVALENT) <= {mutant.name for mutant in library}


def many(room: str, number: int) -> list[mutate.Mutant]:
    """Mutants that differ in the line."""
    return [mutate.Mutant(f"mmcook/{room}.py", i, room, "sign", "a", "b", "") for i in range(number)]


def test_the_draw_is_in_proportion_to_the_mutants_of_each_room_and_holds_none_twice():
    sample = drawn({"a": many("a", 70), "b": many("b", 20), "c": many("c", 10)}, 20, seed=0)
    assert [sum(m.room == room for m in sample) for room in "abc"] == [14, 4, 2]
    assert len(set(sample)) == 20


def test_the_draw_is_the_same_for_the_same_seed_and_another_for_another():
    mutants = {"a": many("a", 70), "b": many("b", 33)}
    assert drawn(mutants, 17, seed=3) == drawn(mutants, 17, seed=3) != drawn(mutants, 17, seed=4)
    assert len(drawn(mutants, 17, seed=3)) == 17
    assert len(drawn(mutants, 1000, seed=3)) == 103


TINY = '''"""A room."""


def double(x):
    """Twice x, and never less than nothing."""
    return max(2 * x, x + x)
'''
TINY_TEST = """import subprocess
import sys

from mmcook import tiny


def test_double():
    assert tiny.double(3) == 6


def test_double_in_a_process_of_its_own():
    code = "from mmcook import tiny; print(tiny.double(-3))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "-6\\n"
"""
COMMAND = "import sys, mutate; from pathlib import Path; sys.exit(mutate.main({arguments}, Path({folder!r}), ()))"


@pytest.fixture
def tiny(tmp_path) -> Path:
    """A package of one room, and its test."""
    for folder in ("mmcook", "tests"):
        (tmp_path / folder).mkdir()
    (tmp_path / "mmcook" / "__init__.py").write_text("")
    (tmp_path / "mmcook" / "tiny.py").write_text(TINY)
    (tmp_path / "tests" / "test_tiny.py").write_text(TINY_TEST)
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    return tmp_path


def run_mutate(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command on a package, in a process that has imported nothing."""
    code = COMMAND.format(arguments=list(arguments), folder=str(folder))
    return subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True)


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@needs_fork
def test_a_wrong_mutant_is_caught_and_an_equivalent_one_survives(tiny):
    done = run_mutate(tiny, "tiny", "--number", "99")
    said = {line.split("  ")[2]: line.split("  ")[3].split(" by ")[0] for line in done.stdout.splitlines()[2:-2]}
    assert said == {
        "tiny.double: max(2 * x, x + x) -> min(2 * x, x + x)": "SURVIVED",  # both sides are equal
        "tiny.double: 2 * x -> 2 / x": "caught",  # only by the process of its own
        "tiny.double: 2 * x -> 3 * x": "caught",
        "tiny.double: x + x -> x - x": "caught",  # likewise
    }, done.stdout + done.stderr
    assert "test_double_in_a_process_of_its_own" in done.stdout
    assert "all: 3 of 4 caught, 75.0%" in done.stdout
    assert done.returncode == 1
    assert (tiny / "mmcook" / "tiny.py").read_text() == TINY


@needs_fork
def test_tests_that_fail_unchanged_stop_the_run(tiny):
    (tiny / "tests" / "test_tiny.py").write_text("def test_nothing():\n    assert False")
    done = run_mutate(tiny, "tiny")
    assert "tiny fails unchanged, by tests/test_tiny.py::test_nothing: mend that first" in done.stdout
    assert done.returncode == 2


@needs_fork
def test_a_mutant_that_never_ends_is_caught_with_all_its_processes(tiny):
    marker = f"{tiny}/{os.getpid()}"
    (tiny / "tests" / "test_tiny.py").write_text(
        "import subprocess, sys\n\n\ndef test_forever():\n"
        f"    subprocess.run([sys.executable, '-c', 'while True: pass', {marker!r}])\n"
    )
    verdict = mutate.judge(tiny, ["tests/test_tiny.py"], limit=5)
    assert verdict.by == "the time limit of 5 s"
    assert not [p for p in psutil.process_iter(["cmdline"]) if marker in " ".join(p.info.get("cmdline") or [])]
