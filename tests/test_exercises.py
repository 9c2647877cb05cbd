"""The visible checks say what is wrong in words, and are not deceived by types that lie."""

from __future__ import annotations

import pytest
import torch

from mmcook import exercises


class EqualsAll(torch.Tensor):
    """A tensor that says yes to everything."""

    def __eq__(self, other):
        return True

    __hash__ = None


def message(*arguments, **settings) -> str:
    """What a failing check says."""
    with pytest.raises(exercises.NotYet) as caught:
        exercises.check("the loss", *arguments, **settings)
    return str(caught.value)


@pytest.mark.parametrize("value", [torch.tensor(1.0), 1.0, 3, "a", [1.0, (2, "b")], {"a": torch.zeros(2)}, None, True])
def test_an_equal_value_passes(value):
    assert exercises.check("it", value, value) is None


@pytest.mark.parametrize(
    ("value", "expected", "words"),
    [
        (torch.zeros(2), torch.zeros(3), "the loss has shape (2,); expected (3,)"),
        (torch.zeros(2).double(), torch.zeros(2), "the loss is a tensor of torch.float64; expected torch.float32"),
        (torch.tensor([1.0, 2.5]), torch.tensor([1.0, 2.0]), "the loss at [1] is 2.5; expected 2"),
        (torch.tensor(float("nan")), torch.tensor(2.0), "the loss is nan; expected 2"),
        (torch.tensor([[1, 2], [3, 9]]), torch.tensor([[1, 2], [3, 4]]), "the loss at [1, 1] is 9; expected 4"),
        (1.0, torch.tensor(1.0), "the loss is of type float; expected torch.Tensor"),
        (1, 1.0, "the loss is of type int; expected float"),
        (True, 1, "the loss is of type bool; expected int"),
        (1.5, 1.25, "the loss is 1.5; expected 1.25"),
        ("a", "b", "the loss is 'a'; expected 'b'"),
        ([1.0], [1.0, 2.0], "the loss has 1 entries; expected 2"),
        ([1.0, 3.0], [1.0, 2.0], "the loss at entry 1 is 3; expected 2"),
        ({"a": 1}, {"a": 2}, "the loss under 'a' is 1; expected 2"),
        (
            torch.zeros(2).as_subclass(EqualsAll),
            torch.zeros(2),
            "the loss is of type test_exercises.EqualsAll; expected",
        ),
    ],
)
def test_a_difference_is_put_into_words(value, expected, words):
    assert message(value, expected).startswith(words)


def test_a_foreseen_mistake_is_explained():
    hints = {"the mean is missing": 6.0, "your loss averages over padding: token 7 should not count": 1.5}
    assert (
        message(1.5, 2.0, hints)
        == "the loss is 1.5; expected 2: your loss averages over padding: token 7 should not count"
    )
    assert message(1.0, 2.0, hints) == "the loss is 1; expected 2"


def test_tolerances_can_be_wider():
    assert exercises.check("it", 1.0, 1.01, atol=0.1) is None
    assert exercises.check("it", torch.tensor(100.0), torch.tensor(101.0), rtol=0.1) is None


def test_a_notebook_shows_the_message_alone():
    assert exercises.NotYet("the loss is 1")._render_traceback_() == ["Not yet: the loss is 1"]


def test_passed_names_the_exercise(capsys):
    exercises.passed("info_nce")
    assert capsys.readouterr().out.startswith("info_nce: the visible checks pass")
