"""Every command does its work, says what it did, and fails with a message and the status 1."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from mmcook import chapters, cli, doctor, hub
from mmcook.classroom import gradebook, grading
from mmcook.doctor import Finding


@pytest.fixture
def house(small_chapter, tmp_path, monkeypatch) -> Path:
    """A repository with one chapter and a README."""
    for room in (cli, chapters):
        monkeypatch.setattr(room, "REPOSITORY", tmp_path)
    shutil.copytree(small_chapter.parent, tmp_path / "notebooks")
    for function in (chapters.chapters, chapters.table):
        monkeypatch.setattr(function, "__defaults__", (tmp_path / "notebooks",))
    (tmp_path / "README.md").write_text(f"# Course\n{chapters.TABLE_START}\n{chapters.TABLE_END}\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("findings", "status"),
    [
        ([Finding("data", True, "complete")], 0),
        ([Finding("Chromium", False, "not found", "apt install chromium", optional=True)], 0),
        ([Finding("data", True, "complete"), Finding("torch", False, "not installed", "pip install")], 1),
    ],
    ids=["all there", "optional missing", "needed missing"],
)
def test_doctor_fails_when_something_needed_is_missing(findings, status, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "examine", lambda: findings)
    assert cli.main(["doctor"]) == status
    assert capsys.readouterr().out == doctor.report(findings) + "\n"


def test_weights_says_where_they_come_from_and_under_which_licence(monkeypatch, capsys):
    monkeypatch.setattr(hub, "SOURCES", {})
    monkeypatch.setattr(hub, "pretrained", lambda name: hub.SOURCES.update({name: hub.WHEEL_COPY}))
    assert cli.main(["weights"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "minilm: from the package index, licence Apache-2.0",
        "efficientnet-lite0: from the package index, licence Apache-2.0",
        "whisper-tiny.en: from the package index, licence MIT",
    ]
    assert cli.main(["weights", "minilm"]) == 0
    assert capsys.readouterr().out.startswith("minilm")


def test_weights_that_cannot_be_had_and_unknown_ones_are_messages(empty_cache, monkeypatch, capsys):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    assert cli.main(["weights", "minilm"]) == 1
    assert capsys.readouterr().err.startswith("mmcook: no weights for 'minilm'")
    assert cli.main(["weights", "bert"]) == 1
    assert "no weights named 'bert'" in capsys.readouterr().err


def test_work_copies_a_chapter_once(house, capsys):
    assert cli.main(["work", "3"]) == 0
    copy = Path("work", "03_small.ipynb")
    assert capsys.readouterr().out == f"your copy is {copy}; open it with: jupyter lab {copy}\n"
    assert (house / copy).is_file()
    assert cli.main(["work", "3"]) == 1
    assert capsys.readouterr().err.startswith("mmcook: work/03_small.ipynb is there already")


def test_work_copies_the_exercises_of_a_chapter_too(house, capsys):
    handout = house / "notebooks" / "exercises" / "03_small" / "exercises.ipynb"
    handout.parent.mkdir(parents=True)
    handout.write_text("the exercises", encoding="utf-8")
    assert cli.main(["work", "3"]) == 0
    assert (house / "work" / "03_small_exercises.ipynb").read_text(encoding="utf-8") == "the exercises"
    (house / "work" / "03_small.ipynb").write_text("my work", encoding="utf-8")
    (house / "work" / "03_small_exercises.ipynb").unlink()
    assert cli.main(["work", "3"]) == 0
    assert "your copy is" in capsys.readouterr().out
    assert (house / "work" / "03_small.ipynb").read_text(encoding="utf-8") == "my work"
    assert cli.main(["work", "3"]) == 1
    assert "work/03_small.ipynb and work/03_small_exercises.ipynb are there already" in capsys.readouterr().err


def test_work_on_an_unknown_chapter_is_a_message(house, capsys):
    assert cli.main(["work", "99"]) == 1
    assert capsys.readouterr().err == "mmcook: no chapter '99'; there are 03_small\n"


@pytest.mark.parametrize("arguments", [[], ["3"], ["03"]], ids=["all", "3", "03"])
def test_seeds_records_the_chapters_named_or_all(arguments, house, monkeypatch, capsys):
    done = []
    target = house / "notebooks" / "records" / "03_small.json"
    monkeypatch.setattr(chapters, "record_seeds", lambda path: done.append(path.stem) or target)
    assert cli.main(["seeds", *arguments]) == 0
    assert done == ["03_small"]
    assert capsys.readouterr().out == f"03_small: {target.relative_to(house)}\n"


def test_table_is_written_and_then_up_to_date(house, monkeypatch, capsys):
    monkeypatch.setattr(chapters, "table", lambda: "| a row |")
    assert cli.main(["table", "--check"]) == 1
    assert "the chapter table in README.md is stale; run: mmcook table" in capsys.readouterr().err
    assert cli.main(["table"]) == 0
    assert "| a row |" in (house / "README.md").read_text(encoding="utf-8")
    assert cli.main(["table", "--check"]) == 0


def test_a_chapter_that_was_not_run_gives_no_table(house, capsys):
    assert cli.main(["table"]) == 1
    assert "03_small.ipynb holds no record" in capsys.readouterr().err


def test_a_full_disk_is_a_message(house, monkeypatch, capsys):
    def full(path, content):
        raise OSError(errno.ENOSPC, f"{path.name} could not be written; make room")

    monkeypatch.setattr(chapters, "table", lambda: "")
    monkeypatch.setattr(cli, "write_atomically", full)
    assert cli.main(["table"]) == 1
    assert "README.md could not be written; make room" in capsys.readouterr().err


def test_classroom_names_what_it_wrote(house, monkeypatch, capsys):
    monkeypatch.setattr(gradebook, "release", lambda: [house / "notebooks" / "exercises" / "a.ipynb"])
    assert cli.main(["classroom"]) == 0
    assert capsys.readouterr().out == f"{Path('notebooks', 'exercises', 'a.ipynb')}\n"


def test_grade_says_where_the_marks_are_and_how_to_repeat_it(tmp_path, monkeypatch, capsys):
    asked = []
    row = grading.Row("ada", "03_small", "double", 1.0, 2.0, "twice, not squared")
    monkeypatch.setattr(grading, "grade", lambda *arguments: asked.append(arguments) or [row])
    assert cli.main(["grade", "in", "--output", str(tmp_path), "--seed", "autumn", "--without-sandbox"]) == 0
    assert asked == [(Path("in"), tmp_path, grading.Grader("autumn", sandboxed=False))]
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == "1 students, 1 of 2 marks"
    assert str(tmp_path / "grades.csv") in second
    assert third == "the same inputs again: --seed 'autumn'"


def test_grading_nothing_is_a_message(tmp_path, capsys):
    assert cli.main(["grade", str(tmp_path)]) == 1
    assert "holds no folder of a student" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["dance"], ["work"], ["grade"]])
def test_a_wrong_command_line_is_refused_with_the_usage(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage: mmcook" in capsys.readouterr().err
