"""Operators that make one representation out of two modalities' features, pooled or token by token."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConcatFusion(nn.Module):
    r"""Concatenation and a linear map: $z = W[x; y] + b$; what each says adds up, whatever the other says.

    Args:
        image_dim, text_dim: D₁ and D₂, widths of the two.
        dim: D, width of the result.
    Parameters: (D₁ + D₂ + 1) D.
    """

    def __init__(self, image_dim: int, text_dim: int, dim: int):
        """Build the map."""
        super().__init__()
        self.mix = nn.Linear(image_dim + text_dim, dim)

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """Fuse (B, D₁) and (B, D₂) into (B, D)."""
        return self.mix(torch.cat([image, text], dim=-1))


class WeightedFusion(nn.Module):
    r"""A weighted mean of both after each is brought to one width: $z = \alpha Ax + (1 - \alpha) By$.

    Args:
        image_dim, text_dim: D₁ and D₂, widths of the two.
        dim: D, width of the result.
    Parameters: (D₁ + 1) D + (D₂ + 1) D + 1; α = σ(score), one half at the start.
    """

    def __init__(self, image_dim: int, text_dim: int, dim: int):
        """Build the maps and the weight's score."""
        super().__init__()
        self.of_image, self.of_text = nn.Linear(image_dim, dim), nn.Linear(text_dim, dim)
        self.score = nn.Parameter(torch.zeros(()))

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """Fuse (B, D₁) and (B, D₂) into (B, D)."""
        return torch.lerp(self.of_text(text), self.of_image(image), self.score.sigmoid())


class GatedFusion(nn.Module):
    r"""Gated multimodal unit: both together decide, number by number, which of the two is listened to.

    $$z = g \odot \tanh(Ax) + (1 - g) \odot \tanh(By), \qquad g = \sigma(C[x; y])$$

    Args:
        image_dim, text_dim: D₁ and D₂, widths of the two.
        dim: D, width of the result.
    Parameters: (D₁ + 1) D + (D₂ + 1) D + (D₁ + D₂ + 1) D.
    Source: Arevalo et al. 2017 (arXiv 1702.01992), §3.1.
    """

    def __init__(self, image_dim: int, text_dim: int, dim: int):
        """Build the maps and the gate."""
        super().__init__()
        self.of_image, self.of_text = nn.Linear(image_dim, dim), nn.Linear(text_dim, dim)
        self.gate = nn.Linear(image_dim + text_dim, dim)

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """Fuse (B, D₁) and (B, D₂) into (B, D)."""
        gate = self.gate(torch.cat([image, text], dim=-1)).sigmoid()
        return torch.lerp(self.of_text(text).tanh(), self.of_image(image).tanh(), gate)


class FiLM(nn.Module):
    r"""Feature-wise linear modulation: the text stretches and shifts every feature of the image.

    $$z = (1 + \gamma(y)) \odot x + \delta(y), \qquad [\gamma; \delta](y) = Ay + b$$

    Args:
        image_dim: D₁, width of what is modulated, and of the result.
        text_dim: D₂, width of what modulates.
    Parameters: 2 (D₂ + 1) D₁, all zero at the start, so that z = x.
    Source: Perez et al. 2018 (arXiv 1709.07871), §2.
    """

    def __init__(self, image_dim: int, text_dim: int):
        """Build the map to gains and shifts."""
        super().__init__()
        self.modulation = nn.Linear(text_dim, 2 * image_dim)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """Modulate (B, D₁), or positions (B, K, D₁), by (B, D₂)."""
        modulation = self.modulation(text)
        gain, shift = (modulation if image.ndim == 2 else modulation[:, None]).chunk(2, dim=-1)
        return (1 + gain) * image + shift


class TensorFusion(nn.Module):
    r"""Tensor fusion: every product of a number of one with a number of the other, and each by itself.

    $$z = W \operatorname{vec}\big([1; x] \otimes [1; y]\big)$$

    Args:
        image_dim, text_dim: D₁ and D₂, widths of the two.
        dim: D, width of the result.
    Parameters: (D₁ + 1)(D₂ + 1) D; the product of the ones is the bias.
    Source: Zadeh et al. 2017 (arXiv 1707.07250), §3.2.
    """

    def __init__(self, image_dim: int, text_dim: int, dim: int):
        """Build the map from the products."""
        super().__init__()
        self.mix = nn.Linear((image_dim + 1) * (text_dim + 1), dim, bias=False)

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """Fuse (B, D₁) and (B, D₂) into (B, D)."""
        products = _with_one(image)[:, :, None] * _with_one(text)[:, None, :]  # (B, D₁ + 1, D₂ + 1)
        return self.mix(products.flatten(1))


class LowRankFusion(nn.Module):
    r"""Low-rank fusion: tensor fusion whose weights are a sum of R products, so that no outer product is formed.

    $$z = \sum_{r=1}^R \big(A_r [1; x]\big) \odot \big(B_r [1; y]\big)$$

    Args:
        image_dim, text_dim: D₁ and D₂, widths of the two.
        dim: D, width of the result.
        rank: R.
    Parameters: R (D₁ + 1) D + R (D₂ + 1) D.
    Source: Liu et al. 2018 (arXiv 1806.00064), §3.
    """

    def __init__(self, image_dim: int, text_dim: int, dim: int, rank: int):
        """Build the factors, at a scale that keeps z near 1 for inputs near 1."""
        super().__init__()
        scale = rank**-0.25
        self.image_factor = nn.Parameter(torch.randn(rank, image_dim + 1, dim) * scale * (image_dim + 1) ** -0.5)
        self.text_factor = nn.Parameter(torch.randn(rank, text_dim + 1, dim) * scale * (text_dim + 1) ** -0.5)

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """Fuse (B, D₁) and (B, D₂) into (B, D)."""
        of_image = torch.einsum("bi,rid->rbd", _with_one(image), self.image_factor)
        of_text = torch.einsum("bj,rjd->rbd", _with_one(text), self.text_factor)
        return (of_image * of_text).sum(dim=0)


class HyperFusion(nn.Module):
    r"""Hypernetwork (meta-network): the text computes the weights of the layer that reads the image.

    $$z = W(y)\,x + b(y), \qquad W(y) = W_0 + \sum_j y_j W_j, \quad b(y) = b_0 + By$$

    Args:
        image_dim, text_dim: D₁ and D₂, widths of the two.
        dim: D, width of the result.
    Parameters: (D₂ + 1) D₁ D + (D₂ + 1) D, as many as tensor fusion's: it is the same family of maps.
    Source: Ha et al. 2017 (arXiv 1609.09106); Jayakumar et al. 2020, ICLR, §3.
    """

    def __init__(self, image_dim: int, text_dim: int, dim: int):
        """Build the maps from text to weights and to bias."""
        super().__init__()
        self.shape = (dim, image_dim)
        self.weight, self.bias = nn.Linear(text_dim, dim * image_dim), nn.Linear(text_dim, dim)
        nn.init.normal_(self.weight.weight, std=(text_dim * image_dim) ** -0.5)
        nn.init.normal_(self.weight.bias, std=image_dim**-0.5)

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """Fuse (B, D₁) and (B, D₂) into (B, D)."""
        weight = self.weight(text).unflatten(-1, self.shape)  # (B, D, D₁)
        return (weight @ image[..., None])[..., 0] + self.bias(text)


class CrossAttention(nn.Module):
    r"""Cross-attention: each position of one modality takes a mean of the other's, weighted by how well they fit.

    $$z = \operatorname{softmax}\Big(\frac{Q K^\top}{\sqrt{D/H}}\Big) V\,W_o, \qquad
    Q = hW_q,\ K = cW_k,\ V = cW_v$$

    in each of H heads.

    Args:
        dim: D, width of the queries and of the result.
        context_dim: width of what is attended to.
        heads: H, a divisor of D.
    Parameters: 2 D (D + 1) + 2 D (context_dim + 1).
    Raises: ValueError when the heads do not divide the width.
    Source: Vaswani et al. 2017 (arXiv 1706.03762), §3.2.
    """

    def __init__(self, dim: int, context_dim: int, heads: int = 4):
        """Build the projections."""
        super().__init__()
        if dim % heads:
            raise ValueError(f"heads is {heads}; expected a divisor of dim, {dim}")
        self.heads = heads
        self.query, self.out = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.key, self.value = nn.Linear(context_dim, dim), nn.Linear(context_dim, dim)

    def forward(self, hidden: Tensor, context: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Attend from (B, L, D) to (B, K, context_dim); padding_mask (B, K) is True where padded: (B, L, D)."""
        query, key, value = self._heads(hidden, context)
        keep = None if padding_mask is None else ~padding_mask[:, None, None]  # torch's mask is True where kept
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=keep)  # (B, H, L, D / H)
        return self.out(attended.transpose(1, 2).flatten(2))

    def weights(self, hidden: Tensor, context: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """How much each position attends to each of the context, averaged over heads: (B, L, K), rows sum to 1."""
        query, key, _ = self._heads(hidden, context)
        scores = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5  # (B, H, L, K)
        if padding_mask is not None:
            scores = scores.masked_fill(padding_mask[:, None, None], -torch.inf)
        return scores.softmax(dim=-1).mean(dim=1)

    def _heads(self, hidden: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, a head beside the other: (B, H, L or K, D / H)."""
        projected = (self.query(hidden), self.key(context), self.value(context))
        return tuple(x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in projected)


class BottleneckFusion(nn.Module):
    r"""Attention bottleneck: two streams of tokens exchange what they know through a few shared tokens only.

    $$[h'_m; f_m] = \operatorname{layer}_m([h_m; f]), \qquad f' = \tfrac12 (f_1 + f_2)$$

    A layer costs (K + S)² + (L + S)² products of tokens, where joint attention costs (K + L)².

    Args:
        dim: D, width of all tokens.
        tokens: S, how many are shared.
        layers: how often they exchange.
        heads: heads of a layer.
    Source: Nagrani et al. 2021 (arXiv 2107.00135), §3.2.
    """

    def __init__(self, dim: int, tokens: int = 4, layers: int = 2, heads: int = 4):
        """Build the shared tokens and a pair of transformer layers for each exchange."""
        super().__init__()
        self.tokens = nn.Parameter(torch.randn(tokens, dim) * dim**-0.5)

        def layer() -> nn.Module:
            return nn.TransformerEncoderLayer(dim, heads, 2 * dim, dropout=0.0, batch_first=True, norm_first=True)

        self.layers = nn.ModuleList(nn.ModuleList([layer(), layer()]) for _ in range(layers))

    def forward(
        self, image: Tensor, text: Tensor, image_padding: Tensor | None = None, text_padding: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Both streams (B, K, D) and (B, L, D), and the shared tokens (B, S, D), after the exchanges."""
        shared = self.tokens.expand(len(image), -1, -1)
        masks = [_with_shared(padding, shared.shape[1]) for padding in (image_padding, text_padding)]
        for of_image, of_text in self.layers:
            image, from_image = self._exchange(of_image, image, shared, masks[0])
            text, from_text = self._exchange(of_text, text, shared, masks[1])
            shared = (from_image + from_text) / 2
        return image, text, shared

    @staticmethod
    def _exchange(layer: nn.Module, stream: Tensor, shared: Tensor, padding: Tensor | None) -> tuple[Tensor, Tensor]:
        """One layer over a stream and the shared tokens; the two come back apart."""
        together = layer(torch.cat([stream, shared], dim=1), src_key_padding_mask=padding)
        return together[:, : stream.shape[1]], together[:, stream.shape[1] :]


class Resampler(nn.Module):
    r"""Resampler (Perceiver, Q-Former): a fixed number of learned queries read any number of positions.

    $$q' = q + \operatorname{CrossAttention}(\operatorname{LN}(q), \operatorname{LN}(c)), \qquad
    z = q' + \operatorname{MLP}(\operatorname{LN}(q'))$$

    Args:
        queries: S, how many.
        dim: D, their width.
        context_dim: width of what is read.
        heads: heads of the attention.
    Source: Jaegle et al. 2021 (arXiv 2107.14795), §3; Li et al. 2023 (arXiv 2301.12597), §3.1.
    """

    def __init__(self, queries: int, dim: int, context_dim: int, heads: int = 4):
        """Build queries, attention and multilayer perceptron."""
        super().__init__()
        self.queries = nn.Parameter(torch.randn(queries, dim) * dim**-0.5)
        self.attention = CrossAttention(dim, context_dim, heads)
        self.norm_queries, self.norm_context = nn.LayerNorm(dim), nn.LayerNorm(context_dim)
        self.mlp = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, context: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Read (B, K, context_dim), of which padding_mask (B, K) says what is padding, into (B, S, D)."""
        queries = self.queries.expand(len(context), -1, -1)
        queries = queries + self.attention(self.norm_queries(queries), self.norm_context(context), padding_mask)
        return queries + self.mlp(queries)


class PixelShuffleProjector(nn.Module):
    r"""Pixel shuffle and a linear map: squares of r × r positions become one token of r² times the width.

    $$(B, K, D_1) \to (B, K / r^2, r^2 D_1) \to (B, K / r^2, D)$$

    Nothing is lost before the linear map, as :meth:`shuffle` can be undone.

    Args:
        image_dim: D₁, width of a position.
        dim: D, width of a token.
        factor: r.
    Parameters: (r² D₁ + 1) D.
    Source: Shi et al. 2016 (arXiv 1609.05158), read backwards.
    """

    def __init__(self, image_dim: int, dim: int, factor: int = 2):
        """Build the map."""
        super().__init__()
        self.factor = factor
        self.project = nn.Linear(factor**2 * image_dim, dim)

    def forward(self, image: Tensor) -> Tensor:
        """Bring positions of a square grid (B, K, D₁) to tokens (B, K / r², D)."""
        return self.project(self.shuffle(image))

    def shuffle(self, image: Tensor) -> Tensor:
        """Lay the positions of each square beside each other: (B, K, D₁) to (B, K / r², r² D₁).

        Raises: ValueError when the positions are no square grid, or r does not divide its side.
        """
        side = math.isqrt(image.shape[1])
        if side**2 != image.shape[1] or side % self.factor:
            raise ValueError(f"image is {tuple(image.shape)}; expected (B, K, D₁), K the square of a multiple of"
                             f" {self.factor}")  # fmt: skip
        grid = image.unflatten(1, (side // self.factor, self.factor, side // self.factor, self.factor))
        return grid.transpose(2, 3).flatten(3).flatten(1, 2)


def _with_one(features: Tensor) -> Tensor:
    """A one before every row: (B, D) to (B, D + 1)."""
    return F.pad(features, (1, 0), value=1.0)


def _with_shared(padding: Tensor | None, n: int) -> Tensor | None:
    """A padding mask (B, L) with n tokens after it that are never padding."""
    return None if padding is None else F.pad(padding, (0, n), value=False)
