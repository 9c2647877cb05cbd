"""Perception: several modalities read in parallel, any of which may be missing, and what each of them adds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn


class PerceptionModel(nn.Module, PyTorchModelHubMixin):
    r"""Encoder–decoders, stacked: each level encodes the modalities in parallel, fuses them and decodes each again.

    With $h_m^{(0)} = W_m x_m$ for a modality that is present, and $S$ the set of these, level $k$ of $K$ computes

    $$z^{(k)} = \frac{1}{|S_k|} \sum_{m \in S_k} E_m^{(k)}\big(h_m^{(k-1)}\big), \qquad
    h_m^{(k)} = h_m^{(k-1)} + D_m^{(k)}\big(z^{(k)}\big)$$

    where $S_1 = S$ and $h_m^{(0)} = 0$ for a missing modality; from the second level on all modalities are read,
    those missing as the levels before have imagined them. The last decoders give back the inputs.

    Args:
        names: of the M modalities.
        widths: D_m, width of each one's features.
        dim: D, width of the shared state.
        levels: K, how many encoder–decoders are stacked.
        dropout: share of the numbers of features and states dropped in training.
    Source: the article's multimodal perception model (多模态感知模型), which says no more than stacked and parallel.
    """

    def __init__(self, names: list[str], widths: list[int], dim: int, levels: int = 2, dropout: float = 0.0):
        """Build an entrance, K encoders and decoders, and an exit for each modality."""
        super().__init__()
        if not names or len(names) != len(widths) or levels < 1:
            raise ValueError(
                f"{len(names)} names, {len(widths)} widths and {levels} levels; expected a width for each name, and one"
                " or more of names and levels"
            )
        # lists, since a saved configuration keeps no order of a dict
        dims, self.names, self.drop = dict(zip(names, widths, strict=True)), list(names), nn.Dropout(dropout)
        self.entrances = nn.ModuleDict({m: nn.Linear(width, dim) for m, width in dims.items()})
        self.exits = nn.ModuleDict({m: nn.Linear(dim, width) for m, width in dims.items()})
        self.encoders, self.decoders = (
            nn.ModuleList(
                nn.ModuleDict({m: nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim), nn.GELU()) for m in dims})
                for _ in range(levels)
            )
            for _ in range(2)
        )

    def forward(self, inputs: dict[str, Tensor], present: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The shared state and every modality as decoded from it.

        Args:
            inputs: by modality, (B, D_m); what stands at a missing one is not read.
            present: (B, M), True where a row has the modality, in the order of ``names``.
        Returns: z (B, D), and by modality (B, D_m).
        """
        read, hidden = present, {}
        for m, here in zip(self.names, present.T, strict=True):
            missing = ~here[:, None]
            features = inputs[m].masked_fill(missing, 0)  # not-a-number there must not reach the gradient
            hidden[m] = self.entrances[m](self.drop(features)).masked_fill(missing, 0)
        for encode, decode in zip(self.encoders, self.decoders, strict=True):
            encoded = torch.stack([encode[m](h) for m, h in hidden.items()], dim=1)  # (B, M, D)
            total = encoded.masked_fill(~read[..., None], 0).sum(dim=1)
            z = total / read.sum(dim=1, keepdim=True).clamp(min=1)
            hidden = {m: h + decode[m](self.drop(z)) for m, h in hidden.items()}
            read = torch.ones_like(present)
        return z, {m: self.exits[m](hidden[m]) for m in self.names}


def modality_dropout(present: Tensor, rate: float, generator: torch.Generator | None = None) -> Tensor:
    r"""Hide each modality of each row with a chance of its own, so that a model learns to do without it.

    $$\Pr(S) = (1 - r)^{|S|}\, r^{M - |S|}$$

    All modalities of a row may go; from such rows the model learns what to answer when it knows nothing.

    Args:
        present: (B, M), True where a row has the modality.
        rate: r, the chance that it is hidden.
        generator: where the draws come from, on the CPU; torch's own by default.
    Returns: (B, M), True where the modality is there and not hidden.
    Raises: ValueError when the rate is no share.
    Source: Neverova et al. 2015 (arXiv 1501.00102), ModDrop.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"rate is {rate}; expected a share between 0 and 1")
    return present & (torch.rand(present.shape, generator=generator) >= rate).to(present.device)


def shapley_values(value: Callable[[frozenset[int]], Tensor | float], players: int) -> Tensor:
    r"""What each of M players adds to a game, averaged over all orders in which they may join; exact.

    $$\phi_m = \sum_{S \not\ni m} \frac{|S|!\,(M - |S| - 1)!}{M!}\,\big[v(S \cup \{m\}) - v(S)\big]$$

    Together they give v(all) − v(none); equal players get equal shares, one that never adds anything gets 0, and the
    values of a sum of games add up.

    Args:
        value: v, of the set of players that have joined: a number, or one for each row (...,); called once for each
            of the 2^M sets.
        players: M.
    Returns: (M,), or (M, ...), in double precision, in the unit of v.
    Raises: ValueError when there is no player.
    Source: Shapley 1953, A value for n-person games.
    """
    if players < 1:
        raise ValueError(f"players is {players}; expected one or more")
    sets = [frozenset(s) for size in range(players + 1) for s in itertools.combinations(range(players), size)]
    worth = {s: torch.as_tensor(value(s), dtype=torch.double) for s in sets}
    weight = [1 / (players * math.comb(players - 1, size)) for size in range(players)]  # |S|! (M − |S| − 1)! / M!
    return torch.stack(
        [sum(weight[len(s)] * (worth[s | {m}] - worth[s]) for s in sets if m not in s) for m in range(players)]
    )
