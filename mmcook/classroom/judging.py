"""The verdict on an exercise: a student's answers against the reference's, and the reason for a lost mark."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmcook.classroom.evidence import Failure, Other, outcome, type_name

HIDDEN_BLOCK = re.compile(r"### BEGIN HIDDEN TESTS\n(.*?)### END HIDDEN TESTS", re.DOTALL)
Cases = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Hidden:
    """What a teacher knows of an exercise and a student does not: stands in a hidden block of the source notebook.

    Args:
        function: name of the function that the student writes.
        reference: the right function, written independently of the solution where that is possible.
        cases: makes inputs, a list of tuples of arguments, from a random generator; shapes and data should vary.
        wrong: for each message, the mistake that it explains, as a function.
        rtol: relative tolerance of floating-point results.
        atol: absolute tolerance of floating-point results.
    """

    function: str
    reference: Callable[..., Any]
    cases: Callable[[np.random.Generator], Cases]
    wrong: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    rtol: float = 1e-4
    atol: float = 1e-5

    def draw(self, seed: str) -> Cases:
        """The cases of a seed; no two exercises get the same numbers from it."""
        digest = hashlib.sha256(f"{seed}/{self.function}".encode()).digest()
        return self.cases(np.random.default_rng(list(digest)))

    def verdict(self, seed: str, outcomes: list[Any]) -> str | None:
        """Why the outcomes of a student's function deserve no mark; None when they do.

        Args:
            seed: the seed of the cases that the function was called on.
            outcomes: what it made of each of them, as the evidence says.
        """
        expected = self._outcomes(self.reference, seed)
        if len(outcomes) != len(expected):
            return f"{self.function} answered {len(outcomes)} cases of {len(expected)}"
        if failed := [result.text for result in outcomes if isinstance(result, Failure)]:
            return f"{self.function} {failed[0]}"
        found = [self._difference(*pair) for pair in zip(outcomes, expected, strict=True)]
        if not any(found):
            return None
        for message, mistake in self.wrong.items():
            made = self._outcomes(mistake, seed)
            if not any(self._difference(*pair) for pair in zip(outcomes, made, strict=True)):
                return message
        number, words = next((i, words) for i, words in enumerate(found, 1) if words)
        return f"case {number} of {len(found)}: what {self.function} returns {words}"

    def _outcomes(self, function: Callable[..., Any], seed: str) -> list[Any]:
        """What a function of the teacher's makes of the cases, drawn anew so that nothing can have changed them."""
        return [outcome(function, case) for case in self.draw(seed)]

    def _difference(self, value: Any, expected: Any) -> str | None:
        """How a result differs from another within this exercise's tolerances."""
        return difference(value, expected, rtol=self.rtol, atol=self.atol)


def difference(value: Any, expected: Any, *, rtol: float = 1e-4, atol: float = 1e-5) -> str | None:
    """How a value differs from the expected one, in words that follow "what f returns"; None when it does not.

    Types must be the same, not derived: an object whose ``__eq__`` always says yes is never asked.

    Args:
        value: what there is.
        expected: what should be there: a tensor, a number, a text, or a list, tuple or dict of these.
        rtol: relative tolerance of floating-point numbers.
        atol: absolute tolerance of floating-point numbers.
    """
    if type(value) is not type(expected) or isinstance(value, Other):
        return f"is of type {type_name(value)}; expected {type_name(expected)}"
    if type(expected) is torch.Tensor:
        return _tensor_difference(value, expected, rtol, atol)
    if type(expected) is float:
        close = math.isclose(value, expected, rel_tol=rtol, abs_tol=atol)
        return None if close else f"is {value:.6g}; expected {expected:.6g}"
    if type(expected) in (list, tuple, dict) and len(value) != len(expected):
        return f"has {len(value)} entries; expected {len(expected)}"
    if type(expected) in (list, tuple):
        found = (difference(*pair, rtol=rtol, atol=atol) for pair in zip(value, expected, strict=True))
        return next((f"at entry {i} {words}" for i, words in enumerate(found) if words), None)
    if type(expected) is dict:
        found = ((k, difference(value.get(k), v, rtol=rtol, atol=atol)) for k, v in expected.items())
        return next((f"under {key!r} {words}" for key, words in found if words), None)
    return None if value == expected else f"is {value!r:.80}; expected {expected!r:.80}"


def _tensor_difference(value: torch.Tensor, expected: torch.Tensor, rtol: float, atol: float) -> str | None:
    """How a tensor differs from another in shape, dtype or values."""
    if value.shape != expected.shape:
        return f"has shape {tuple(value.shape)}; expected {tuple(expected.shape)}"
    if value.dtype != expected.dtype:
        return f"is a tensor of {value.dtype}; expected {expected.dtype}"
    value, expected = value.detach().cpu(), expected.detach().cpu()
    try:
        torch.testing.assert_close(value, expected, rtol=rtol, atol=atol)
    except AssertionError:
        apart = (value.double() - expected.double()).abs().nan_to_num(nan=math.inf, posinf=math.inf)
        at = tuple(int(i) for i in np.unravel_index(int(apart.argmax()), tuple(apart.shape) or (1,)))[: apart.ndim]
        where = f"at {list(at)} " if at else ""
        return f"{where}is {value[at].item():.6g}; expected {expected[at].item():.6g}"
    return None


def load_hidden(source: Path) -> dict[str, Hidden]:
    """The hidden tests of a source notebook by the name of their check cell.

    Runs the notebook's locked set-up cells and its hidden blocks: the teacher's code, nothing else.

    Raises: ValueError when a check cell does not define exactly one :class:`Hidden`.
    """
    import nbformat

    shared: dict[str, Any] = {}
    found = {}
    for cell in nbformat.read(source, as_version=4).cells:
        marks = cell.metadata.get("nbgrader", {})
        if cell.cell_type != "code" or not marks.get("locked"):
            continue
        if not marks["grade"]:
            exec(compile(cell.source, f"{source.name}: {marks['grade_id']}", "exec"), shared)
            continue
        scope = dict(shared)
        block = "".join(HIDDEN_BLOCK.findall(cell.source))
        exec(compile(block, f"{source.name}: {marks['grade_id']}", "exec"), scope)
        tests = [value for value in scope.values() if isinstance(value, Hidden)]
        if len(tests) != 1:
            raise ValueError(
                f"{source}: the check cell {marks['grade_id']!r} defines {len(tests)} Hidden(...) between"
                " '### BEGIN HIDDEN TESTS' and '### END HIDDEN TESTS'; expected one"
            )
        found[marks["grade_id"]] = tests[0]
    return found
