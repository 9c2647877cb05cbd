"""The command ``mmcook``: doctor, weights, work, seeds, table, classroom, grade."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmcook import chapters, doctor, hub
from mmcook.course import REPOSITORY, write_atomically


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except (ValueError, OSError, hub.WeightsError) as error:
        print(f"mmcook: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    """The commands and their arguments."""
    parser = argparse.ArgumentParser(prog="mmcook", description="The multimodal cookbook's commands.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("doctor", help="say what is found on this machine and how to mend the rest")
    command.set_defaults(run=_doctor)
    command = commands.add_parser("weights", help="fetch the pretrained weights")
    command.add_argument("names", nargs="*", help=f"of {', '.join(hub.CATALOGUE)}; all by default")
    command.set_defaults(run=_weights)
    command = commands.add_parser("work", help="put a working copy of a chapter and its exercises into work/")
    command.add_argument("chapter", help="its number, 07")
    command.set_defaults(run=_work)
    command = commands.add_parser("seeds", help="run chapters at laptop scale over seeds and record what they claim")
    command.add_argument("chapters", nargs="*", help="their numbers; all by default")
    command.set_defaults(run=_seeds)
    command = commands.add_parser("table", help="write the chapter table into README.md from the committed records")
    command.add_argument("--check", action="store_true", help="only say whether it is up to date")
    command.set_defaults(run=_table)
    command = commands.add_parser("classroom", help="write what students receive from notebooks/solutions")
    command.set_defaults(run=_classroom)
    command = commands.add_parser("grade", help="grade a folder of submissions, STUDENT/NN_name/exercises.ipynb")
    command.add_argument("submissions", type=Path, help="the folder")
    command.add_argument("--output", type=Path, default=REPOSITORY / "work" / "grades", help="default: work/grades")
    command.add_argument("--seed", help="the private seed; default: $MMCOOK_GRADING_SEED, or else a new one")
    command.add_argument("--without-sandbox", action="store_true", help="students' code runs under your rights")
    command.set_defaults(run=_grade)
    return parser


def _doctor(options: argparse.Namespace) -> int:
    """Print the findings; fails when something needed is missing."""
    findings = doctor.examine()
    print(doctor.report(findings))
    return int(any(not finding.found and not finding.optional for finding in findings))


def _weights(options: argparse.Namespace) -> int:
    """Fetch weights, or say where they lie."""
    for name in options.names or hub.CATALOGUE:
        hub.pretrained(name)
        print(f"{name}: from the {hub.SOURCES[name]}, licence {hub.CATALOGUE[name].licence}")
    return 0


def _work(options: argparse.Namespace) -> int:
    """Copy a chapter."""
    for copy in chapters.work_on(chapters.find(options.chapter)):
        print(f"your copy is {copy.relative_to(REPOSITORY)}; open it with: jupyter lab {copy.relative_to(REPOSITORY)}")
    return 0


def _seeds(options: argparse.Namespace) -> int:
    """Record chapters over seeds; fails when a claim did not hold."""
    for path in map(chapters.find, options.chapters) if options.chapters else chapters.chapters():
        print(f"{path.stem}: {chapters.record_seeds(path).relative_to(REPOSITORY)}")
    return 0


def _table(options: argparse.Namespace) -> int:
    """Write the table, or compare it."""
    readme = REPOSITORY / "README.md"
    fresh = chapters.with_table(readme.read_text(encoding="utf-8"), chapters.table())
    if options.check:
        if fresh != readme.read_text(encoding="utf-8"):
            raise ValueError("the chapter table in README.md is stale; run: mmcook table")
        return 0
    write_atomically(Path(readme), fresh)
    return 0


def _classroom(options: argparse.Namespace) -> int:
    """Generate the hand-outs."""
    from mmcook.classroom import gradebook

    for path in gradebook.release():
        print(path.relative_to(REPOSITORY))
    return 0


def _grade(options: argparse.Namespace) -> int:
    """Grade everybody, and say where the marks are."""
    from mmcook.classroom import grading

    seed = options.seed or grading.new_seed()
    grader = grading.Grader(seed, sandboxed=not options.without_sandbox)
    rows = grading.grade(options.submissions, options.output, grader)
    students = len({row.student for row in rows})
    print(f"{students} students, {sum(row.score for row in rows):g} of {sum(row.max for row in rows):g} marks")
    print(f"marks and reasons: {options.output / 'grades.csv'}; pages for students: {options.output / 'feedback'}")
    print(f"the same inputs again: --seed {seed!r}")
    return 0
