"""Checks that a student sees: each says in words what is wrong. The grader does not rely on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmcook.classroom.judging import difference


class NotYet(AssertionError):
    """An answer that is not right yet; shown as its message alone, without a traceback."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows of this error."""
        return [f"Not yet: {self}"]


def check(
    what: str,
    value: Any,
    expected: Any,
    hints: Mapping[str, Any] | None = None,
    *,
    rtol: float = 1e-4,
    atol: float = 1e-5,
) -> None:
    """Compare an answer with what it should be; exact types, and numbers within a tolerance.

    Args:
        what: the answer in words, at the start of the message: "the loss of two pairs".
        value: the student's.
        expected: a tensor, a number, a text, or a list, tuple or dict of these.
        hints: for a message that explains a mistake, the value that this mistake gives.
        rtol: relative tolerance of floating-point numbers.
        atol: absolute tolerance of floating-point numbers.
    Raises: NotYet when they differ.
    """
    words = difference(value, expected, rtol=rtol, atol=atol)
    if words is None:
        return
    for message, mistaken in (hints or {}).items():
        if difference(value, mistaken, rtol=rtol, atol=atol) is None:
            raise NotYet(f"{what} {words}: {message}")
    raise NotYet(f"{what} {words}")


def passed(function: str) -> None:
    """Say that the visible checks of an exercise pass."""
    print(f"{function}: the visible checks pass. The grader calls it with other shapes and numbers.")
