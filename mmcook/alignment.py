"""Objectives that bring the embeddings of two modalities into one space."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SMOOTHING = 1e-4  # added to the weights of a draw, so that no negative is impossible


def info_nce(image_emb: Tensor, text_emb: Tensor, logit_scale: Tensor) -> Tensor:
    r"""Symmetric InfoNCE: each image must find its own text among the batch's, and each text its image.

    $$\mathcal L = \tfrac12\big[\mathrm{CE}(sUV^\top, I) + \mathrm{CE}(sVU^\top, I)\big]$$

    Args:
        image_emb: (B, D), any scale but zero; normalised here.
        text_emb: (B, D), row i belongs to image i.
        logit_scale: s = 1/τ, a positive scalar.
    Returns: mean loss in nats; ln B when nothing is learned, 0 for a batch of one.
    Raises: ValueError when the two batches differ in shape.
    Source: Radford et al. 2021 (arXiv 2103.00020), §2.3.
    """
    logits = logit_scale * cosines(image_emb, text_emb)  # (B, B)
    matched = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, matched) + F.cross_entropy(logits.T, matched)) / 2


def sigmoid_loss(image_emb: Tensor, text_emb: Tensor, logit_scale: Tensor, bias: Tensor) -> Tensor:
    r"""Sigmoid loss: every image–text pair of the batch is judged alone, matching (z = 1) or not (z = −1).

    $$\mathcal L = -\tfrac1B \sum_{ij} \ln \sigma\big(z_{ij}(s\,\mathbf u_i \cdot \mathbf v_j + b)\big)$$

    The sum over B² pairs is divided by B. Start with b near −ln(B − 1) or lower: most pairs do not match, and
    b = 0 makes each of them cost ln 2 or more.

    Args:
        image_emb: (B, D), any scale but zero; normalised here.
        text_emb: (B, D), row i belongs to image i.
        logit_scale: s, a positive scalar.
        bias: b, a scalar.
    Returns: mean loss an image, in nats.
    Raises: ValueError when the two batches differ in shape.
    Source: Zhai et al. 2023 (arXiv 2303.15343), §3.2.
    """
    logits = logit_scale * cosines(image_emb, text_emb) + bias  # (B, B)
    sign = 2 * torch.eye(len(logits), device=logits.device, dtype=logits.dtype) - 1  # z
    return -F.logsigmoid(sign * logits).sum() / len(logits)


def triplet_loss(image_emb: Tensor, text_emb: Tensor, margin: float, *, hardest: bool = True) -> Tensor:
    r"""Triplet loss over the batch: the right partner must be more similar than any wrong one, by a margin.

    $$\mathcal L = \tfrac1B \sum_i \big[\max_{j \ne i} (m - c_{ii} + c_{ij})_+ + \max_{j \ne i} (m - c_{ii} + c_{ji})_+\big]$$

    with cosines c. With ``hardest=False`` the sum over the wrong partners takes the place of the largest.

    Args:
        image_emb: (B, D), any scale but zero; normalised here.
        text_emb: (B, D), row i belongs to image i.
        margin: m, in units of the cosine.
        hardest: whether only the hardest negative of each counts.
    Returns: mean loss a pair; 2m when nothing is told apart (hardest), 0 for a batch of one.
    Raises: ValueError when the two batches differ in shape.
    Source: Faghri et al. 2018 (arXiv 1707.05612), eq. 5 and 6; FaceNet (arXiv 1503.03832) uses squared distances.
    """  # noqa: E501
    cosine = cosines(image_emb, text_emb)  # (B, B)
    right = cosine.diagonal()
    own = torch.eye(len(cosine), dtype=torch.bool, device=cosine.device)
    of_images = (margin - right[:, None] + cosine).clamp(min=0).masked_fill(own, 0)  # (B, B) row i: image i
    of_texts = (margin - right[None, :] + cosine).clamp(min=0).masked_fill(own, 0)  # column j: text j
    if hardest:
        return (of_images.amax(dim=1) + of_texts.amax(dim=0)).mean()
    return (of_images.sum(dim=1) + of_texts.sum(dim=0)).mean()


def arcface_loss(emb: Tensor, class_emb: Tensor, targets: Tensor, *, scale: float, margin: float) -> Tensor:
    r"""Angular margin softmax: the angle to the right class must be smaller than to the others by a margin.

    $$\mathcal L = \mathrm{CE}\big(s\,[\cos(\theta_y + m),\ \cos\theta_{j \ne y}],\ y\big)$$

    Past θ = π − m the cosine of θ + m rises again; so far off, the margin pulls the wrong way.

    Args:
        emb: (B, D), any scale but zero; normalised here.
        class_emb: (C, D), one row a class; normalised here.
        targets: (B,) class of each row.
        scale: s = 1/τ.
        margin: m, in radians.
    Returns: mean loss in nats.
    Raises: ValueError when the shapes do not fit.
    Source: Deng et al. 2019 (arXiv 1801.07698), eq. 3.
    """
    if emb.ndim != 2 or class_emb.ndim != 2 or emb.shape[1] != class_emb.shape[1] or targets.shape != emb.shape[:1]:
        raise ValueError(
            f"emb {tuple(emb.shape)}, class_emb {tuple(class_emb.shape)}, targets {tuple(targets.shape)};"
            " expected (B, D), (C, D) and (B,)"
        )
    cosine = F.normalize(emb, dim=-1) @ F.normalize(class_emb, dim=-1).T  # (B, C)
    theta = cosine.clamp(-1 + 1e-7, 1 - 1e-7).acos()  # the derivative of acos is infinite at ±1
    right = F.one_hot(targets, len(class_emb)).to(theta.dtype)
    return F.cross_entropy(scale * torch.cos(theta + margin * right), targets)


def matching_loss(matched: Tensor, mismatched: Tensor) -> Tensor:
    r"""Image–text matching: is this one pair a match? Binary cross-entropy over right and wrong pairs alike.

    $$\mathcal L = -\tfrac{1}{P + Q}\Big[\sum_{p=1}^{P} \ln \sigma(\ell_p) + \sum_{q=1}^{Q} \ln \sigma(-\ell'_q)\Big]$$

    Args:
        matched: (P,) logits of pairs that belong together.
        mismatched: (Q,) logits of pairs that do not; ALBEF draws Q = 2P hard ones.
    Returns: mean loss a pair in nats; ln 2 for logits of 0.
    Raises: ValueError when the logits are no vectors, or there is none.
    Source: Li et al. 2021 (arXiv 2107.07651), §3.2; its two-way softmax is the sigmoid of the logits' difference.
    """
    if matched.ndim != 1 or mismatched.ndim != 1 or len(matched) + len(mismatched) == 0:
        raise ValueError(
            f"matched {tuple(matched.shape)} and mismatched {tuple(mismatched.shape)}; expected vectors of logits"
        )
    return -torch.cat([F.logsigmoid(matched), F.logsigmoid(-mismatched)]).mean()


@torch.no_grad()
def sample_hard_negatives(
    scores: Tensor, same: Tensor | None = None, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    r"""Draw a hard negative for each image and each text of a batch, the likelier the more similar it is.

    $$p(j \mid i) \propto \mathrm{softmax}_j(s\,c_{ij}) + 10^{-4}, \quad j \ne i$$

    Args:
        scores: (B, B) logits s·c, images in rows.
        same: (B, B), True where a pair of the batch matches although it is not on the diagonal (equal captions);
            never drawn.
        generator: source of the randomness; torch's own by default.
    Returns: (B,) a wrong text for each image, (B,) a wrong image for each text. No gradient passes the draw.
    Raises: ValueError when an image or a text has no wrong partner, as in a batch of one.
    Source: Li et al. 2021 (arXiv 2107.07651), §3.2.
    """
    right = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    right = right if same is None else right | same
    if right.all(dim=1).any() or right.all(dim=0).any():
        raise ValueError(f"a batch of {len(scores)} leaves an image or a text without a wrong partner; expected more")
    for_images = (scores.float().softmax(dim=1) + SMOOTHING).masked_fill(right, 0)
    for_texts = (scores.float().softmax(dim=0) + SMOOTHING).masked_fill(right, 0).T
    draws = [torch.multinomial(weights, 1, generator=generator)[:, 0] for weights in (for_images, for_texts)]
    return draws[0], draws[1]


def cosines(image_emb: Tensor, text_emb: Tensor) -> Tensor:
    """The cosine of every image with every text of a batch, (B, D) and (B, D) to (B, B).

    Raises: ValueError when the two batches differ in shape, or are empty.
    """
    if image_emb.ndim != 2 or image_emb.shape != text_emb.shape or len(image_emb) == 0:
        raise ValueError(
            f"image_emb {tuple(image_emb.shape)} and text_emb {tuple(text_emb.shape)};"
            " expected one shape (B, D) with B at least 1, row i of one belonging to row i of the other"
        )
    return F.normalize(image_emb, dim=-1) @ F.normalize(text_emb, dim=-1).T
