"""Each operator computes its equation, has as many parameters as its docstring says, and learns all of them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmcook import fusion

D1, D2, D, R = 5, 3, 4, 2
POOLED = {
    "concat": (lambda: fusion.ConcatFusion(D1, D2, D), (D1 + D2 + 1) * D),
    "weighted": (lambda: fusion.WeightedFusion(D1, D2, D), (D1 + 1) * D + (D2 + 1) * D + 1),
    "gated": (lambda: fusion.GatedFusion(D1, D2, D), (D1 + 1) * D + (D2 + 1) * D + (D1 + D2 + 1) * D),
    "film": (lambda: fusion.FiLM(D1, D2), 2 * (D2 + 1) * D1),
    "tensor": (lambda: fusion.TensorFusion(D1, D2, D), (D1 + 1) * (D2 + 1) * D),
    "low rank": (lambda: fusion.LowRankFusion(D1, D2, D, R), R * (D1 + 1) * D + R * (D2 + 1) * D),
    "hyper": (lambda: fusion.HyperFusion(D1, D2, D), (D2 + 1) * D1 * D + (D2 + 1) * D),
}
TOKENS = {
    "cross": (lambda: fusion.CrossAttention(8, D2, 2), 2 * 8 * 9 + 2 * 8 * (D2 + 1)),
    "pixel shuffle": (lambda: fusion.PixelShuffleProjector(D1, D, 2), (4 * D1 + 1) * D),
}
LINEAR = ("concat", "weighted")


def batch(n=6, seed=0):
    """Pooled features of both modalities."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(n, dim, generator=generator).double() for dim in (D1, D2))


def randomised(module: nn.Module) -> nn.Module:
    """The module in float64, every parameter drawn at random: none rests at a special value."""
    module = module.double()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module


@pytest.mark.parametrize("name", POOLED | TOKENS)
def test_the_parameters_are_as_many_as_the_formula_says(name):
    build, expected = (POOLED | TOKENS)[name]
    assert sum(p.numel() for p in build().parameters()) == expected


@pytest.mark.parametrize("name", POOLED)
def test_every_parameter_and_both_modalities_receive_a_gradient(name):
    module, (image, text) = randomised(POOLED[name][0]()), batch()
    image.requires_grad_(), text.requires_grad_()
    module(image, text).square().sum().backward()
    for parameter in [*module.parameters(), image, text]:
        assert parameter.grad is not None and parameter.grad.abs().max() > 0


@pytest.mark.parametrize("name", POOLED)
def test_gradients_equal_finite_differences(name):
    module, inputs = randomised(POOLED[name][0]()), batch(2)
    assert torch.autograd.gradcheck(module, tuple(x.requires_grad_() for x in inputs))


@pytest.mark.parametrize("name", POOLED)
def test_rows_do_not_touch_each_other_and_a_batch_may_be_one(name):
    module, (image, text) = randomised(POOLED[name][0]()), batch()
    whole = module(image, text)
    assert whole.shape == (6, D1 if name == "film" else D)
    torch.testing.assert_close(whole[2:3], module(image[2:3], text[2:3]))


@pytest.mark.parametrize("name", POOLED)
def test_only_multiplicative_operators_let_one_modality_change_what_the_other_means(name):
    module, (image, text) = randomised(POOLED[name][0]()), batch()
    other_image, other_text = batch(seed=1)
    mixed = (
        module(image, text) - module(other_image, text) - module(image, other_text) + module(other_image, other_text)
    )
    assert (mixed.abs().max() < 1e-12) == (name in LINEAR)


def test_low_rank_fusion_equals_tensor_fusion_with_cp_weights():
    low, full = randomised(fusion.LowRankFusion(D1, D2, D, R)), fusion.TensorFusion(D1, D2, D).double()
    weights = torch.einsum("rid,rjd->dij", low.image_factor, low.text_factor)
    full.mix.weight = nn.Parameter(weights.flatten(1))
    torch.testing.assert_close(low(*batch()), full(*batch()))


def test_the_hypernetwork_is_the_same_family_as_tensor_fusion():
    hyper, full = randomised(fusion.HyperFusion(D1, D2, D)), fusion.TensorFusion(D1, D2, D).double()
    weights = torch.empty(D, D1 + 1, D2 + 1).double()
    weights[:, 1:, 1:] = hyper.weight.weight.view(D, D1, D2)
    weights[:, 1:, 0] = hyper.weight.bias.view(D, D1)
    weights[:, 0, 1:], weights[:, 0, 0] = hyper.bias.weight, hyper.bias.bias
    full.mix.weight = nn.Parameter(weights.flatten(1))
    torch.testing.assert_close(hyper(*batch()), full(*batch()))


@pytest.mark.parametrize("name", ["low rank", "hyper"])
def test_what_comes_out_at_the_start_is_of_the_size_of_what_goes_in(name):
    build = {
        "low rank": lambda: fusion.LowRankFusion(200, 150, 64, 8),
        "hyper": lambda: fusion.HyperFusion(200, 150, 64),
    }
    fused = build[name]()(torch.randn(500, 200), torch.randn(500, 150))
    assert 0.5 < fused.std().item() < 2


def test_the_weighted_mean_starts_in_the_middle_and_its_weight_is_the_images():
    module, (image, text) = fusion.WeightedFusion(D1, D2, D).double(), batch()
    a, b = module.of_image(image), module.of_text(text)
    torch.testing.assert_close(module(image, text), (a + b) / 2)
    nn.init.constant_(module.score, 30.0)
    torch.testing.assert_close(module(image, text), a)


def test_the_gate_chooses_between_image_and_text():
    module, (image, text) = randomised(fusion.GatedFusion(D1, D2, D)), batch()
    for bias, expected in ((1e3, module.of_image(image).tanh()), (-1e3, module.of_text(text).tanh())):
        nn.init.constant_(module.gate.bias, bias)
        torch.testing.assert_close(module(image, text), expected)


def test_film_starts_as_the_identity_and_modulates_every_position_alike():
    module, (image, text) = fusion.FiLM(D1, D2).double(), batch()
    assert torch.equal(module(image, text), image)
    module = randomised(module)
    gain, shift = module.modulation(text).chunk(2, dim=1)
    torch.testing.assert_close(module(image, text), (1 + gain) * image + shift)
    positions = torch.stack([image, 2 * image], dim=1)
    torch.testing.assert_close(module(positions, text)[:, 1], module(2 * image, text))


@pytest.fixture
def states():
    """Queries (3, 4, 8), a context (3, 6, 3), and a mask that pads the end of the second."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(3, 4, 8, generator=generator).double()
    context = torch.randn(3, 6, D2, generator=generator).double()
    padding = torch.zeros(3, 6, dtype=torch.bool)
    padding[1, 4:] = True
    return hidden, context, padding


def test_cross_attention_equals_torchs_multihead_attention(states):
    hidden, context, padding = states
    ours = randomised(fusion.CrossAttention(8, D2, 2))
    theirs = nn.MultiheadAttention(8, 2, kdim=D2, vdim=D2, batch_first=True).double()
    theirs.q_proj_weight, theirs.k_proj_weight, theirs.v_proj_weight = (
        ours.query.weight, ours.key.weight, ours.value.weight,
    )  # fmt: skip
    theirs.in_proj_bias = nn.Parameter(torch.cat([ours.query.bias, ours.key.bias, ours.value.bias]))
    theirs.out_proj = ours.out
    expected, weights = theirs(hidden, context, context, key_padding_mask=padding)
    torch.testing.assert_close(ours(hidden, context, padding), expected)
    torch.testing.assert_close(ours.weights(hidden, context, padding), weights)
    torch.testing.assert_close(ours(hidden, context), theirs(hidden, context, context)[0])
    torch.testing.assert_close(ours.weights(hidden, context), theirs(hidden, context, context)[1])


def test_what_is_padded_is_not_read(states):
    hidden, context, padding = states
    spoilt = context.masked_fill(padding[..., None], 1e3)
    attention, resampler = randomised(fusion.CrossAttention(8, D2, 2)), randomised(fusion.Resampler(2, 8, D2, 2))
    torch.testing.assert_close(attention(hidden, spoilt, padding), attention(hidden, context, padding))
    torch.testing.assert_close(resampler(spoilt, padding), resampler(context, padding))
    assert not torch.allclose(resampler(spoilt), resampler(context))


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="heads is 3; expected a divisor of dim, 8"):
        fusion.CrossAttention(8, 3, 3)


def test_a_resampler_reads_any_number_of_positions_in_any_order(states):
    _, context, _ = states
    resampler = randomised(fusion.Resampler(2, 8, D2, 2))
    assert resampler(context).shape == resampler(context[:, :1]).shape == (3, 2, 8)
    torch.testing.assert_close(resampler(context), resampler(context.flip(1)))


@pytest.fixture
def streams():
    """Tokens of two modalities, and a mask that pads the end of the second text."""
    generator = torch.Generator().manual_seed(0)
    image, text = (torch.randn(3, n, 8, generator=generator).double() for n in (5, 4))
    padding = torch.zeros(3, 4, dtype=torch.bool)
    padding[1, 2:] = True
    return image, text, padding


@pytest.mark.parametrize(("layers", "reads"), [(1, False), (2, True)])
def test_streams_meet_in_the_bottleneck_only_and_so_need_a_second_layer(layers, reads, streams):
    image, text, _ = streams
    module = fusion.BottleneckFusion(8, tokens=2, layers=layers, heads=2).double()
    seen, other = module(image, text), module(image, text.flip(-1))
    assert (not torch.allclose(seen[0], other[0])) == reads
    assert not torch.allclose(seen[2], other[2])
    assert [x.shape for x in seen] == [(3, 5, 8), (3, 4, 8), (3, 2, 8)]


def test_the_bottleneck_reads_no_padding_and_passes_gradients_everywhere(streams):
    image, text, padding = streams
    module = fusion.BottleneckFusion(8, tokens=2, layers=2, heads=2).double()
    spoilt = module(image, text.masked_fill(padding[..., None], 9.0), text_padding=padding)
    seen = module(image, text, text_padding=padding)
    torch.testing.assert_close(spoilt[0], seen[0])
    torch.testing.assert_close(spoilt[2], seen[2])
    sum(x.square().sum() for x in seen).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in module.parameters())


def test_both_streams_write_into_the_bottleneck_alike(streams):
    image, text, _ = streams
    module = fusion.BottleneckFusion(8, tokens=2, layers=1, heads=2).double()
    expected = [
        layer(torch.cat([stream, module.tokens.expand(3, -1, -1)], dim=1))[:, -2:]
        for layer, stream in zip(module.layers[0], (image, text), strict=True)
    ]
    torch.testing.assert_close(module(image, text)[2], sum(expected) / 2)


def test_pixel_shuffle_can_be_undone_and_is_torchs():
    module = fusion.PixelShuffleProjector(D1, D, 2)
    image = torch.randn(2, 36, D1)
    shuffled = module.shuffle(image)
    assert shuffled.shape == (2, 9, 4 * D1)
    back = shuffled.view(2, 3, 3, 2, 2, D1).transpose(2, 3).reshape(2, 36, D1)
    assert torch.equal(back, image)
    grid = F.pixel_unshuffle(image.view(2, 6, 6, D1).permute(0, 3, 1, 2), 2)  # channels first, then the square
    theirs = grid.unflatten(1, (D1, 4)).transpose(1, 2).flatten(1, 2).permute(0, 2, 3, 1).flatten(1, 2)
    assert torch.equal(shuffled, theirs)
    torch.testing.assert_close(module(image), module.project(shuffled))


@pytest.mark.parametrize("n", [9, 8])
def test_positions_that_form_no_grid_of_squares_are_refused(n):
    with pytest.raises(ValueError, match="K the square of a multiple of 2"):
        fusion.PixelShuffleProjector(D1, D, 2)(torch.zeros(1, n, D1))
