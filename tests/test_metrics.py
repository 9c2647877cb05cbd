"""Scores agree with brute force, and intervals cover what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mmcook.metrics import Interval, bootstrap_interval, bootstrap_statistic, effective_rank, recall_at_k


def slow_recall(scores: list[list[float]], targets: list[int], k: int) -> list[float]:
    """Recall as the sentence says it: count the candidates that are not behind the target."""
    found = []
    for row, target in zip(scores, targets, strict=True):
        ahead = [j for j, score in enumerate(row) if j != target and score >= row[target]]
        found.append(1.0 if len(ahead) < k else 0.0)
    return found


@pytest.mark.parametrize("k", [1, 2, 5, 7])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_recall_equals_a_brute_force_loop_with_many_ties(k, dtype):
    torch.manual_seed(0)
    scores = torch.randint(-3, 4, (50, 7)).to(dtype)  # seven values for seven candidates: ties everywhere
    targets = torch.randint(0, 7, (50,))
    fast = recall_at_k(scores, targets, k)
    assert fast.dtype == torch.float32
    assert fast.tolist() == slow_recall(scores.tolist(), targets.tolist(), k)


def test_recall_agrees_with_top_k_where_nothing_ties():
    torch.manual_seed(0)
    scores, targets = torch.randn(40, 9), torch.randint(0, 9, (40,))
    top = scores.topk(3).indices
    assert torch.equal(recall_at_k(scores, targets, 3), (top == targets[:, None]).any(dim=1).float())


def test_a_constant_score_finds_nothing_until_everything_is_looked_at():
    scores, targets = torch.zeros(4, 4), torch.arange(4)
    assert recall_at_k(scores, targets, 3).sum() == 0
    assert recall_at_k(scores, targets, 4).sum() == 4


def test_recall_of_one_candidate_is_one_and_infinite_scores_are_ranked():
    assert recall_at_k(torch.tensor([[-math.inf]]), torch.tensor([0])).tolist() == [1.0]
    scores = torch.tensor([[math.inf, 0.0], [-math.inf, 0.0]])
    assert recall_at_k(scores, torch.tensor([0, 0])).tolist() == [1.0, 0.0]


def test_recall_does_not_depend_on_the_order_of_candidates_or_the_scale_of_scores():
    torch.manual_seed(0)
    scores, targets, order = torch.randn(30, 6), torch.randint(0, 6, (30,)), torch.randperm(6)
    expected = recall_at_k(scores, targets, 2)
    assert torch.equal(recall_at_k(scores[:, order], order.argsort()[targets], 2), expected)
    assert torch.equal(recall_at_k(1e4 * scores - 3, targets, 2), expected)


@pytest.mark.parametrize(
    ("scores", "targets", "k", "message"),
    [
        (torch.zeros(2), torch.zeros(2).long(), 1, r"scores \(2,\) and targets \(2,\)"),
        (torch.zeros(2, 3), torch.zeros(3).long(), 1, r"expected \(N, M\) and \(N,\)"),
        (torch.zeros(2, 3), torch.zeros(2).long(), 0, "k is 0; expected 1 to 3"),
        (torch.zeros(2, 3), torch.zeros(2).long(), 4, "k is 4; expected 1 to 3"),
        (torch.tensor([[0.0, math.nan]]), torch.zeros(1).long(), 1, "scores hold NaN"),
    ],
)
def test_recall_refuses_what_has_no_rank(scores, targets, k, message):
    with pytest.raises(ValueError, match=message):
        recall_at_k(scores, targets, k)


def grouped(generator: np.random.Generator, n_groups: int = 60, size: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Values of mean 0 whose groups share half of their variance."""
    shared = generator.normal(size=(n_groups, 1))
    values = shared + generator.normal(size=(n_groups, size))
    return values.ravel(), np.repeat(np.arange(n_groups), size)


def test_the_interval_over_groups_covers_the_truth_as_often_as_it_says_and_over_rows_does_not():
    generator = np.random.default_rng(0)
    trials, by_group, by_row = 200, 0, 0
    for _ in range(trials):
        values, groups = grouped(generator, n_groups=40)
        _, low, high = bootstrap_interval(values, groups, resamples=300)
        by_group += low < 0 < high
        _, low, high = bootstrap_interval(values, resamples=300)
        by_row += low < 0 < high
    assert 0.9 < by_group / trials < 0.99
    assert by_row / trials < 0.8


def test_groups_widen_the_interval_by_their_design_effect():
    values, groups = grouped(np.random.default_rng(1), n_groups=400)
    rows, whole = bootstrap_interval(values), bootstrap_interval(values, groups)
    assert rows.mean == whole.mean == pytest.approx(values.mean())
    # six rows with correlation 1/2: the variance grows by 1 + 5/2
    assert (whole.high - whole.low) / (rows.high - rows.low) == pytest.approx(math.sqrt(3.5), rel=0.15)


def test_every_row_its_own_group_is_the_default_and_gives_the_normal_interval():
    values = np.random.default_rng(2).normal(size=500)
    interval = bootstrap_interval(values)
    assert interval == bootstrap_interval(values, np.arange(500))
    margin = 1.96 * values.std() / math.sqrt(500)
    assert interval.low == pytest.approx(values.mean() - margin, abs=0.01)
    assert interval.high == pytest.approx(values.mean() + margin, abs=0.01)


def test_groups_of_unequal_size_keep_the_mean_over_rows():
    values, groups = torch.tensor([1.0, 1, 1, 1, 0]), torch.tensor([7, 7, 7, 7, 3])
    interval = bootstrap_interval(values, groups)
    assert interval.mean == pytest.approx(0.8)
    assert (interval.low, interval.high) == (0, 1)  # either group may be drawn twice


def test_the_interval_is_the_same_each_time_and_moves_with_the_seed():
    values = np.random.default_rng(3).normal(size=30)
    assert bootstrap_interval(values) == bootstrap_interval(torch.from_numpy(values))
    assert bootstrap_interval(values) != bootstrap_interval(values, seed=1)


def test_a_higher_level_gives_a_wider_interval():
    values = np.random.default_rng(4).normal(size=100)
    narrow, wide = bootstrap_interval(values, level=0.5), bootstrap_interval(values, level=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_one_value_and_equal_values_have_an_interval_of_no_width():
    assert bootstrap_interval([0.25]) == (0.25, 0.25, 0.25)
    assert bootstrap_interval(torch.ones(9).bool()) == (1, 1, 1)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([], {}, "expected two vectors of one length, not 0"),
        ([[1.0, 2.0]], {}, "expected two vectors"),
        ([1.0, 2.0], {"groups": [1]}, "expected two vectors"),
        ([1.0, 2.0], {"level": 95}, "level is 95; expected a number between 0 and 1"),
        ([1.0, 2.0], {"level": 0}, "level is 0"),
    ],
)
def test_the_bootstrap_refuses_what_it_cannot_resample(values, options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(values, **options)


def test_the_bootstrap_of_a_mean_as_a_statistic_is_the_bootstrap_of_the_mean():
    values, groups = grouped(np.random.default_rng(5))
    expected = bootstrap_interval(values, groups, resamples=8000)
    found = bootstrap_statistic(lambda rows: np.mean(values[rows]), groups, resamples=8000, seed=1)
    assert found.mean == pytest.approx(expected.mean)
    width = expected.high - expected.low
    assert found.low == pytest.approx(expected.low, abs=0.05 * width)
    assert found.high == pytest.approx(expected.high, abs=0.05 * width)


def test_the_statistic_sees_all_rows_once_and_then_whole_groups_as_many_as_there_are():
    groups = np.array(["b", "a", "b", "c", "a", "b", "d"])
    seen = []
    bootstrap_statistic(lambda rows: seen.append(rows) or 0.0, groups, resamples=50)
    whole = [rows for rows in seen if sorted(rows.tolist()) == list(range(7))]
    assert (len(seen), len(whole) >= 1) == (51, True)
    for rows in seen:
        counts = np.bincount(rows, minlength=7)
        times = {group: set(counts[groups == group].tolist()) for group in "abcd"}
        assert all(len(found) == 1 for found in times.values())  # all rows of a group as often
        assert sum(found.pop() for found in times.values()) == 4
    assert len({tuple(np.bincount(rows, minlength=7)) for rows in seen}) > 10


def test_a_statistic_of_one_group_never_moves():
    values = np.random.default_rng(6).normal(size=20)
    middle = np.median(values)
    assert bootstrap_statistic(lambda rows: np.median(values[rows]), np.zeros(20), resamples=50) == (middle,) * 3
    assert bootstrap_statistic(lambda rows: values[rows].max(), [0], resamples=50) == (values[0],) * 3


def test_a_statistic_that_is_constant_within_groups_is_drawn_from_the_groups_alone():
    groups = np.repeat([3, 9], 10)
    found = bootstrap_statistic(lambda rows: np.median(groups[rows]), groups, resamples=200)
    assert found == (6, 3, 9)  # both groups, or either of them twice


@pytest.mark.parametrize("statistic", [np.mean, np.median, np.std], ids=["mean", "median", "deviation"])
def test_the_interval_of_a_statistic_does_not_depend_on_the_order_of_rows(statistic):
    generator = np.random.default_rng(7)
    values, groups = grouped(generator, n_groups=20)
    order = generator.permutation(len(values))
    found = bootstrap_statistic(lambda rows: statistic(values[rows]), groups, resamples=100)
    moved = bootstrap_statistic(lambda rows: statistic(values[order][rows]), groups[order], resamples=100)
    assert moved == pytest.approx(found)


def test_groups_widen_the_interval_of_a_statistic_by_their_design_effect():
    values, groups = grouped(np.random.default_rng(8), n_groups=200)
    rows, whole = (bootstrap_statistic(lambda rows: values[rows].mean(), g) for g in (np.arange(len(values)), groups))
    assert (whole.high - whole.low) / (rows.high - rows.low) == pytest.approx(math.sqrt(3.5), rel=0.2)


def test_the_interval_of_a_statistic_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(9)
    trials, covered = 200, 0
    for _ in range(trials):
        values, groups = grouped(generator, n_groups=40, size=3)
        deviations = bootstrap_statistic(lambda rows, v=values: (v[rows] ** 2).mean() ** 0.5, groups, resamples=200)
        covered += deviations.low < math.sqrt(2) < deviations.high
    assert 0.87 < covered / trials < 0.99


def test_two_equal_arms_differ_by_nothing_and_two_arms_are_compared_on_the_same_rows():
    generator = np.random.default_rng(10)
    truth, groups = generator.integers(0, 2, 120), np.repeat(np.arange(40), 3)
    noise = generator.normal(size=120)

    def auc(scores, rows):
        positive, negative = scores[rows][truth[rows] == 1], scores[rows][truth[rows] == 0]
        return (positive[:, None] > negative).mean() + (positive[:, None] == negative).mean() / 2

    def difference(scores):
        return bootstrap_statistic(lambda rows: auc(scores, rows) - auc(noise, rows), groups, resamples=200)

    assert difference(10 * noise + 3) == (0, 0, 0)  # AUC looks at the order only
    assert difference(noise + truth).low > 0


def test_the_interval_of_a_statistic_is_the_same_each_time_and_moves_with_the_seed_and_the_level():
    values, groups = grouped(np.random.default_rng(11))

    def found(groups=groups, **options):
        return bootstrap_statistic(lambda rows: np.median(values[rows]), groups, **options)

    assert found() == found() == found(torch.from_numpy(groups))
    assert found()[1:] != found(seed=1)[1:]
    assert found(level=0.99).low < found(level=0.5).low < found(level=0.5).high < found(level=0.99).high


@pytest.mark.parametrize(
    ("groups", "options", "message"),
    [
        ([], {}, r"groups \(0,\); expected a vector with the group of each row, not empty"),
        ([[1, 2]], {}, r"groups \(1, 2\); expected a vector"),
        (3, {}, r"groups \(\); expected a vector"),
        ([1, 2], {"level": 95}, "level is 95; expected a number between 0 and 1"),
        ([1, 2], {"level": 0}, "level is 0"),
    ],
)
def test_the_bootstrap_of_a_statistic_refuses_what_it_cannot_resample(groups, options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_statistic(len, groups, **options)


def test_an_interval_reads_as_its_mean_with_its_edges():
    assert str(Interval(0.5, 0.25, 0.75)) == "0.500 [0.250, 0.750]"


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_the_effective_rank_counts_the_dimensions_in_use_at_any_scale(scale):
    one = scale * torch.outer(torch.linspace(-1, 1, 10), torch.ones(4))
    assert effective_rank(one) == pytest.approx(1)
    corners = scale * torch.cat([torch.eye(4), -torch.eye(4)])  # four directions of equal weight
    assert effective_rank(corners) == pytest.approx(4)
    assert effective_rank(corners + 5 * scale) == pytest.approx(4, abs=1e-6)


def test_the_effective_rank_of_unequal_directions_is_the_exponential_of_their_entropy():
    singular = torch.tensor([3.0, 1.0])
    features = torch.cat([singular.diag(), -singular.diag()])
    expected = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert effective_rank(features) == pytest.approx(expected)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
@pytest.mark.parametrize("rows", [1, 1000])
def test_the_effective_rank_of_a_collapsed_encoder_is_0(value, rows):
    assert effective_rank(torch.full((rows, 8), value)) == 0


def test_the_effective_rank_is_of_a_matrix():
    with pytest.raises(ValueError, match=r"features \(3,\); expected \(N, D\)"):
        effective_rank(torch.ones(3))
