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


def test_the_rotation_is_the_one_that_was_planted_and_scipys():
    from scipy.linalg import orthogonal_procrustes

    x = torch.randn(20, 4).double()
    planted = torch.linalg.qr(torch.randn(4, 4).double()).Q
    torch.testing.assert_close(alignment.procrustes(x, x @ planted), planted)
    noisy = x @ planted + 0.3 * torch.randn(20, 4).double()
    found = alignment.procrustes(x, noisy)
    torch.testing.assert_close(found.numpy(), orthogonal_procrustes(x.numpy(), noisy.numpy())[0])
    torch.testing.assert_close(found @ found.T, torch.eye(4).double())


def test_sets_of_different_shape_have_no_rotation():
    with pytest.raises(ValueError, match="expected one shape"):
        alignment.procrustes(torch.zeros(4, 3), torch.zeros(4, 2))


@pytest.fixture(scope="module")
def two_views() -> tuple[torch.Tensor, torch.Tensor]:
    """Views of four and three columns, not centred, with planted correlations of 0.95, 0.5 and 0.1."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20_000, 4, generator=generator).double()
    noise = torch.randn(20_000, 3, generator=generator).double()
    planted = torch.tensor([0.95, 0.5, 0.1]).double()
    y = planted * x[:, :3] + (1 - planted**2).sqrt() * noise
    return x @ torch.randn(4, 4, generator=generator).double() + 7, y @ torch.randn(3, 3, generator=generator).double()


def test_planted_correlations_are_found_along_the_directions_that_are_returned(two_views):
    x, y = two_views
    a, b, correlations = alignment.cca(x, y, 3)
    torch.testing.assert_close(correlations, torch.tensor([0.95, 0.5, 0.1]).double(), atol=0.02, rtol=0)
    ours, theirs = (x - x.mean(dim=0)) @ a, (y - y.mean(dim=0)) @ b
    joint = torch.cov(torch.cat([ours, theirs], dim=1).T)
    torch.testing.assert_close(joint[:3, :3], torch.eye(3).double())
    torch.testing.assert_close(joint[3:, 3:], torch.eye(3).double())
    torch.testing.assert_close(joint[:3, 3:], torch.diag(correlations))


def test_correlations_equal_the_cosines_between_the_column_spaces(two_views):
    x, y = two_views
    q, r = (torch.linalg.qr(view - view.mean(dim=0)).Q for view in (x, y))
    torch.testing.assert_close(alignment.cca(x, y, 2)[2], torch.linalg.svdvals(q.T @ r)[:2])


def test_a_ridge_pulls_the_correlations_towards_zero(two_views):
    plain, ridged = (alignment.cca(*two_views, 3, ridge=ridge)[2] for ridge in (0.0, 1.0))
    assert (ridged < plain).all()
    loss = alignment.deep_cca_loss(*two_views, ridge=1.0)
    torch.testing.assert_close(loss, -ridged.sum())


@pytest.mark.parametrize("k", [0, 4])
def test_more_directions_than_the_smaller_view_has_are_refused(k, two_views):
    with pytest.raises(ValueError, match=f"k is {k}; expected 1 to 3"):
        alignment.cca(*two_views, k)


def test_a_constant_column_needs_a_ridge():
    x, y = torch.randn(10, 2).double(), torch.randn(10, 2).double()
    x[:, 1] = 3
    with pytest.raises(ValueError, match=r"variance of the first view .* is singular: give a ridge"):
        alignment.cca(x, y, 1)
    assert alignment.cca(x, y, 1, ridge=1e-3)[2].isfinite().all()
