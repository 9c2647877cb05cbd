"""The proof battery: what every objective of the course must pass (design, "The proof of an objective")."""

import pytest
import torch
from objectives import OBJECTIVES

CASES = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)


def spread(kind: str):
    """One test case for each entry that the rows hold under a name."""
    cases = [(row, entry) for row in OBJECTIVES.values() for entry in getattr(row, kind)]
    names = [f"{name}-{i}" for name, row in OBJECTIVES.items() for i in range(len(getattr(row, kind)))]
    return pytest.mark.parametrize(("objective", "entry"), cases, ids=names)


def learned_copy(objective, batch=4):
    """Inputs of which the learned ones ask for a gradient."""
    inputs = objective.inputs(batch)
    return tuple(x.clone().requires_grad_(i in objective.learned) for i, x in enumerate(inputs))


@CASES
def test_gradient_equals_finite_differences(objective):
    assert torch.autograd.gradcheck(objective.loss, learned_copy(objective))


@spread("oracles")
@pytest.mark.parametrize("batch", [1, 2, 7])
def test_loss_equals_its_oracle(objective, entry, batch):
    inputs = objective.inputs(batch)
    torch.testing.assert_close(objective.loss(*inputs), objective.oracles[entry](*inputs), rtol=1e-9, atol=1e-9)


@spread("limits")
def test_loss_in_a_limiting_case(objective, entry):
    said, inputs, expected = entry
    assert objective.loss(*inputs).item() == pytest.approx(expected, abs=1e-9), said


@spread("invariances")
def test_loss_does_not_change_under(objective, entry):
    inputs = objective.inputs(5)
    changed = objective.invariances[entry](inputs)
    torch.testing.assert_close(objective.loss(*changed), objective.loss(*inputs), rtol=1e-9, atol=1e-9)


@spread("extremes")
def test_loss_and_gradient_stay_finite(objective, entry):
    inputs = tuple(x.clone().requires_grad_(i in objective.learned) for i, x in enumerate(objective.extremes[entry]))
    loss = objective.loss(*inputs)
    loss.backward()
    assert loss.isfinite()
    assert all(inputs[i].grad.isfinite().all() for i in objective.learned)


@spread("extremes")
def test_float32_agrees_with_float64_at_the_edge(objective, entry):
    inputs = objective.extremes[entry]
    single = tuple(x.float() if x.is_floating_point() else x for x in inputs)
    torch.testing.assert_close(objective.loss(*single).double(), objective.loss(*inputs), rtol=1e-4, atol=1e-4)


@spread("errors")
def test_bad_input_is_refused_with_a_message(objective, entry):
    inputs, message = entry
    with pytest.raises(ValueError) as refused:
        objective.loss(*inputs)
    assert message in str(refused.value)


@CASES
def test_everything_learned_receives_a_gradient(objective):
    inputs = learned_copy(objective)
    objective.loss(*inputs).backward()
    assert all(inputs[i].grad.abs().sum() > 0 for i in objective.learned)


@CASES
def test_works_under_autocast(objective):
    inputs = tuple(x.float() if x.is_floating_point() else x for x in objective.inputs(4))
    with torch.autocast("cpu", torch.bfloat16):
        loss = objective.loss(*inputs)
    torch.testing.assert_close(loss.float(), objective.loss(*inputs), rtol=0.05, atol=0.05)
