"""What the proof battery cannot say about alignment: the draw of hard negatives."""

import pytest
import torch

from mmcook import alignment


def test_hard_negatives_are_drawn_in_proportion_to_the_softmax_of_the_scores():
    scores = torch.tensor([[9.0, 1.0, 0.0], [0.0, 9.0, 2.0], [1.0, 0.0, 9.0]])
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([alignment.sample_hard_negatives(scores, generator=generator)[0] for _ in range(4000)])
    weights = scores.softmax(dim=1) + 1e-4
    expected = weights[0, 1] / (weights[0, 1] + weights[0, 2])
    assert (draws[:, 0] == 1).float().mean().item() == pytest.approx(expected.item(), abs=0.03)


def test_texts_draw_their_images_from_the_columns():
    scores = torch.tensor([[0.0, -40.0, 40.0], [40.0, 0.0, -40.0], [-40.0, 40.0, 0.0]])
    texts, images = alignment.sample_hard_negatives(scores, generator=torch.Generator().manual_seed(0))
    assert texts.tolist() == [2, 0, 1]
    assert images.tolist() == [1, 2, 0]


def test_no_negative_is_the_pair_itself_or_an_equal_caption():
    generator = torch.Generator().manual_seed(0)
    scores = torch.eye(4) * 50
    same = torch.zeros(4, 4, dtype=torch.bool)
    same[0, 1] = same[1, 0] = True
    for _ in range(200):
        texts, images = alignment.sample_hard_negatives(scores, same, generator)
        assert (texts != torch.arange(4)).all() and (images != torch.arange(4)).all()
        assert texts[0] != 1 and texts[1] != 0 and images[0] != 1 and images[1] != 0


def test_an_impossible_negative_is_never_needed_even_when_the_softmax_underflows():
    scores = torch.full((2, 2), -1e4).fill_diagonal_(1e4)
    texts, images = alignment.sample_hard_negatives(scores)
    assert texts.tolist() == images.tolist() == [1, 0]


def test_the_draw_passes_no_gradient():
    scores = torch.randn(3, 3, requires_grad=True)
    assert not any(drawn.requires_grad for drawn in alignment.sample_hard_negatives(scores))


@pytest.mark.parametrize("same", [None, torch.ones(3, 3, dtype=torch.bool)])
def test_a_batch_without_wrong_partners_is_refused(same):
    scores = torch.zeros(1, 1) if same is None else torch.zeros(3, 3)
    with pytest.raises(ValueError, match="without a wrong partner"):
        alignment.sample_hard_negatives(scores, same)
