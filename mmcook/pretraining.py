"""Objectives that need no labels: a word's neighbours, hidden tokens, hidden patches."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED = -100  # the target of a token that is not to be predicted; torch's cross-entropy skips it
EPSILON = 1e-6  # added to a patch's variance, so that a patch of one colour can be normalised


def skip_gram_loss(centre: Tensor, context: Tensor, negatives: Tensor, *, k: float) -> Tensor:
    r"""Skip-gram with negative sampling: a word's true neighbour scores high, words drawn at random score low.

    $$\mathcal L = -\frac1B \sum_{i=1}^B \Big[\ln\sigma(u_i^\top v_i)
    + k\,\mathbb E_{u \sim q}\ln\sigma(-u^\top v_i)\Big]$$

    The expectation is the mean over the drawn negatives. With one row of $k$ negatives a pair it is the sum of the
    paper; negatives that all pairs share estimate the same loss, with one matrix product in place of B small ones.

    Args:
        centre: (B, D), vectors v of the centre words.
        context: (B, D), vectors u of their true neighbours.
        negatives: (B, S, D), vectors of S words drawn for each pair; or (S, D), drawn once for all.
        k: how many negatives a true neighbour weighs against.
    Returns: mean loss of a pair in nats; (1 + k) ln 2 while all vectors are zero.
    Raises: ValueError when the shapes do not fit.
    Source: Mikolov et al. 2013 (arXiv 1310.4546), equation 4.
    """
    fits = negatives.ndim in (2, 3) and negatives.shape[-1] == centre.shape[-1] and negatives.shape[-2] > 0
    if centre.ndim != 2 or centre.shape != context.shape or not fits or len({*negatives.shape[:-2], len(centre)}) > 1:
        raise ValueError(f"centre {tuple(centre.shape)}, context {tuple(context.shape)}, negatives"
                         f" {tuple(negatives.shape)}; expected (B, D), (B, D), and (B, S, D) or (S, D)")  # fmt: skip
    true = (centre * context).sum(dim=-1)  # (B,)
    drawn = centre @ negatives.T if negatives.ndim == 2 else (negatives @ centre[..., None])[..., 0]  # (B, S)
    return -(F.logsigmoid(true) + k * F.logsigmoid(-drawn).mean(dim=-1)).mean()


def masked_lm_loss(logits: Tensor, targets: Tensor) -> Tensor:
    r"""Masked language modelling: minus the log-probability of each hidden token, averaged over the hidden ones.

    $$\mathcal L = -\frac1{|M|} \sum_{i \in M} \ln p(x_i \mid \tilde x)$$

    What the logits are computed from is the model's affair: from the corrupted text alone, or from a picture too,
    which gives $p(x_i \mid \tilde x, v)$ and the same loss.

    Args:
        logits: (..., V), scores of the V tokens of the vocabulary; (B, L, V), or (M, V) at hidden places only.
        targets: (...), the true token where it is hidden, -100 elsewhere.
    Returns: mean loss in nats; ln V when nothing is learned, and 0 with a gradient of 0 when nothing is hidden.
    Raises: ValueError when the shapes do not fit.
    Source: Devlin et al. 2019 (arXiv 1810.04805), §3.1.
    """
    if logits.shape[:-1] != targets.shape:
        raise ValueError(
            f"logits {tuple(logits.shape)} and targets {tuple(targets.shape)}; expected (..., V) and (...)"
        )
    hidden = (targets != IGNORED).sum()
    total = F.cross_entropy(logits.flatten(0, -2), targets.flatten(), ignore_index=IGNORED, reduction="sum")
    return total / hidden.clamp(min=1)


def random_patch_mask(noise: Tensor, ratio: float) -> Tensor:
    r"""Hide the same number of patches in every picture: those whose noise is largest.

    $$\mathcal H_{bk} = \big[\operatorname{rank}(\varepsilon_{bk}) \ge \lfloor (1 - r) K \rfloor\big]$$

    Args:
        noise: (B, K), random numbers, one a patch.
        ratio: r, the share of patches to hide, in [0, 1).
    Returns: hidden_mask (B, K), True where hidden. Every row keeps ⌊(1 - r) K⌋ patches, so that what is left is
        a tensor again: ``patches[~hidden_mask].view(B, -1, D)``.
    Raises: ValueError when the ratio would hide everything, or is negative.
    Source: He et al. 2021 (arXiv 2111.06377), §3.
    """
    kept = int(noise.shape[-1] * (1 - ratio) + 1e-9)  # 10 × (1 - 0.9) falls short of 1
    if ratio < 0 or kept < 1:
        raise ValueError(
            f"ratio is {ratio} of {noise.shape[-1]} patches; expected 0 or more, and one patch left to see"
        )
    rank = noise.argsort(dim=-1, stable=True).argsort(dim=-1)  # (B, K)
    return rank >= kept


def masked_patch_loss(predicted: Tensor, patches: Tensor, hidden_mask: Tensor) -> Tensor:
    r"""Masked autoencoding: the squared error of the hidden patches, each brought to mean 0 and variance 1 first.

    $$\mathcal L = \frac1{|\mathcal H|} \sum_{(b,k) \in \mathcal H} \frac1P \big\lVert \hat x_{bk}
    - \operatorname{norm}(x_{bk}) \big\rVert^2$$

    Args:
        predicted: (B, K, P), what the decoder says of every patch, in normalised units.
        patches: (B, K, P), the true patches.
        hidden_mask: (B, K), True where hidden; what is seen does not count.
    Returns: mean loss; (P - 1)/P, nearly 1, for a decoder that says 0 everywhere (the variance is the unbiased one),
        and 0 with a gradient of 0 when nothing is hidden.
    Raises: ValueError when the shapes do not fit.
    Source: He et al. 2021 (arXiv 2111.06377), §3.
    """
    if predicted.shape != patches.shape or predicted.ndim != 3 or hidden_mask.shape != patches.shape[:2]:
        raise ValueError(f"predicted {tuple(predicted.shape)}, patches {tuple(patches.shape)}, hidden_mask"
                         f" {tuple(hidden_mask.shape)}; expected (B, K, P), (B, K, P), (B, K)")  # fmt: skip
    error = (predicted - normalise_patches(patches)).square().mean(dim=-1)  # (B, K)
    return (error * hidden_mask).sum() / hidden_mask.sum().clamp(min=1)


def normalise_patches(patches: Tensor) -> Tensor:
    """Bring every patch to mean 0 and variance 1; the variance is the unbiased one.

    Args:
        patches: (..., P), P at least 2.
    Returns: (..., P).
    Source: He et al. 2021 (arXiv 2111.06377), §4.1.
    """
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    return (patches - mean) / (variance + EPSILON).sqrt()
