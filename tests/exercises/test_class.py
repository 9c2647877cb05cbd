"""Forty students and more, some of whom attack the grader: each loses marks for itself alone, and gets a reason."""

from __future__ import annotations

import csv
import os
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import attacks
import handin
import pytest

from mmcook import exercises
from mmcook.classroom import grading, sandbox

A_FEW = ("honest", "blank", "partly", "dies", "equals-all", "forged", "painted", "no-notebook")
MINUTES = 12


@pytest.fixture(scope="module")
def bubblewrap() -> None:
    """A system that can make the sandbox; in CI on Linux it must."""
    try:
        sandbox.demand_sandbox()
    except sandbox.SandboxError as error:
        (pytest.fail if os.environ.get("CI") and sys.platform == "linux" else pytest.skip)(str(error))


def graded(names: tuple[str, ...], folder: Path) -> tuple[dict[str, list[dict[str, str]]], float]:
    """The lines of grades.csv of each student, and how many minutes it took."""
    for name in names:
        made = attacks.STUDENTS[name].hand_in()
        handin.hand_in(made, folder / "submissions", name, attacks.ASSIGNMENT)
    start = time.monotonic()
    grading.grade(folder / "submissions", folder / "out", grading.Grader("a private seed"))
    minutes = (time.monotonic() - start) / 60
    with open(folder / "out" / "grades.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [row for row in rows if row["student"] == name] for name in names}, minutes


def judge(name: str, rows: list[dict[str, str]]) -> list[str]:
    """What is wrong with the marks of a student."""
    student = attacks.STUDENTS[name]
    found = [f"{name}: {len(rows)} lines"] if len(rows) != len(attacks.NAMES) else []
    right = sum(row["score"] == row["max"] for row in rows)
    found += [f"{name}: {right} right, expected {student.right}"] if right != student.right else []
    for row in rows:
        lost = row["score"] != row["max"]
        if lost != bool(row["reason"]):
            found.append(f"{name}: {row}")
        expected = student.reasons.get(row["exercise"], "")
        if expected not in row["reason"]:
            found.append(f"{name}: {expected!r} is not in {row['reason']!r}")
    return found


class _Active(HTMLParser):
    """Collects from a page what a browser would run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.found += [tag] if tag in ("script", "iframe", "object", "embed") else []
        self.found += [f"{k}={v}" for k, v in attrs if k.startswith("on") or str(v).strip().startswith("javascript:")]


def active(page: Path) -> list[str]:
    """What a browser would run of a page."""
    parser = _Active()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser.found


def assert_no_scripts(feedback: Path) -> None:
    """A student's scripts are not in the page, though the page has its own."""
    painted, honest = (feedback / name / f"{attacks.ASSIGNMENT}.html" for name in ("painted", "honest"))
    assert "broken in" in painted.read_text(encoding="utf-8")
    assert active(painted) == active(honest)


def test_a_few_students_are_graded_each_by_themselves(bubblewrap, tmp_path):
    rows, minutes = graded(A_FEW, tmp_path)
    assert [problem for name in A_FEW for problem in judge(name, rows[name])] == []
    assert minutes < 2
    page = (tmp_path / "out" / "feedback" / "partly" / f"{attacks.ASSIGNMENT}.html").read_text(encoding="utf-8")
    assert "the chain rule is missing" in page
    assert "by_autograd" not in page
    assert_no_scripts(tmp_path / "out" / "feedback")


@pytest.mark.classroom
def test_a_class_with_attackers_is_graded_within_twelve_minutes(bubblewrap, tmp_path):
    names = tuple(attacks.STUDENTS)
    assert len(names) >= 40
    attacked = Path(exercises.__file__).read_bytes()
    rows, minutes = graded(names, tmp_path)
    assert Path(exercises.__file__).read_bytes() == attacked
    assert [problem for name in names for problem in judge(name, rows[name])] == []
    print(f"{len(names)} submissions in {minutes:.1f} minutes")
    assert minutes < MINUTES
    pages = list((tmp_path / "out" / "feedback").glob("*/*.html"))
    assert len(pages) == len(names)
    assert max(page.stat().st_size for page in pages) < 2_000_000
    assert_no_scripts(tmp_path / "out" / "feedback")
