"""The table that drives the proof battery: one row an objective. To add an objective, add a row."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcook import alignment, pretraining
from mmcook.pretraining import IGNORED

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


def judged_pairs(batch: int) -> Inputs:
    """A batch of pairs, a logit scale and a bias."""
    return *pairs(batch), number(-2.0)


def open_clip_sigmoid(image_emb: Tensor, text_emb: Tensor, logit_scale: Tensor, bias: Tensor) -> Tensor:
    """SigLIP's loss as OpenCLIP writes it."""
    from open_clip.loss import SigLipLoss

    return SigLipLoss()(F.normalize(image_emb, dim=-1), F.normalize(text_emb, dim=-1), logit_scale, bias)


def enumerated_sigmoid(image_emb: Tensor, text_emb: Tensor, logit_scale: Tensor, bias: Tensor) -> Tensor:
    """The sigmoid loss from its definition: binary cross-entropy of every pair, divided by the batch."""
    total = number(0.0)
    for i, u in enumerate(image_emb):
        for j, v in enumerate(text_emb):
            logit = logit_scale * F.cosine_similarity(u, v, dim=0) + bias
            total = total + F.binary_cross_entropy_with_logits(logit, number(float(i == j)))
    return total / len(image_emb)


def triplet_pairs(batch: int) -> Inputs:
    """A batch of pairs; the margin is fixed at 0.4 in the rows."""
    return pairs(batch)[:2]


def triplet(hardest: bool) -> Callable[..., Tensor]:
    """The triplet loss with its margin."""
    return lambda image_emb, text_emb: alignment.triplet_loss(image_emb, text_emb, 0.4, hardest=hardest)


def torch_triplet(hardest: bool) -> Callable[..., Tensor]:
    """The triplet loss from torch's, one triplet at a time."""

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return 1 - F.cosine_similarity(a, b, dim=-1)

    def loss(image_emb: Tensor, text_emb: Tensor) -> Tensor:
        total, n = number(0.0), len(image_emb)
        for ours, theirs in ((image_emb, text_emb), (text_emb, image_emb)):
            for i in range(n):
                costs = [
                    F.triplet_margin_with_distance_loss(
                        ours[i : i + 1], theirs[i : i + 1], theirs[j : j + 1], distance_function=distance, margin=0.4
                    )
                    for j in range(n)
                    if j != i
                ]
                total = total + ((max(costs) if hardest else sum(costs)) if costs else 0.0)
        return total / n

    return loss


def triplet_row(hardest: bool) -> Objective:
    """The battery's row of the triplet loss, with the hardest or with all negatives."""
    flat = 0.8 if hardest else 0.8 * 3  # both directions; three negatives each
    return Objective(
        loss=triplet(hardest),
        inputs=triplet_pairs,
        oracles={"torch": torch_triplet(hardest)},
        limits=[
            ("nothing is told apart: the margin, both ways", (SAME, SAME), flat),
            ("orthogonal pairs, past the margin: 0", (AXES, AXES), 0.0),
            ("a batch of one: 0", (draw(1, 5), draw(1, 5, seed=9)), 0.0),
        ],
        invariances={"order of the pairs": permuted, "length of the embeddings": rescaled, "rotation": rotated},
        extremes={"opposite pairs": (AXES, -AXES), "huge embeddings": (draw(4, 5) * 1e9, draw(4, 5, seed=9) * 1e9)},
        errors=[((draw(3, 5), draw(4, 5)), "image_emb (3, 5) and text_emb (4, 5)")],
    )


def classed(batch: int) -> Inputs:
    """Embeddings, five class embeddings and targets."""
    return draw(batch, 5, seed=1), draw(5, 5, seed=2), torch.arange(batch) % 5


def arcface(emb: Tensor, class_emb: Tensor, targets: Tensor) -> Tensor:
    """The angular margin with scale 16 and half a radian."""
    return alignment.arcface_loss(emb, class_emb, targets, scale=16.0, margin=0.5)


def metric_learning_arcface(emb: Tensor, class_emb: Tensor, targets: Tensor) -> Tensor:
    """ArcFace as pytorch-metric-learning writes it; its margin is in degrees."""
    from pytorch_metric_learning.losses import ArcFaceLoss

    loss = ArcFaceLoss(*class_emb.shape, margin=math.degrees(0.5), scale=16).double()
    loss.W = torch.nn.Parameter(class_emb.T)
    return loss(emb, targets)


def judged(batch: int) -> Inputs:
    """Logits of right and of wrong pairs."""
    return draw(batch, seed=1), draw(2 * batch, seed=2)


def two_way_matching(matched: Tensor, mismatched: Tensor) -> Tensor:
    """ALBEF's form: two-way cross-entropy, the other logit held at 0."""
    logits = torch.cat([matched, mismatched])
    targets = torch.cat([torch.ones(len(matched)), torch.zeros(len(mismatched))]).long()
    return F.cross_entropy(torch.stack([torch.zeros_like(logits), logits], dim=1), targets)


def words(batch: int) -> Inputs:
    """Centre words, their neighbours, and four drawn words for each."""
    return draw(batch, 5, seed=1), draw(batch, 5, seed=2), draw(batch, 4, 5, seed=3)


def words_and_shared(batch: int) -> Inputs:
    """Centre words, their neighbours, and six drawn words for all."""
    return draw(batch, 5, seed=1), draw(batch, 5, seed=2), draw(6, 5, seed=3)


def skip_gram(centre: Tensor, context: Tensor, negatives: Tensor) -> Tensor:
    """Skip-gram where four negatives weigh against a neighbour."""
    return pretraining.skip_gram_loss(centre, context, negatives, k=4)


def enumerated_skip_gram(centre: Tensor, context: Tensor, negatives: Tensor) -> Tensor:
    """Skip-gram from its definition: each pair and each drawn word judged by itself, true or drawn."""
    total, drawn = number(0.0), negatives if negatives.ndim == 3 else negatives.expand(len(centre), -1, -1)
    for v, u, others in zip(centre, context, drawn, strict=True):
        total = total + F.binary_cross_entropy_with_logits(u @ v, number(1.0))
        for other in others:
            total = total + 4 / len(others) * F.binary_cross_entropy_with_logits(other @ v, number(0.0))
    return total / len(centre)


def skip_gram_row(inputs: Callable[[int], Inputs], flat: Inputs) -> Objective:
    """The battery's row of skip-gram, with negatives of each pair's own or shared by all."""
    turned = torch.linalg.qr(draw(5, 5, seed=3)).Q
    first = flat[0][:1] * 0 + math.log(3) / 5  # ⟨v, 1⟩ = ln 3
    return Objective(
        loss=skip_gram,
        inputs=inputs,
        oracles={"definition": enumerated_skip_gram},
        limits=[
            ("nothing learned: 5 ln 2", tuple(x * 0 for x in flat), 5 * math.log(2)),
            (
                "all at ln 3: -ln 3/4 - 4 ln 1/4",
                (first, flat[1][:1] * 0 + 1, flat[2][..., :2, :][:1] * 0 + 1 if flat[2].ndim == 3 else flat[2] * 0 + 1),
                -math.log(0.75) - 4 * math.log(0.25),
            ),
        ],
        invariances={
            "rotation": lambda inputs: tuple(x @ turned for x in inputs),
            "order of the drawn words": lambda inputs: (*inputs[:2], inputs[2].flip(-2)),
            "words and contexts of other lengths": lambda inputs: (inputs[0] * 3, inputs[1] / 3, inputs[2] / 3),
        },
        extremes={"products of ±1e4, all wrong": (flat[0] * 0 + 1e2, flat[1] * 0 - 20, flat[2] * 0 + 20)},
        errors=[
            ((draw(3, 5), draw(4, 5), draw(6, 5)), "centre (3, 5), context (4, 5), negatives (6, 5)"),
            ((draw(3, 5), draw(3, 5), draw(2, 6, 5)), "expected (B, D), (B, D), and (B, S, D) or (S, D)"),
            ((draw(3, 5), draw(3, 5), draw(6, 4)), "negatives (6, 4)"),
            ((draw(3, 5), draw(3, 5), draw(0, 5)), "negatives (0, 5)"),
            ((draw(3), draw(3), draw(6, 3)), "centre (3,)"),
        ],
        learned=(0, 1, 2),
    )


def hidden_tokens(batch: int) -> Inputs:
    """Scores of five tokens at six places, of which the second and the fifth are hidden."""
    targets = torch.full((batch, 6), IGNORED)
    targets[:, 1], targets[:, 4] = torch.arange(batch) % 5, 3
    return draw(batch, 6, 5, seed=1), targets


def enumerated_masked_lm(logits: Tensor, targets: Tensor) -> Tensor:
    """Masked language modelling from its definition, one hidden token at a time."""
    places = (targets != IGNORED).nonzero().tolist()
    chances = [logits[b, i].exp()[targets[b, i]] / logits[b, i].exp().sum() for b, i in places]
    return -sum(chance.log() for chance in chances) / len(places)


def padded_tokens(inputs: Inputs) -> Inputs:
    """Two more places at the end of every text, not to be predicted."""
    logits, targets = inputs
    return torch.cat([logits, draw(len(logits), 2, 5)], dim=1), F.pad(targets, (0, 2), value=IGNORED)


def hidden_patches(batch: int) -> Inputs:
    """Predictions for nine patches of twelve numbers, the patches, and which are hidden."""
    hidden = torch.zeros(batch, 9, dtype=torch.bool)
    hidden[:, ::2] = True
    return draw(batch, 9, 12, seed=1), draw(batch, 9, 12, seed=2), hidden


def enumerated_masked_patch(predicted: Tensor, patches: Tensor, hidden_mask: Tensor) -> Tensor:
    """Masked autoencoding from its definition, one hidden patch at a time."""
    errors = []
    for b, k in hidden_mask.nonzero().tolist():
        spread = ((patches[b, k] - patches[b, k].mean()) ** 2).sum() / (patches.shape[2] - 1)
        target = (patches[b, k] - patches[b, k].mean()) / (spread + 1e-6) ** 0.5
        errors.append(((predicted[b, k] - target) ** 2).mean())
    return sum(errors) / len(errors)


def other_visible(inputs: Inputs) -> Inputs:
    """Another decoder's word on the patches that are seen."""
    predicted, patches, hidden_mask = inputs
    return torch.where(hidden_mask[..., None], predicted, predicted + 7), patches, hidden_mask


def several(batch: int) -> Inputs:
    """A batch of pairs of at least two, whose variances are on both sides of 1."""
    return draw(batch + 1, 5, seed=1) * torch.arange(1, 6) / 3, draw(batch + 1, 5, seed=2)


def enumerated_l2(image_emb: Tensor, text_emb: Tensor) -> Tensor:
    """The squared distance of matching pairs from the lengths and the angle, pair by pair."""
    return sum(u @ u + v @ v - 2 * u @ v for u, v in zip(image_emb, text_emb, strict=True)) / len(image_emb)


def enumerated_vicreg(image_emb: Tensor, text_emb: Tensor) -> Tensor:
    """VICReg from its definition, column by column."""
    n, dim = image_emb.shape
    loss = 25 * sum((u - v) ** 2 for u, v in zip(image_emb.flatten(), text_emb.flatten(), strict=True)) / (n * dim)
    for emb in (image_emb, text_emb):
        cov = torch.cov(emb.T)
        for d in range(dim):
            loss = loss + 25 / dim * max(number(0.0), 1 - (cov[d, d] + 1e-4).sqrt())
            loss = loss + sum(cov[d, e] ** 2 for e in range(dim) if e != d) / dim
    return loss


def views(batch: int) -> Inputs:
    """Two views of several rows, of three and two columns that correlate."""
    shared = draw(10 + batch, 2, seed=4)
    return torch.cat([shared, draw(10 + batch, 1, seed=1)], dim=1), shared + draw(10 + batch, 2, seed=2)


def deep_cca(image_emb: Tensor, text_emb: Tensor) -> Tensor:
    """Deep CCA with no ridge."""
    return alignment.deep_cca_loss(image_emb, text_emb, ridge=0.0)


def orthogonal_cca(image_emb: Tensor, text_emb: Tensor) -> Tensor:
    """Minus the sum of the canonical correlations, as cosines between the column spaces of the centred views."""
    q, r = (torch.linalg.qr(x - x.mean(dim=0)).Q for x in (image_emb, text_emb))
    return -torch.linalg.svdvals(q.T @ r).sum()


def root_cca(image_emb: Tensor, text_emb: Tensor) -> Tensor:
    """Deep CCA as the paper writes it, with symmetric roots."""

    def root(x: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(torch.cov(x.T))
        return vectors @ torch.diag(values**-0.5) @ vectors.T

    both = torch.cov(torch.cat([image_emb, text_emb], dim=1).T)
    between = both[: image_emb.shape[1], image_emb.shape[1] :]
    return -torch.linalg.matrix_norm(root(image_emb) @ between @ root(text_emb), ord="nuc")


def mixed(inputs: Inputs) -> Inputs:
    """Both views mapped by an invertible matrix and moved."""
    maps = (draw(x.shape[1], x.shape[1], seed=6) + 3 * torch.eye(x.shape[1]) for x in inputs)
    return tuple(x @ m + 5 for x, m in zip(inputs, maps, strict=True))


SAME = torch.ones(4, 5, dtype=torch.float64)
AXES = torch.eye(4, dtype=torch.float64)
BOTH_SIGNS = torch.tensor([[1.0], [1.0], [-1.0], [-1.0]], dtype=torch.float64)

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
    "sigmoid_loss": Objective(
        loss=alignment.sigmoid_loss,
        inputs=judged_pairs,
        oracles={"open_clip": open_clip_sigmoid, "definition": enumerated_sigmoid},
        limits=[
            ("scale and bias 0: B ln 2", (draw(4, 5), draw(4, 5, seed=9), number(0.0), number(0.0)), 4 * math.log(2)),
            (
                "nothing told apart, b = -ln(B - 1): ln B + (B - 1) ln(B / (B - 1))",
                (SAME, SAME, number(0.0), number(-math.log(3))),
                math.log(4) + 3 * math.log(4 / 3),
            ),
            ("orthogonal pairs, scale 1e4, b = -5e3: 0", (AXES, AXES, number(1e4), number(-5e3)), 0.0),
        ],
        invariances={"order of the pairs": permuted, "length of the embeddings": rescaled, "rotation": rotated},
        extremes={
            "logits of ±1e4, all pairs wrong": (AXES, -AXES, number(1e4), number(0.0)),
            "bias of 1e4": (AXES, AXES, number(1.0), number(1e4)),
        },
        errors=[((draw(3, 5), draw(4, 5), number(1.0), number(0.0)), "image_emb (3, 5) and text_emb (4, 5)")],
        learned=(0, 1, 2, 3),
    ),
    "triplet_loss": triplet_row(hardest=True),
    "triplet_loss over all negatives": triplet_row(hardest=False),
    "arcface_loss": Objective(
        loss=arcface,
        inputs=classed,
        oracles={"pytorch-metric-learning": metric_learning_arcface},
        limits=[
            (
                "orthogonal to all classes: the margin alone counts",
                (AXES[3:].repeat(2, 1), AXES[:2], torch.arange(2)),
                math.log(1 + math.exp(16 * math.sin(0.5))),
            ),
        ],
        invariances={"length of the embeddings": rescaled, "rotation": rotated},
        extremes={
            "on the class": (AXES, AXES, torch.arange(4)),
            "opposite to the class": (AXES, -AXES, torch.arange(4)),
        },
        errors=[((draw(3, 5), draw(4, 5), torch.arange(2)), "emb (3, 5), class_emb (4, 5), targets (2,)")],
    ),
    "matching_loss": Objective(
        loss=alignment.matching_loss,
        inputs=judged,
        oracles={"two-way softmax": two_way_matching},
        limits=[
            ("logits 0: ln 2", (draw(4) * 0, draw(8) * 0), math.log(2)),
            ("one right pair at ln 3: -ln 3/4", (draw(1) * 0 + math.log(3), draw(1)[:0]), -math.log(0.75)),
        ],
        invariances={"order of the wrong pairs": lambda inputs: (inputs[0], inputs[1].flip(0))},
        extremes={"logits of ±1e4, all wrong": (draw(4) * 0 - 1e4, draw(8) * 0 + 1e4)},
        errors=[((draw(4, 1), draw(4)), "matched (4, 1)"), ((draw(4)[:0], draw(4)[:0]), "expected vectors of logits")],
    ),
    "skip_gram_loss": skip_gram_row(words, words(4)),
    "skip_gram_loss with shared negatives": skip_gram_row(words_and_shared, words_and_shared(4)),
    "masked_lm_loss": Objective(
        loss=pretraining.masked_lm_loss,
        inputs=hidden_tokens,
        oracles={"definition": enumerated_masked_lm},
        limits=[
            ("uniform scores: ln V", (draw(4, 6, 5) * 0, hidden_tokens(4)[1]), math.log(5)),
            ("nothing hidden: 0", (draw(4, 6, 5), torch.full((4, 6), IGNORED)), 0.0),
            (
                "one place at ln 3 over two tokens: ln 4/3",
                (number(math.log(3)) * AXES[:1, :2], torch.zeros(1).long()),
                math.log(4 / 3),
            ),
        ],
        invariances={
            "order of the texts": lambda inputs: tuple(x.roll(1, dims=0) for x in inputs),
            "padding": padded_tokens,
            "a constant added to all scores": lambda inputs: (inputs[0] + 7, inputs[1]),
            "only the hidden places given": lambda inputs: tuple(x[inputs[1] != IGNORED] for x in inputs),
        },
        extremes={
            "logits of ±1e4, all wrong": (1e4 * AXES, torch.arange(4).roll(1)),
            "nothing hidden": (draw(4, 6, 5), torch.full((4, 6), IGNORED)),
        },
        errors=[((draw(4, 6, 5), torch.zeros(4, 5).long()), "logits (4, 6, 5) and targets (4, 5)")],
        learned=(0,),
    ),
    "masked_patch_loss": Objective(
        loss=pretraining.masked_patch_loss,
        inputs=hidden_patches,
        oracles={"definition": enumerated_masked_patch},
        limits=[
            (
                "patches of 0 and 1, all predicted as 0: 11/12 of a variance of 3/11 (and ε)",
                (draw(2, 9, 12) * 0, torch.tensor([0.0, 1.0]).double().repeat(2, 9, 6), hidden_patches(2)[2]),
                0.25 / (3 / 11 + 1e-6),
            ),
            (
                "patches of one colour, predicted as 0: 0",
                (draw(2, 9, 12) * 0, draw(2, 9, 12) * 0 + 5, hidden_patches(2)[2]),
                0.0,
            ),
            ("nothing hidden: 0", (draw(2, 9, 12), draw(2, 9, 12), hidden_patches(2)[2] & False), 0.0),
        ],
        invariances={
            "order of the pictures": lambda inputs: tuple(x.roll(1, dims=0) for x in inputs),
            "order of the patches": lambda inputs: tuple(x.flip(1) for x in inputs),
            "what is said of seen patches": other_visible,
            "brightness": lambda inputs: (inputs[0], inputs[1] + 3, inputs[2]),
        },
        extremes={
            "patches of one colour": (draw(2, 9, 12), draw(2, 9, 12) * 0 + 255, hidden_patches(2)[2]),
            "nothing hidden": (draw(2, 9, 12), draw(2, 9, 12), hidden_patches(2)[2] & False),
        },
        errors=[
            ((draw(2, 9, 12), draw(2, 9, 11), hidden_patches(2)[2]), "predicted (2, 9, 12), patches (2, 9, 11)"),
            ((draw(2, 9, 12), draw(2, 9, 12), hidden_patches(3)[2]), "hidden_mask (3, 9)"),
        ],
        learned=(0,),
    ),
    "l2_alignment": Objective(
        loss=alignment.l2_alignment,
        inputs=triplet_pairs,
        oracles={"lengths and angle": enumerated_l2},
        limits=[
            ("one point for all: 0", (SAME, SAME), 0.0),
            ("orthogonal on the sphere: 2 - 2 cos = 2", (AXES, AXES.roll(1, 0)), 2.0),
            ("opposite on the sphere: 4", (AXES, -AXES), 4.0),
        ],
        invariances={
            "order of the pairs": permuted,
            "rotation": rotated,
            "both moved": lambda inputs: (inputs[0] + 3, inputs[1] + 3),
        },
        extremes={"far apart": (SAME * 1e4, -SAME * 1e4), "one point": (SAME, SAME)},
        errors=[
            ((draw(3, 5), draw(4, 5)), "image_emb (3, 5) and text_emb (4, 5)"),
            ((draw(0, 5), draw(0, 5)), "B at least 1"),
        ],
    ),
    "vicreg_loss": Objective(
        loss=alignment.vicreg_loss,
        inputs=several,
        oracles={"definition": enumerated_vicreg},
        limits=[
            ("one point for all: 2 x 25 x (1 - 0.01)", (SAME, SAME), 49.5),
            (
                "two columns that are one, of variance 4/3: twice that covariance squared",
                (draw(4, 2) * 0 + BOTH_SIGNS, draw(4, 2) * 0 + BOTH_SIGNS),
                2 * (4 / 3) ** 2,
            ),
        ],
        invariances={
            "order of the pairs": permuted,
            "both moved": lambda inputs: (inputs[0] + 3, inputs[1] + 3),
            "order of the columns": lambda inputs: (inputs[0].flip(1), inputs[1].flip(1)),
            "the two sides exchanged": lambda inputs: inputs[::-1],
        },
        extremes={"one point": (SAME, SAME), "far apart": (draw(4, 5) * 1e3, -draw(4, 5) * 1e3)},
        errors=[
            ((draw(3, 5), draw(4, 5)), "image_emb (3, 5) and text_emb (4, 5)"),
            ((draw(1, 5), draw(1, 5)), "B at least 2"),
        ],
    ),
    "deep_cca_loss": Objective(
        loss=deep_cca,
        inputs=views,
        oracles={"angle between the column spaces": orthogonal_cca, "symmetric roots": root_cca},
        limits=[
            ("a view and itself: -D", (views(9)[1], views(9)[1]), -2.0),
            ("uncorrelated columns: 0", (BOTH_SIGNS, torch.tensor([[1.0], [-1.0], [-1.0], [1.0]]).double()), 0.0),
        ],
        invariances={"order of the pairs": lambda inputs: tuple(x.flip(0) for x in inputs), "any linear map": mixed},
        extremes={"huge": tuple(x * 1e6 for x in views(4)), "tiny": tuple(x * 1e-4 for x in views(4))},
        errors=[
            ((draw(3, 5), draw(4, 5)), "views are (3, 5) and (4, 5)"),
            ((draw(1, 5), draw(1, 5)), "N at least 2"),
            ((SAME, draw(4, 2)), "the variance of the first view (4, 5) is singular"),
            ((draw(4, 2), SAME), "the variance of the second view (4, 5) is singular"),
        ],
    ),
}
