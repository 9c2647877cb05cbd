"""Scores and their uncertainty: recall, and bootstrap intervals that resample whole groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Interval(NamedTuple):
    """A mean and the interval around it."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        """The mean with its interval, three decimals."""
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def recall_at_k(scores: Tensor, targets: Tensor, k: int = 1) -> Tensor:
    r"""For each query, whether its target is among the k candidates with the highest score.

    $$\mathrm{R@}k = \frac1N \sum_i \mathbb 1\big[\,|\{j \ne y_i : s_{ij} \ge s_{iy_i}\}| < k\,\big]$$

    A candidate that ties with the target counts as ahead of it, so a constant score finds nothing.

    Args:
        scores: (N, M), higher is better.
        targets: (N,) column of the right candidate.
        k: how many candidates are looked at, 1 to M.
    Returns: (N,) of 0 and 1 in float32; its mean is R@k.
    Raises: ValueError when the shapes do not fit, k is out of range or a score is not a number.
    """
    if scores.ndim != 2 or targets.shape != scores.shape[:1]:
        raise ValueError(f"scores {tuple(scores.shape)} and targets {tuple(targets.shape)}; expected (N, M) and (N,)")
    if not 1 <= k <= scores.shape[1]:
        raise ValueError(f"k is {k}; expected 1 to {scores.shape[1]}, the number of candidates")
    if scores.isnan().any():
        raise ValueError("scores hold NaN; a rank among them has no meaning")
    right = scores.gather(1, targets[:, None])  # (N, 1)
    ahead = (scores >= right).sum(dim=1) - 1  # (N,) the target itself does not count
    return (ahead < k).float()


def bootstrap_interval(
    values: Tensor | np.ndarray,
    groups: Tensor | np.ndarray | None = None,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """The mean of the values and its percentile bootstrap interval, resampling whole groups.

    Rows of one group (a concept, a person, a patient) are not independent; resampling rows would make the interval
    too narrow. For a difference, pass the differences: pairs stay together.

    Args:
        values: (N,) one number a row.
        groups: (N,) the group of each row; every row is its own group by default.
        level: the coverage of the interval, between 0 and 1.
        resamples: how many times the groups are drawn with replacement.
        seed: seed of the draw.
    Returns: mean, lower and upper edge.
    Raises: ValueError when there is nothing to resample, or shapes or level do not fit.
    Source: Efron 1979; the cluster bootstrap of Field and Welsh 2007.
    """
    values = np.asarray(values, dtype=np.float64)
    groups = np.arange(len(values)) if groups is None else np.asarray(groups)
    if values.ndim != 1 or len(values) == 0 or groups.shape != values.shape:
        raise ValueError(f"values {values.shape} and groups {groups.shape}; expected two vectors of one length, not 0")
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; expected a number between 0 and 1")
    _, index = np.unique(groups, return_inverse=True)
    sums = np.bincount(index, weights=values)  # (G,)
    counts = np.bincount(index)  # (G,)
    n_groups = len(sums)
    draws = np.random.default_rng(seed).multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=resamples)
    means = (draws @ sums) / (draws @ counts)  # (resamples,)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(values.mean()), float(low), float(high))


def bootstrap_statistic(
    statistic: Callable[[np.ndarray], float],
    groups: Tensor | np.ndarray,
    *,
    level: float = 0.95,
    resamples: int = 500,
    seed: int = 0,
) -> Interval:
    """A statistic of rows that is no mean, F1 or AUC, and its percentile bootstrap interval over whole groups.

    For a difference of two arms, let the statistic subtract one from the other on the same rows.

    Args:
        statistic: of an array of row numbers, which may repeat.
        groups: (N,) the group of each row; groups are drawn whole.
        level, resamples, seed: as in :func:`bootstrap_interval`.
    Returns: the statistic of all rows, lower and upper edge.
    Raises: ValueError when there is no row, or the level does not fit.
    Source: Efron 1979; the cluster bootstrap of Field and Welsh 2007.
    """
    groups = np.asarray(groups)
    if groups.ndim != 1 or len(groups) == 0:
        raise ValueError(f"groups {groups.shape}; expected a vector with the group of each row, not empty")
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; expected a number between 0 and 1")
    _, index = np.unique(groups, return_inverse=True)
    rows = np.split(np.argsort(index, kind="stable"), np.cumsum(np.bincount(index))[:-1])  # the rows of each group
    random = np.random.default_rng(seed)
    draws = [np.concatenate([rows[g] for g in random.integers(len(rows), size=len(rows))]) for _ in range(resamples)]
    low, high = np.quantile([statistic(draw) for draw in draws], [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(statistic(np.arange(len(groups)))), float(low), float(high))


def effective_rank(features: Tensor) -> float:
    r"""How many dimensions the features really use: the exponential of the entropy of their singular values.

    $$\exp\Big(-\sum_i p_i \ln p_i\Big), \quad p_i = \sigma_i \Big/ \sum_j \sigma_j$$

    Args:
        features: (N, D); centred here.
    Returns: between 1 and min(N, D); 0 when all rows are equal.
    Raises: ValueError when the features are not a matrix.
    Source: Roy and Vetterli 2007.
    """
    if features.ndim != 2:
        raise ValueError(f"features {tuple(features.shape)}; expected (N, D)")
    features = features.double()
    centred = features - features.mean(dim=0)
    if centred.norm() <= 1e-12 * features.norm():  # rounding, at any scale
        return 0.0
    singular = torch.linalg.svdvals(centred)
    share = singular / singular.sum()
    return float(torch.special.entr(share).sum().exp())
