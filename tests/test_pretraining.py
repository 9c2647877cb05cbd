"""The pretraining objectives agree with libraries, and masks hide what they should (the battery proves the rest)."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmcook import pretraining, vision
from mmcook.pretraining import IGNORED


@pytest.fixture(scope="module")
def autoencoder():
    """A tiny ViTMAE of transformers, in float64, for pictures of 16 patches."""
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    config = ViTMAEConfig(image_size=16, patch_size=4, norm_pix_loss=True, mask_ratio=0.7, **small)
    config.update({f"decoder_{k}": v for k, v in small.items()})
    return ViTMAEForPreTraining(config).double().eval()


def test_masked_autoencoding_equals_transformers_from_patches_to_loss(autoencoder):
    images, noise = torch.rand(3, 3, 16, 16).double(), torch.rand(3, 16).double()
    with torch.no_grad():
        theirs = autoencoder(pixel_values=images, noise=noise)
    hidden = pretraining.random_patch_mask(noise, 0.7)
    assert torch.equal(hidden, theirs.mask.bool())
    ours = pretraining.masked_patch_loss(theirs.logits, vision.patchify(images, 4), hidden)
    torch.testing.assert_close(ours, theirs.loss, rtol=1e-9, atol=0)


def test_masked_language_modelling_equals_transformers():
    from transformers.loss.loss_utils import ForMaskedLMLoss  # computes in float32, whatever comes

    logits, targets = torch.randn(4, 6, 50), torch.randint(50, (4, 6))
    targets[:, ::2] = IGNORED
    ours = pretraining.masked_lm_loss(logits, targets)
    torch.testing.assert_close(ours, ForMaskedLMLoss(logits, targets, 50), rtol=1e-6, atol=0)


def test_nothing_hidden_gives_a_loss_of_zero_where_torch_gives_nan():
    logits, targets = torch.randn(2, 3, 5, requires_grad=True), torch.full((2, 3), IGNORED)
    assert nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten()).isnan()
    pretraining.masked_lm_loss(logits, targets).backward()
    assert torch.equal(logits.grad, torch.zeros(2, 3, 5))


def test_shared_negatives_weigh_as_much_as_a_pairs_own():
    centre, context, drawn = (torch.randn(*shape).double() for shape in ((6, 4), (6, 4), (3, 4)))
    own = pretraining.skip_gram_loss(centre, context, drawn.expand(6, 3, 4), k=3)
    shared = pretraining.skip_gram_loss(centre, context, drawn, k=3)
    repeated = pretraining.skip_gram_loss(centre, context, drawn.repeat(5, 1), k=3)
    torch.testing.assert_close(own, shared)
    torch.testing.assert_close(repeated, shared)


def test_every_picture_hides_the_same_number_of_patches_and_all_are_hidden_equally_often():
    hidden = pretraining.random_patch_mask(torch.rand(4000, 16, generator=torch.Generator().manual_seed(0)), 0.75)
    assert hidden.dtype == torch.bool
    assert (hidden.sum(dim=1) == 12).all()
    assert ((hidden.float().mean(dim=0) - 0.75).abs() < 0.03).all()  # four standard errors


@pytest.mark.parametrize(
    ("n", "ratio", "kept"), [(16, 0, 16), (16, 0.75, 4), (10, 0.9, 1), (10, 0.75, 2), (20, 0.9, 2), (9, 0.5, 4)]
)
def test_the_share_of_patches_that_is_kept_is_rounded_down(n, ratio, kept):
    assert (~pretraining.random_patch_mask(torch.rand(3, n), ratio)).sum(dim=1).tolist() == [kept] * 3


def test_equal_noise_still_hides_the_right_number():
    assert pretraining.random_patch_mask(torch.zeros(2, 8), 0.5).tolist() == [[False] * 4 + [True] * 4] * 2


@pytest.mark.parametrize("ratio", [-0.1, 0.95, 1, 1.5])
def test_a_ratio_that_leaves_nothing_to_see_is_refused(ratio):
    with pytest.raises(ValueError, match=f"ratio is {ratio} of 16 patches; expected 0 or more"):
        pretraining.random_patch_mask(torch.rand(2, 16), ratio)


def test_normalised_patches_have_mean_0_and_unbiased_variance_1():
    patches = torch.rand(2, 3, 48).double() * 255
    normal = pretraining.normalise_patches(patches)
    torch.testing.assert_close(normal.mean(dim=-1), torch.zeros(2, 3).double())
    torch.testing.assert_close(normal.var(dim=-1), torch.ones(2, 3).double(), rtol=1e-6, atol=0)
    assert torch.equal(pretraining.normalise_patches(patches * 0 + 7), patches * 0)
