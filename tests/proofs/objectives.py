"""The table that drives the proof battery: one row an objective. To add an objective, add a row."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcook import alignment

Inputs = tuple[Tensor, ...]


@dataclass(frozen=True)
class Objective:
    """What must be true of an objective.

    Attributes:
        loss: the objective.
        inputs: random float64 inputs for a batch of a given size.
        oracles: independent ways to the same number: a library's function, or a brute-force loop.
        limits: cases worked out by hand: what is said, the inputs, the loss.
        invariances: what may be done to the inputs without changing the loss.
        extremes: inputs at the edge, and the bound that the finite loss obeys.
        errors: inputs that must be refused, and a piece of the message.
        learned: positions of the inputs that are learned, and so must receive a gradient.
    """

    loss: Callable[..., Tensor]
    inputs: Callable[[int], Inputs]
    oracles: dict[str, Callable[..., Tensor]]
    limits: Sequence[tuple[str, Inputs, float]]
    invariances: dict[str, Callable[[Inputs], Inputs]]
    extremes: dict[str, Inputs]
    errors: Sequence[tuple[Inputs, str]] = ()
    learned: Sequence[int] = field(default=(0, 1))


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Random numbers in float64, the same ones for the same shape and seed."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def number(value: float) -> Tensor:
    """A scalar in float64."""
    return torch.tensor(value, dtype=torch.float64)


def pairs(batch: int) -> Inputs:
    """A batch of image and text embeddings, and a logit scale."""
    return draw(batch, 5, seed=1), draw(batch, 5, seed=2), number(3.0)


def permuted(inputs: Inputs) -> Inputs:
    """The pairs in another order."""
    order = torch.arange(len(inputs[0])).roll(1)
    return inputs[0][order], inputs[1][order], *inputs[2:]


def rescaled(inputs: Inputs) -> Inputs:
    """Embeddings of other lengths."""
    return inputs[0] * 7.0, inputs[1] * 0.01, *inputs[2:]


def rotated(inputs: Inputs) -> Inputs:
    """Both sets of embeddings turned by one rotation."""
    rotation = torch.linalg.qr(draw(5, 5, seed=3)).Q
    return inputs[0] @ rotation, inputs[1] @ rotation, *inputs[2:]


def open_clip_info_nce(image_emb: Tensor, text_emb: Tensor, logit_scale: Tensor) -> Tensor:
    """CLIP's loss as OpenCLIP writes it."""
    from open_clip.loss import ClipLoss

    return ClipLoss()(F.normalize(image_emb, dim=-1), F.normalize(text_emb, dim=-1), logit_scale)


def transformers_info_nce(image_emb: Tensor, text_emb: Tensor, logit_scale: Tensor) -> Tensor:
    """CLIP's loss as transformers writes it."""
    from transformers.models.clip.modeling_clip import image_text_contrastive_loss

    return image_text_contrastive_loss(logit_scale * F.normalize(text_emb, dim=-1) @ F.normalize(image_emb, dim=-1).T)


def enumerated_info_nce(image_emb: Tensor, text_emb: Tensor, logit_scale: Tensor) -> Tensor:
    """InfoNCE from its definition, term by term."""
    n, total = len(image_emb), number(0.0)
    score = [[logit_scale * F.cosine_similarity(u, v, dim=0) for v in text_emb] for u in image_emb]
    for i in range(n):
        total = total - score[i][i] + sum(score[i][j].exp() for j in range(n)).log()
        total = total - score[i][i] + sum(score[j][i].exp() for j in range(n)).log()
    return total / (2 * n)


SAME = torch.ones(4, 5, dtype=torch.float64)
AXES = torch.eye(4, dtype=torch.float64)

OBJECTIVES = {
    "info_nce": Objective(
        loss=alignment.info_nce,
        inputs=pairs,
        oracles={
            "open_clip": open_clip_info_nce,
            "transformers": transformers_info_nce,
            "definition": enumerated_info_nce,
        },
        limits=[
            ("nothing is told apart: ln B", (SAME, SAME, number(10.0)), math.log(4)),
            ("scale 0: ln B", (draw(4, 5), draw(4, 5, seed=9), number(0.0)), math.log(4)),
            ("a batch of one: 0", (draw(1, 5), draw(1, 5, seed=9), number(10.0)), 0.0),
            ("orthogonal pairs, scale 1: ln(1 + 3/e)", (AXES, AXES, number(1.0)), math.log(1 + 3 / math.e)),
            ("orthogonal pairs, scale 1e4: 0", (AXES, AXES, number(1e4)), 0.0),
        ],
        invariances={"order of the pairs": permuted, "length of the embeddings": rescaled, "rotation": rotated},
        extremes={
            "logits of ±1e4, all pairs wrong": (AXES, -AXES, number(1e4)),
            "tiny embeddings": (draw(4, 5) * 1e-9, draw(4, 5, seed=9) * 1e-9, number(3.0)),
            "huge embeddings": (draw(4, 5) * 1e9, draw(4, 5, seed=9) * 1e9, number(3.0)),
        },
        errors=[
            ((draw(3, 5), draw(4, 5), number(1.0)), "image_emb (3, 5) and text_emb (4, 5)"),
            ((draw(3, 5)[0], draw(3, 5)[0], number(1.0)), "expected one shape (B, D)"),
            ((draw(0, 5), draw(0, 5), number(1.0)), "B at least 1"),
        ],
        learned=(0, 1, 2),
    ),
}
