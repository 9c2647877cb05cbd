"""Each exercise tells right from wrong: the solution, the hand-out, kept wrong answers and every foreseen mistake."""

from __future__ import annotations

from typing import Any

import handin
import pytest

from mmcook.classroom.evidence import outcome
from mmcook.classroom.gradebook import NOTEBOOK, RELEASED, SOLUTIONS
from mmcook.classroom.judging import Hidden, load_hidden

HIDDEN = {assignment: load_hidden(SOLUTIONS / assignment / NOTEBOOK) for assignment in handin.ASSIGNMENTS}
EXERCISES = [(assignment, name) for assignment, tests in HIDDEN.items() for name in tests]
WRONG = [(assignment, *which) for assignment in handin.ASSIGNMENTS for which in handin.wrong(assignment)]
SEEDS = [f"seed {i}" for i in range(20)]


def run(assignment: str, code: str) -> dict[str, Any]:
    """The names that an answer defines, beside those of the set-up cell."""
    setup = next(c.source for c in handin.read(SOLUTIONS, assignment).cells if handin.marks(c)["grade_id"] == "setup")
    names: dict[str, Any] = {}
    exec(setup, names)
    exec(code, names)
    return names


def verdict(test: Hidden, function: Any, seed: str) -> str | None:
    """What the judge says of a function."""
    return test.verdict(seed, [outcome(function, case) for case in test.draw(seed)])


@pytest.mark.parametrize(("assignment", "name"), EXERCISES)
def test_the_solution_is_right_under_many_seeds(assignment, name):
    function = run(assignment, handin.right(assignment)[name])[name]
    assert [verdict(HIDDEN[assignment][name], function, seed) for seed in SEEDS] == [None] * len(SEEDS)


@pytest.mark.parametrize(("assignment", "name"), EXERCISES)
def test_what_is_handed_out_gets_nothing(assignment, name):
    function = run(assignment, handin.answers(RELEASED, assignment)[name])[name]
    assert "is not answered yet" in verdict(HIDDEN[assignment][name], function, "a seed")


@pytest.mark.parametrize(("assignment", "name"), EXERCISES)
def test_every_foreseen_mistake_gets_its_own_message(assignment, name):
    test = HIDDEN[assignment][name]
    for message, mistake in test.wrong.items():
        assert {verdict(test, mistake, seed) for seed in SEEDS} == {message}


@pytest.mark.parametrize(("assignment", "name", "which"), WRONG)
def test_a_wrong_answer_gets_the_message_meant_for_it(assignment, name, which):
    code, message = handin.wrong(assignment)[name, which]
    for seed in SEEDS:
        assert verdict(HIDDEN[assignment][name], run(assignment, code)[name], seed).startswith(message)


@pytest.mark.parametrize(("assignment", "name"), EXERCISES)
def test_the_function_of_an_exercise_has_its_name(assignment, name):
    assert HIDDEN[assignment][name].function == name


@pytest.mark.parametrize("assignment", handin.ASSIGNMENTS)
def test_at_least_two_wrong_answers_are_kept_for_each_exercise(assignment):
    kept = [name for name, _ in handin.wrong(assignment)]
    assert set(kept) == set(HIDDEN[assignment])
    assert all(kept.count(name) >= 2 for name in HIDDEN[assignment])


def test_a_seed_sets_shapes_and_numbers():
    test = HIDDEN["07_contrastive_alignment"]["sigmoid_force"]
    drawn = [[(case[0].shape, case[1]) for case in test.draw(seed)] for seed in ("a", "a", "b")]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]
