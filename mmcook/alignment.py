"""Objectives that bring the embeddings of two modalities into one space."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


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
    _check_pairs(image_emb, text_emb)
    logits = logit_scale * F.normalize(image_emb, dim=-1) @ F.normalize(text_emb, dim=-1).T  # (B, B)
    matched = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, matched) + F.cross_entropy(logits.T, matched)) / 2


def _check_pairs(image_emb: Tensor, text_emb: Tensor) -> None:
    """Refuse batches that do not pair row by row."""
    if image_emb.ndim != 2 or image_emb.shape != text_emb.shape or len(image_emb) == 0:
        raise ValueError(
            f"image_emb {tuple(image_emb.shape)} and text_emb {tuple(text_emb.shape)};"
            " expected one shape (B, D) with B at least 1, row i of one belonging to row i of the other"
        )
