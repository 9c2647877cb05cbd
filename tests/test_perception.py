"""Missing modalities are not read, dropout hides at its rate, and Shapley's axioms hold."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from mmcook.perception import PerceptionModel, modality_dropout, shapley_values

DIMS = {"image": 5, "text": 3, "speech": 4}
SUBSETS = [torch.tensor(s) for s in itertools.product([False, True], repeat=3)]


@pytest.fixture
def model() -> PerceptionModel:
    """A small model in double precision."""
    torch.manual_seed(0)
    return PerceptionModel(list(DIMS), list(DIMS.values()), 8).double()


def batch(n: int = 6, seed: int = 0) -> dict[str, torch.Tensor]:
    """Features of n rows."""
    generator = torch.Generator().manual_seed(seed)
    return {m: torch.randn(n, width, generator=generator).double() for m, width in DIMS.items()}


@pytest.mark.parametrize("n", [1, 6])
def test_every_modality_comes_back_in_its_own_width(n, model):
    state, decoded = model(batch(n), torch.ones(n, 3, dtype=torch.bool))
    assert state.shape == (n, 8)
    assert {m: x.shape for m, x in decoded.items()} == {m: (n, width) for m, width in DIMS.items()}


@pytest.mark.parametrize("subset", SUBSETS, ids=str)
def test_what_stands_at_a_missing_modality_is_not_read_and_what_is_present_is(subset, model):
    inputs, other, present = batch(), batch(seed=1), subset.expand(6, 3)
    state, decoded = model(inputs, present)
    for place, m in enumerate(DIMS):
        changed, retold = model(inputs | {m: other[m]}, present)
        assert torch.allclose(changed, state) != bool(subset[place])
        assert all(torch.allclose(retold[k], decoded[k]) != bool(subset[place]) for k in DIMS)


def test_not_a_number_at_a_missing_modality_spoils_neither_state_nor_gradient(model):
    inputs, present = batch(2), torch.tensor([[True, False, True], [True, True, True]])
    inputs["text"][0] = torch.nan
    state, decoded = model(inputs, present)
    (state.sum() + decoded["text"].sum()).backward()
    assert state.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_rows_with_different_modalities_do_not_touch_each_other(model):
    inputs, present = batch(8), torch.stack(SUBSETS)
    state, decoded = model(inputs, present)
    for row, subset in enumerate(SUBSETS):
        alone, told = model({m: x[row : row + 1] for m, x in inputs.items()}, subset[None])
        torch.testing.assert_close(alone, state[row : row + 1])
        torch.testing.assert_close(told["text"], decoded["text"][row : row + 1])


def test_the_first_level_is_the_mean_over_the_modalities_present():
    torch.manual_seed(0)
    model, inputs = PerceptionModel(list(DIMS), list(DIMS.values()), 8, levels=1).double(), batch()
    encoded = {m: model.encoders[0][m](model.entrances[m](x)) for m, x in inputs.items()}
    present = torch.tensor([True, False, True]).expand(6, 3)
    torch.testing.assert_close(model(inputs, present)[0], (encoded["image"] + encoded["speech"]) / 2)
    alone = model(inputs, torch.tensor([False, True, False]).expand(6, 3))[0]
    torch.testing.assert_close(alone, encoded["text"])


@pytest.mark.parametrize("levels", [1, 3])
def test_the_parameters_are_as_many_as_the_formula_says_and_all_receive_a_gradient(levels):
    model = PerceptionModel(list(DIMS), list(DIMS.values()), 8, levels=levels)
    ends = sum((width + 1) * 8 + (8 + 1) * width for width in DIMS.values())
    assert sum(p.numel() for p in model.parameters()) == ends + levels * 2 * 3 * (16 + 9 * 8)
    inputs = {m: x.float() for m, x in batch().items()}
    state, decoded = model(inputs, torch.ones(6, 3, dtype=torch.bool))
    (state.square().sum() + sum(x.square().sum() for x in decoded.values())).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_gradients_of_the_model_equal_finite_differences(model):
    inputs, present = batch(2), torch.tensor([[True, True, False], [False, True, True]])

    def state(*x):
        return model(dict(zip(DIMS, x, strict=True)), present)[0]

    assert torch.autograd.gradcheck(state, tuple(x.requires_grad_() for x in inputs.values()))


def test_a_saved_model_comes_back_equal(model, tmp_path):
    model = model.float().eval()
    model.save_pretrained(tmp_path)
    inputs, present = {m: x.float() for m, x in batch().items()}, torch.ones(6, 3, dtype=torch.bool)
    assert torch.equal(PerceptionModel.from_pretrained(tmp_path).eval()(inputs, present)[0], model(inputs, present)[0])


@pytest.mark.parametrize(("names", "widths", "levels"), [([], [], 2), (["a"], [3], 0), (["a"], [3, 4], 1)])
def test_a_model_of_nothing_or_without_widths_is_refused(names, widths, levels):
    words = f"{len(names)} names, {len(widths)} widths and {levels} levels; expected a width for each name"
    with pytest.raises(ValueError, match=words):
        PerceptionModel(names, widths, 8, levels)


def test_every_subset_is_kept_as_often_as_the_formula_says():
    rate, n = 0.3, 40_000
    kept = modality_dropout(torch.ones(n, 3, dtype=torch.bool), rate, torch.Generator().manual_seed(0))
    for subset in SUBSETS:
        size = int(subset.sum())
        expected = (1 - rate) ** size * rate ** (3 - size)
        found = (kept == subset).all(dim=1).double().mean().item()
        assert abs(found - expected) < 4 * math.sqrt(expected * (1 - expected) / n)


def test_dropout_hides_only_what_is_there_nothing_at_rate_0_and_everything_at_1():
    present = torch.rand(50, 3) < 0.5
    before = present.clone()
    assert not (modality_dropout(present, 0.5) & ~present).any()
    assert torch.equal(modality_dropout(present, 0.0), present)
    assert not modality_dropout(present, 1.0).any()
    assert torch.equal(present, before)
    with pytest.raises(ValueError, match=r"rate is 1\.2; expected a share between 0 and 1"):
        modality_dropout(present, 1.2)


def game(players: int, seed: int):
    """A random game: a number for each set of players."""
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(2**players, generator=generator).double()
    return lambda s: table[sum(2**m for m in s)]


def by_orders(value, players: int) -> torch.Tensor:
    """Shapley values by their definition: the mean over all orders of what each player adds when it joins."""
    total = torch.zeros(players).double()
    for order in itertools.permutations(range(players)):
        for place, m in enumerate(order):
            total[m] += value(frozenset(order[: place + 1])) - value(frozenset(order[:place]))
    return total / math.factorial(players)


@pytest.mark.parametrize("players", [1, 2, 3, 5])
def test_shapley_values_are_the_mean_over_all_orders_and_share_out_the_whole(players):
    value = game(players, players)
    found = shapley_values(value, players)
    torch.testing.assert_close(found, by_orders(value, players))
    torch.testing.assert_close(found.sum(), value(frozenset(range(players))) - value(frozenset()))


def test_equal_players_get_equal_shares():
    value = game(4, 0)

    def alike(s):  # players 1 and 2 may stand in for each other
        return value(s) + value(frozenset({1: 2, 2: 1}.get(m, m) for m in s))

    found = shapley_values(alike, 4)
    torch.testing.assert_close(found[1], found[2])
    assert (found[0] - found[1]).abs() > 1e-3


def test_a_player_that_adds_nothing_gets_nothing():
    value = game(4, 1)
    found = shapley_values(lambda s: value(s - {3}), 4)
    assert found[3].abs() < 1e-12
    assert (found[:3].abs() > 1e-3).all()


def test_values_of_a_sum_of_games_add_up():
    one, other = game(3, 2), game(3, 3)
    both = shapley_values(lambda s: one(s) + 2 * other(s), 3)
    torch.testing.assert_close(both, shapley_values(one, 3) + 2 * shapley_values(other, 3))


def test_the_glove_game():
    found = shapley_values(lambda s: float(0 in s and len(s) > 1), 3)  # one left glove, two right ones
    torch.testing.assert_close(found, torch.tensor([2 / 3, 1 / 6, 1 / 6]).double())


def test_a_game_may_have_a_value_for_each_row_and_every_set_is_asked_once():
    asked, values = [], torch.randn(8, 5, generator=torch.Generator().manual_seed(0))

    def value(s):
        asked.append(s)
        return values[sum(2**m for m in s)]

    found = shapley_values(value, 3)
    assert (found.shape, found.dtype) == ((3, 5), torch.double)
    assert sorted(map(sorted, asked)) == sorted(map(sorted, set(asked))) and len(asked) == 8
    row = shapley_values(lambda s: values[sum(2**m for m in s), 2], 3)
    torch.testing.assert_close(found[:, 2], row)


def test_a_game_without_players_is_refused():
    with pytest.raises(ValueError, match="players is 0; expected one or more"):
        shapley_values(lambda s: 0.0, 0)
