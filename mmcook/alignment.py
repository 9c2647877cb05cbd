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


def l2_alignment(image_emb: Tensor, text_emb: Tensor) -> Tensor:
    r"""Squared distance of matching pairs; alone it is least when every embedding is the same point.

    $$\mathcal L = \tfrac1B \sum_i \lVert \mathbf u_i - \mathbf v_i \rVert^2$$

    On the unit sphere it is 2 − 2 cos θ.

    Args:
        image_emb: (B, D), as they are: nothing is normalised.
        text_emb: (B, D), row i belongs to image i.
    Returns: mean squared distance of a pair.
    Raises: ValueError when the two batches differ in shape.
    """
    _check_pairs(image_emb, text_emb)
    return (image_emb - text_emb).square().sum(dim=-1).mean()


def vicreg_loss(
    image_emb: Tensor, text_emb: Tensor, *, pull: float = 25.0, spread: float = 25.0, decorrelate: float = 1.0
) -> Tensor:
    r"""Distance of matching pairs, and two terms that keep the embeddings from collapsing to a point or a line.

    $$\mathcal L = \frac{\lambda}{BD} \lVert U - V \rVert_F^2 + \mu\,[\mathrm v(U) + \mathrm v(V)]
    + \nu\,[\mathrm c(U) + \mathrm c(V)]$$

    $$\mathrm v(U) = \frac1D \sum_d \big(1 - \sqrt{\operatorname{Var} U_d + 10^{-4}}\big)_+, \qquad
    \mathrm c(U) = \frac1D \sum_{d \ne e} \operatorname{Cov}(U_d, U_e)^2$$

    Args:
        image_emb: (B, D), as they are, B at least 2.
        text_emb: (B, D), row i belongs to image i.
        pull, spread, decorrelate: λ, μ, ν, weights of the three terms.
    Returns: the weighted sum; near 2μ when every embedding is the same point.
    Raises: ValueError when the two batches differ in shape, or hold one pair only.
    Source: Bardes et al. 2022 (arXiv 2105.04906), algorithm 1; its published code halves the variance term.
    """
    _check_pairs(image_emb, text_emb, least=2)
    loss = pull * F.mse_loss(image_emb, text_emb)
    for emb in (image_emb, text_emb):
        deviation = (emb.var(dim=0) + SMOOTHING).sqrt()  # (D,)
        covariance = _covariance(emb, emb)  # (D, D)
        between = covariance.square().sum() - covariance.diagonal().square().sum()
        loss = loss + spread * (1 - deviation).clamp(min=0).mean() + decorrelate * between / emb.shape[1]
    return loss


def procrustes(source: Tensor, target: Tensor) -> Tensor:
    r"""The rotation (or reflection) that brings one set of points nearest to another.

    $$\arg\min_{R^\top R = I} \lVert XR - Y \rVert_F = AB^\top, \qquad X^\top Y = A \Sigma B^\top$$

    Args:
        source: X (N, D).
        target: Y (N, D), row i belongs to row i of the source.
    Returns: R (D, D), orthogonal.
    Raises: ValueError when the two sets differ in shape.
    Source: Schönemann 1966, Psychometrika 31.
    """
    _check_pairs(source, target)
    a, _, b = torch.linalg.svd(source.T @ target)
    return a @ b


def cca(image: Tensor, text: Tensor, k: int, *, ridge: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    r"""Canonical correlation analysis: the k pairs of directions along which two views correlate most.

    $$\max_{a, b} \operatorname{corr}(Xa, Yb) = \sigma_1\big(\Sigma_{11}^{-1/2} \Sigma_{12} \Sigma_{22}^{-1/2}\big)$$

    Args:
        image: X (N, D₁), one view, any mean.
        text: Y (N, D₂), the other; row i belongs to row i.
        k: pairs of directions, at most the smaller width.
        ridge: added to the variances before they are inverted; above 0 it biases the correlations towards 0.
    Returns: directions (D₁, k) and (D₂, k), along which the centred views have variance 1 (less with a ridge), and
        the correlations (k,), largest first.
    Raises: ValueError when the rows differ in number, k is too large, or a variance is singular.
    Source: Hotelling 1936, Biometrika 28.
    """
    if not 1 <= k <= min(image.shape[1], text.shape[1]):
        raise ValueError(f"k is {k}; expected 1 to {min(image.shape[1], text.shape[1])}, the smaller width")
    root1, root2, whitened = _whitened_covariance(image, text, ridge)
    a, correlations, b = torch.linalg.svd(whitened, full_matrices=False)
    ours = torch.linalg.solve_triangular(root1.T, a[:, :k], upper=True)
    theirs = torch.linalg.solve_triangular(root2.T, b.T[:, :k], upper=True)
    return ours, theirs, correlations[:k]


def deep_cca_loss(image_emb: Tensor, text_emb: Tensor, *, ridge: float = 1e-4) -> Tensor:
    r"""Deep CCA: minus the sum of the canonical correlations of what two networks say.

    $$\mathcal L = -\big\lVert \Sigma_{11}^{-1/2} \Sigma_{12} \Sigma_{22}^{-1/2} \big\rVert_*$$

    The root is a matrix root, not one of each element; Cholesky's factor serves, since it differs from the symmetric
    root by a rotation, which leaves the singular values as they are.

    Args:
        image_emb: (B, D₁), B well above D₁ and D₂.
        text_emb: (B, D₂), row i belongs to image i.
        ridge: added to the variances; keeps the inverse finite and biases the correlations towards 0.
    Returns: between −min(D₁, D₂) and 0.
    Raises: ValueError when the rows differ in number, or a variance is singular.
    Source: Andrew et al. 2013, ICML, §3.
    """
    return -torch.linalg.svdvals(_whitened_covariance(image_emb, text_emb, ridge)[2]).sum()


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
    _check_pairs(image_emb, text_emb)
    return F.normalize(image_emb, dim=-1) @ F.normalize(text_emb, dim=-1).T


def _check_pairs(image_emb: Tensor, text_emb: Tensor, least: int = 1) -> None:
    """Refuse what is not two batches of one shape, of at least so many rows."""
    if image_emb.ndim != 2 or image_emb.shape != text_emb.shape or len(image_emb) < least:
        raise ValueError(
            f"image_emb {tuple(image_emb.shape)} and text_emb {tuple(text_emb.shape)};"
            f" expected one shape (B, D) with B at least {least}, row i of one belonging to row i of the other"
        )


def _covariance(a: Tensor, b: Tensor) -> Tensor:
    """The covariance of the columns of two sets of rows, unbiased: (N, D₁) and (N, D₂) to (D₁, D₂)."""
    return (a - a.mean(dim=0)).T @ (b - b.mean(dim=0)) / (len(a) - 1)


def _whitened_covariance(image: Tensor, text: Tensor, ridge: float) -> tuple[Tensor, Tensor, Tensor]:
    """Cholesky factors of both variances, and the covariance between the views after both are whitened."""
    if image.ndim != 2 or text.ndim != 2 or len(image) != len(text) or len(image) < 2:
        raise ValueError(f"views are {tuple(image.shape)} and {tuple(text.shape)}; expected (N, D₁) and (N, D₂), N at"
                         " least 2, row i of one belonging to row i of the other")  # fmt: skip
    roots = []
    for name, view in (("first", image), ("second", text)):
        variance = _covariance(view, view) + ridge * torch.eye(view.shape[1], dtype=view.dtype, device=view.device)
        root, failed = torch.linalg.cholesky_ex(variance)
        if failed:
            raise ValueError(f"the variance of the {name} view {tuple(view.shape)} is singular: give a ridge, fewer"
                             " columns or more rows")  # fmt: skip
        roots.append(root)
    half = torch.linalg.solve_triangular(roots[0], _covariance(image, text), upper=False)  # L₁⁻¹ Σ₁₂
    return *roots, torch.linalg.solve_triangular(roots[1], half.T, upper=False).T  # L₁⁻¹ Σ₁₂ L₂⁻ᵀ
