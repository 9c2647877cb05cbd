"""Text as tensors: a vocabulary, frozen features of a pretrained model, and a small encoder to train."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from mmcook import hub
from mmcook.pretraining import IGNORED

HIDE, SWAP = 0.8, 0.1  # of the chosen tokens: how many become the mask, how many another token; the rest stays


def frozen_features(texts: list[str], *, device: torch.device, batch: int = 128) -> Tensor:
    r"""Sentence embeddings of the pretrained MiniLM: the mean of its token states, on the unit sphere; cached.

    Args:
        texts: N English texts.
        device: where to compute.
        batch: texts at a time.
    Returns: (N, 384) float32 on the CPU, each row of length 1.
    Raises: ValueError when there is no text, or an empty one.
    Source: Reimers and Gurevych 2019 (arXiv 1908.10084); weights see ``hub.CATALOGUE``.
    """
    if not texts or not all(texts):
        raise ValueError("texts are empty or hold an empty text; expected at least one text with something in it")
    settings = {"pooling": "mean", "device": device.type}
    return hub.cached("minilm", list(texts), settings, lambda folder: _encode(folder, texts, device, batch))


@torch.no_grad()  # not inference_mode: a chapter trains on what comes out
def _encode(folder: Path, texts: list[str], device: torch.device, batch: int) -> Tensor:
    """Run the pretrained model over all texts, the shortest first so that little is padded."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval().to(device)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    result = torch.empty(len(texts), model.config.hidden_size)
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        tokens = tokenizer([texts[i] for i in rows], padding=True, truncation=True, return_tensors="pt").to(device)
        states = model(**tokens).last_hidden_state  # (B, L, D)
        real = tokens["attention_mask"][..., None]  # (B, L, 1)
        pooled = (states * real).sum(dim=1) / real.sum(dim=1)
        result[rows] = nn.functional.normalize(pooled, dim=-1).cpu()
    return result


def mask_tokens(
    tokens: Tensor,
    *,
    mask_id: int,
    n_tokens: int,
    special_ids: Iterable[int],
    rate: float = 0.15,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Hide tokens for masked language modelling: of those chosen 80 % become the mask, 10 % another token, 10 % stay.

    $$\Pr(i \in M) = r, \qquad \tilde x_i = \begin{cases} \text{[MASK]} & 0.8\\ \text{a random token} & 0.1\\
    x_i & 0.1 \end{cases} \quad \text{for } i \in M$$

    Args:
        tokens: (B, L) or (L,) ids.
        mask_id: the id of the mask.
        n_tokens: V, size of the vocabulary.
        special_ids: ids that are never chosen and never put in: padding, separators, the mask.
        rate: r, the share of the other tokens that is chosen.
        generator: where the draws come from, on the CPU; torch's own by default.
    Returns: corrupted, the ids with some replaced, and targets, the true id where chosen and -100 elsewhere; both
        (B, L), or (L,).
    Raises: ValueError when the rate is no share, or an id lies outside the vocabulary.
    Source: Devlin et al. 2019 (arXiv 1810.04805), §3.1.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"rate is {rate}; expected a share between 0 and 1")
    if tokens.numel() and not 0 <= int(tokens.min()) <= int(tokens.max()) < n_tokens:
        raise ValueError(
            f"tokens lie between {int(tokens.min())} and {int(tokens.max())}; expected 0 to {n_tokens - 1}"
        )
    special = torch.zeros(n_tokens, dtype=torch.bool)
    special[list(special_ids)] = True
    chance, fate = (torch.rand(tokens.shape, generator=generator).to(tokens.device) for _ in range(2))
    ordinary = (~special).nonzero()[:, 0]
    others = ordinary[torch.randint(len(ordinary), tokens.shape, generator=generator)].to(tokens.device)
    chosen = (chance < rate) & ~special.to(tokens.device)[tokens]
    corrupted = tokens.masked_fill(chosen & (fate < HIDE), mask_id)
    corrupted = torch.where(chosen & (fate >= HIDE) & (fate < HIDE + SWAP), others, corrupted)
    return corrupted, tokens.masked_fill(~chosen, IGNORED)


def pack(texts: list[list[int]], length: int) -> tuple[Tensor, Tensor]:
    """Lay texts end to end in rows of one length, as many whole texts a row as fit, so that little is padding.

    A token should attend to its own text only: ``segments[:, :, None] == segments[:, None, :]``, (R, L, L).

    Args:
        texts: token ids of each, laid down in this order.
        length: L, of a row.
    Returns: tokens (R, L), 0 where padded; segments (R, L), the number of its text within the row from 1, 0 where
        padded.
    Raises: ValueError when there is no text, or one is empty or longer than a row.
    """
    sizes = torch.tensor([len(ids) for ids in texts])
    if not texts or not 1 <= int(sizes.min()) <= int(sizes.max()) <= length:
        raise ValueError(
            f"texts have {sorted(set(sizes.tolist()))} tokens; expected 1 to {length} in each of one or more"
        )
    row, end, rows, starts = 0, 0, [], []
    for size in sizes.tolist():
        row, end = (row, end) if end + size <= length else (row + 1, 0)
        rows.append(row)
        starts.append(row * length + end)
        end += size
    within = torch.arange(int(sizes.sum())) - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    place = torch.tensor(starts).repeat_interleave(sizes) + within
    number = torch.arange(len(texts)) - torch.searchsorted(torch.tensor(rows), torch.tensor(rows)) + 1
    packed = torch.zeros(2, (row + 1) * length, dtype=torch.long)
    packed[0, place] = torch.tensor([token for ids in texts for token in ids])
    packed[1, place] = number.repeat_interleave(sizes)
    return packed.view(2, row + 1, length).unbind(0)


class Vocabulary:
    """Numbers for tokens; 0 is padding, 1 is a token that was not seen.

    Args:
        texts: what to learn the tokens from.
        minimum: how often a token must occur to get a number of its own.
    """

    PADDING, UNKNOWN = 0, 1

    def __init__(self, texts: Iterable[Iterable[str]], minimum: int = 1):
        """Count the tokens; a text is anything that yields tokens, and a string yields its characters."""
        counts = Counter(token for text in texts for token in text)
        known = sorted(token for token, count in counts.items() if count >= minimum)
        self.tokens = ["<pad>", "<unk>", *known]
        self.ids = {token: i for i, token in enumerate(self.tokens)}

    def __len__(self) -> int:
        """How many numbers are in use, padding and unknown included."""
        return len(self.tokens)

    def encode(self, texts: list[Iterable[str]]) -> Tensor:
        """The texts as token ids (B, L), padded with 0 to the longest.

        Raises: ValueError when there is no text, or none holds a token.
        """
        rows = [[self.ids.get(token, self.UNKNOWN) for token in text] for text in texts]
        length = max(map(len, rows), default=0)
        if length == 0:
            raise ValueError("texts hold no token; expected at least one text with something in it")
        return torch.tensor([row + [self.PADDING] * (length - len(row)) for row in rows])


class TextEncoder(nn.Module, PyTorchModelHubMixin):
    """A small transformer to be trained from scratch: token ids to embeddings, the mean over what is not padding.

    Args:
        n_tokens: size of the vocabulary.
        dim: D, width of the embedding.
        width: width of the transformer.
        layers: number of its layers.
        length: the longest text, in tokens; what lies beyond is cut off.
    """

    def __init__(self, n_tokens: int, dim: int, width: int = 128, layers: int = 2, length: int = 64):
        """Build embeddings, layers and projection."""
        super().__init__()
        self.tokens = nn.Embedding(n_tokens, width, padding_idx=Vocabulary.PADDING)
        self.positions = nn.Parameter(torch.randn(length, width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.1, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.project = nn.Linear(width, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Embed token ids: (B, L) to (B, D)."""
        tokens = tokens[:, : len(self.positions)]
        padding_mask = tokens == Vocabulary.PADDING  # (B, L), True where padded
        states = self.layers(self.tokens(tokens) + self.positions[: tokens.shape[1]], src_key_padding_mask=padding_mask)
        real = (~padding_mask)[..., None]
        total = states.masked_fill(~real, 0).sum(dim=1)  # torch's fast path leaves NaN where all is padding
        return self.project(total / real.sum(dim=1).clamp(min=1))
