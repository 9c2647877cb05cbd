"""What only a mutant brought to light (make mutants): each test here fails on a fault that all others let pass."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmcook import alignment, hub, text, training, vision
from mmcook.pretraining import IGNORED
from mmcook.text import TextEncoder

CPU = torch.device("cpu")

BUSY_COLUMN = torch.tensor([[0.0, 3.0, 2.0], [0.0, 0.0, 0.0], [0.0, 9.0, 0.0]])  # text 1 is near to all images


def share_drawn(scores: torch.Tensor, side: int) -> float:
    """How often partner 1 is drawn for item 0; side 0 draws texts for images, side 1 images for texts."""
    generator = torch.Generator().manual_seed(0)
    draws = [alignment.sample_hard_negatives(scores, generator=generator)[side][0] == 1 for _ in range(3000)]
    return torch.stack(draws).float().mean().item()


@pytest.mark.parametrize("side", [0, 1])
def test_a_hard_negative_competes_with_the_partners_of_its_own_item_and_not_with_those_of_others(side):
    scores = BUSY_COLUMN if side == 0 else BUSY_COLUMN.T
    # softmax over the partners of item 0: e³ to e²; over the items that share a partner it would be 0.003
    assert share_drawn(scores, side) == pytest.approx(torch.tensor(1.0).sigmoid().item(), abs=0.03)


def test_the_backward_pass_of_gather_leaves_the_gradient_that_it_is_given(monkeypatch):
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda total: total.mul_(2))  # as if two ranks were equal
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    gradient = torch.arange(8.0).view(4, 2)  # autograd may hand the same tensor to another branch
    share = training._Gather.backward(None, gradient)
    assert share.tolist() == [[8, 10], [12, 14]]
    assert torch.equal(gradient, torch.arange(8.0).view(4, 2))


def test_a_batch_whose_loss_names_no_targets_weighs_as_one_beside_those_that_name_them():
    def loss(model, k):
        value = 0 * model.weight.sum() + 2.0 + k
        return value if k == 0 else (value, 1)

    found = training.fit(nn.Linear(1, 1), lambda k: k, loss, steps=1, lr=0.1, device=CPU, accumulate=2)
    assert found == [2.5]  # 2.33 if the first counted twice


def test_what_is_no_picture_is_refused_before_any_weights_are_fetched(monkeypatch):
    monkeypatch.setattr(hub, "cached", None)
    with pytest.raises(ValueError, match="expected uint8"):
        vision.frozen_features(torch.zeros(2, 3, 8, 8), device=CPU)


@pytest.mark.parametrize("tall", [True, False])
def test_a_narrow_drawing_is_centred_on_its_square_in_both_directions(tall):
    image = torch.full((1, 3, 40, 40), 255, dtype=torch.uint8)
    image[..., 3:35, 5:13] = 0  # 32 by 8, in a corner
    cropped = vision.crop_to_drawing(image if tall else image.mT)[0, 0].float()
    assert (cropped < 128).float().mean().item() == pytest.approx(8 / 32, abs=0.03)  # nothing is cut off
    torch.testing.assert_close(cropped, cropped.flip(0), atol=2, rtol=0)
    torch.testing.assert_close(cropped, cropped.flip(1), atol=2, rtol=0)


def test_fresh_features_carry_no_graph(no_features):
    picture = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    assert not vision.frozen_features(picture, device=CPU, size=32).requires_grad
    assert not text.frozen_features(["cat"], device=CPU).requires_grad


@pytest.mark.parametrize("length", [1, 4])
def test_an_embedding_is_the_projected_mean_of_the_states_even_of_a_single_token(length):
    torch.manual_seed(0)
    encoder = TextEncoder(20, 8, width=16, length=6).eval()
    tokens = torch.randint(1, 20, (3, length))
    states = encoder.layers(encoder.tokens(tokens) + encoder.positions[:length])
    torch.testing.assert_close(encoder(tokens), encoder.project(states.mean(dim=1)))


@pytest.mark.parametrize("turned", [False, True])
def test_one_item_without_a_wrong_partner_is_refused_on_either_side(turned):
    same = torch.zeros(3, 3, dtype=torch.bool)
    same[0] = True  # every text matches image 0, yet each text has wrong images left
    with pytest.raises(ValueError, match="without a wrong partner"):
        alignment.sample_hard_negatives(torch.zeros(3, 3), same.T if turned else same)


def test_the_warm_up_takes_a_whole_number_of_steps():
    def losses(warmup):
        torch.manual_seed(0)
        square = lambda model, x: model(x).square().mean()  # noqa: E731
        return training.fit(
            nn.Linear(3, 2), lambda k: torch.ones(1, 3), square, steps=8, lr=0.1, device=CPU, warmup=warmup
        )

    assert losses(0.3) == losses(0.25) != losses(0.5)  # 2.4 steps are 2


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_model_computes_in_the_precision_that_is_asked_for(precision):
    seen = []

    def loss(model, x):
        out = model(x)
        seen.append(out.dtype)
        return out.float().square().mean()

    options = {"steps": 1, "lr": 0.1, "device": CPU, "precision": precision}
    training.fit(nn.Linear(3, 2), lambda k: torch.ones(1, 3), loss, **options)
    assert seen == [precision]


def test_an_image_encoder_of_the_default_width_embeds_pictures():
    assert vision.ImageEncoder(4)(torch.randn(1, 3, 32, 32)).shape == (1, 4)


def test_fifteen_in_a_hundred_tokens_are_chosen_unless_another_rate_is_asked_for():
    tokens = torch.randint(1, 40, (200, 500), generator=torch.Generator().manual_seed(0))
    draws = torch.Generator().manual_seed(1)
    targets = text.mask_tokens(tokens, mask_id=0, n_tokens=40, special_ids=[0], generator=draws)[1]
    assert (targets != IGNORED).float().mean().item() == pytest.approx(0.15, abs=0.005)


def test_a_text_encoder_starts_with_small_positions_and_drops_a_tenth():
    torch.manual_seed(0)
    encoder = TextEncoder(50, 8)
    assert encoder.positions.std().item() == pytest.approx(0.02, rel=0.1)
    assert {module.p for module in encoder.modules() if isinstance(module, nn.Dropout)} == {0.1}


def test_a_stage_of_an_image_encoder_sees_three_by_three_pixels():
    kernels = {m.kernel_size for m in vision.ImageEncoder(8).modules() if isinstance(m, nn.Conv2d)}
    assert kernels == {(3, 3)}


def test_a_patch_may_be_a_single_pixel():
    images = torch.arange(2 * 3 * 2 * 2).view(2, 3, 2, 2)
    assert torch.equal(vision.patchify(images, 1), images.flatten(2).mT)


def test_counts_of_words_are_floating_point_and_a_codebook_may_hold_one_word():
    image = torch.full((1, 3, 96, 96), 255, dtype=torch.uint8)
    image[..., 30:60, 20:70] = 0
    counts, codebook = vision.sift_words(image, 1, enlarge=2)
    assert counts.dtype == torch.float32
    assert codebook.shape == (1, 128)
