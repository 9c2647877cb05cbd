"""What a function returned, as plain data: written in the student's kernel, read with suspicion in the grader's."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

EVIDENCE_TYPE = "application/vnd.mmcook.evidence"
MOST_NUMBERS = 1_000_000  # in one tensor
MOST_TEXT = 500  # characters of an error's message
PLAIN = (bool, int, float, str, type(None))
DTYPES = {
    name: getattr(torch, name)
    for name in ("float64", "float32", "float16", "bfloat16", "int64", "int32", "uint8", "bool")
}


class EvidenceError(ValueError):
    """What came out of a kernel is no evidence."""


@dataclass(frozen=True)
class Failure:
    """A call that gave no value."""

    text: str


@dataclass(frozen=True)
class Other:
    """A value of a type that no exercise asks for; only the type's name is known."""

    name: str


def type_name(value: object) -> str:
    """The name of a value's type as an error message writes it."""
    kind = type(value)
    if isinstance(value, Other):
        return value.name
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def encode(value: object) -> Any:
    """A value as JSON can hold it. Exact types only: of a subclass, nothing but its name is kept."""
    if type(value) is torch.Tensor:
        return _encode_tensor(value)
    if type(value) in PLAIN:
        return {"plain": value}
    if type(value) in (list, tuple):
        return {type(value).__name__: [encode(item) for item in value]}
    if type(value) is dict:
        return {"dict": [[encode(key), encode(item)] for key, item in value.items()]}
    if type(value) is Failure:
        return {"failure": value.text}
    return {"other": type_name(value)[:MOST_TEXT]}


def _encode_tensor(value: torch.Tensor) -> dict[str, Any]:
    """A dense tensor as its dtype, shape and bytes."""
    dtype = str(value.dtype).removeprefix("torch.")
    if dtype not in DTYPES or value.layout != torch.strided or value.numel() > MOST_NUMBERS:
        return {"other": f"torch.Tensor of {value.numel():,} numbers, {dtype}, {value.layout}"}
    flat = value.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    data = base64.b64encode(flat.view(torch.uint8).numpy().tobytes()).decode()
    return {"tensor": data, "dtype": dtype, "shape": list(value.shape)}


def decode(node: Any) -> Any:
    """The value that was encoded; :class:`Other` and :class:`Failure` stand for what was none.

    Raises: EvidenceError when the data is not what :func:`encode` writes.
    """
    try:
        return _decode(node)
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:  # RecursionError is a RuntimeError
        raise EvidenceError(f"no evidence: {type(error).__name__}") from None


def _decode(node: dict[str, Any]) -> Any:
    """:func:`decode`, with whatever error a malformed node gives."""
    kind = next(iter(node), None)
    content = node[kind]
    if kind == "tensor":
        return _decode_tensor(content, DTYPES[node["dtype"]], node["shape"])
    if kind == "plain" and type(content) in PLAIN:
        return content
    if kind in ("list", "tuple") and type(content) is list:
        return (list if kind == "list" else tuple)(map(_decode, content))
    if kind == "dict":
        return {_decode(key): _decode(item) for key, item in content}
    if kind in ("failure", "other") and type(content) is str:
        return (Failure if kind == "failure" else Other)(content[:MOST_TEXT])
    raise EvidenceError(kind)


def _decode_tensor(text: str, dtype: torch.dtype, shape: list[int]) -> torch.Tensor:
    """A tensor from its bytes, whose number the shape must bear out."""
    if any(type(n) is not int or n < 0 for n in shape) or math.prod(shape) > MOST_NUMBERS:
        raise EvidenceError("shape")
    data = bytearray(base64.b64decode(text, validate=True))
    if len(data) != math.prod(shape) * dtype.itemsize:
        raise EvidenceError("bytes")
    return torch.frombuffer(data, dtype=dtype).reshape(shape) if data else torch.empty(shape, dtype=dtype)


def questions(function: str, cases: list[tuple[Any, ...]]) -> str:
    """The code that a student's kernel gets in the place of a hidden test: the inputs, and not what is expected."""
    inputs = json.dumps([encode(case) for case in cases])
    return f"from mmcook.classroom import evidence\n\nevidence.answer(globals().get({function!r}), {inputs!r})"


def answer(function: Callable[..., Any] | None, inputs: str) -> None:
    """Call a student's function on each of the inputs and show what it returned as evidence.

    Args:
        function: what the notebook has under the name that the exercise asks for.
        inputs: the cases, as :func:`questions` writes them.
    """
    from IPython.display import display

    results = [encode(outcome(function, case)) for case in map(decode, json.loads(inputs))]
    display({EVIDENCE_TYPE: json.dumps(results), "text/plain": ""}, raw=True)


def outcome(function: Callable[..., Any] | None, case: tuple[Any, ...]) -> Any:
    """What a function makes of one case: its value, or the :class:`Failure` with what it raised."""
    if not callable(function):
        return Failure("is not there")
    try:
        return function(*case)
    except NotImplementedError:
        return Failure("is not answered yet: it raises NotImplementedError")
    except (Exception, SystemExit) as error:
        return Failure(f"raises {type(error).__name__}: {error}"[:MOST_TEXT])


def read(texts: list[Any]) -> list[Any]:
    """The outcomes in the evidence that a cell showed.

    Raises: EvidenceError when there is not exactly one piece of evidence, or it is malformed.
    """
    if len(texts) != 1 or type(texts[0]) is not str:
        raise EvidenceError(f"its cell gave {len(texts)} sets of answers; expected one")
    try:
        nodes = json.loads(texts[0])
    except (ValueError, RecursionError):
        raise EvidenceError("its cell gave answers that cannot be read") from None
    if type(nodes) is not list:
        raise EvidenceError("its cell gave answers that are no list")
    return [decode(node) for node in nodes]
