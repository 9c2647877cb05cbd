"""Keypoints become words, and boxes on a feature map become features."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import roi_align

from mmcook import datasets, vision


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    """Four stamps with much to see."""
    stamps = datasets.stamps()
    rows = [i for i, name in enumerate(stamps.names) if name.startswith("animals/mammals")]
    return stamps.images[rows[:4]]


BLANK = torch.full((1, 3, 96, 96), 255, dtype=torch.uint8)


def test_sift_gives_places_inside_the_picture_and_descriptors_of_length_one(pictures):
    for places, descriptors in vision.sift(pictures, enlarge=2):
        assert len(places) == len(descriptors) > 10
        assert descriptors.shape[1] == 128
        assert places.min() >= 0
        assert places.max() < 96
        torch.testing.assert_close(descriptors.norm(dim=1), torch.ones(len(descriptors)))


def test_enlarging_and_a_lower_contrast_give_more_keypoints(pictures):
    counts = [
        sum(len(places) for places, _ in vision.sift(pictures, **options))
        for options in ({}, {"enlarge": 2}, {"contrast": 0.01})
    ]
    assert counts[0] < min(counts[1:])


def test_enlarging_leaves_the_places_where_they_are(pictures):
    one, two = (vision.sift(pictures[:1], enlarge=k)[0][0] for k in (1, 2))
    assert torch.cdist(one, two).min(dim=1).values.median() < 1


def test_a_blank_picture_has_no_keypoint():
    ((places, descriptors),) = vision.sift(BLANK)
    assert places.shape == (0, 2)
    assert descriptors.shape == (0, 128)


def test_sift_refuses_what_it_cannot_read():
    with pytest.raises(ValueError, match="expected uint8"):
        vision.sift(BLANK.float())
    with pytest.raises(ValueError, match="enlarge is 0"):
        vision.sift(BLANK, enlarge=0)


def test_words_count_every_keypoint_once(pictures):
    counts, codebook = vision.sift_words(pictures, 20)
    keypoints = torch.tensor([float(len(places)) for places, _ in vision.sift(pictures)])
    assert (counts.shape, codebook.shape) == ((4, 20), (20, 128))
    assert torch.equal(counts.sum(dim=1), keypoints)


def test_words_of_other_pictures_are_counted_in_the_same_codebook(pictures):
    counts, codebook = vision.sift_words(pictures, 20)
    again, same = vision.sift_words(torch.cat([pictures[2:], BLANK]), codebook)
    assert same is codebook
    assert torch.equal(again, torch.cat([counts[2:], torch.zeros(1, 20)]))


def test_one_seed_gives_one_codebook(pictures):
    first, second = (vision.sift_words(pictures, 20, seed=1)[1] for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, vision.sift_words(pictures, 20, seed=2)[1])


def test_more_words_than_keypoints_are_refused():
    with pytest.raises(ValueError, match="5 words from 0 descriptors"):
        vision.sift_words(BLANK, 5)
    with pytest.raises(ValueError, match="0 words from 3 descriptors"):
        vision.learn_words(torch.randn(3, 128), 0)


def test_the_words_of_clear_clusters_are_their_centres():
    generator = torch.Generator().manual_seed(0)
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    points = centres.repeat(50, 1) + 0.1 * torch.randn(150, 2, generator=generator)
    words = vision.learn_words(points, 3)
    assert torch.cdist(centres, words).min(dim=1).values.max() < 0.1


def test_the_nearest_word_is_the_one_at_the_least_distance():
    generator = torch.Generator().manual_seed(0)
    points, words = torch.randn(40, 7, generator=generator), 3 * torch.randn(9, 7, generator=generator)
    assert torch.equal(vision.nearest_words(points, words), torch.cdist(points, words).argmin(dim=1))
    assert vision.nearest_words(points[:0], words).shape == (0,)


def test_a_region_of_a_ramp_holds_the_place_of_its_centre():
    """Entry j of the map stands at pixel 8 j + 4; a linear map is read at the middle of the box."""
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    boxes = [torch.tensor([[12.0, 20.0, 28.0, 36.0], [19.0, 20.0, 22.0, 28.0]])]
    found = vision.region_features(ramp, boxes, stride=8)
    torch.testing.assert_close(found.flatten(), torch.tensor([2.0, 2.0625]))


def test_cells_of_a_region_lie_in_reading_order():
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    cells = vision.region_features(ramp, [torch.tensor([[8.0, 8.0, 40.0, 40.0]])], stride=8, cells=2)
    torch.testing.assert_close(cells[0, 0], torch.tensor([[1.5, 3.5], [1.5, 3.5]]))


def test_regions_of_several_pictures_equal_torchvisions():
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 5, 6, 9, generator=generator)
    boxes = [torch.tensor([[3.0, 5, 40, 30]]), torch.tensor([[10.0, 1, 70, 44], [0, 0, 72, 48]])]
    rows = torch.cat([torch.cat([torch.full((len(b), 1), float(i)), b], dim=1) for i, b in enumerate(boxes)])
    expected = roi_align(maps, rows, (3, 3), 1 / 8, 2, True)
    assert torch.equal(vision.region_features(maps, boxes, stride=8, cells=3), expected)


def test_bad_boxes_are_refused():
    maps = torch.zeros(2, 3, 4, 4)
    box = torch.tensor([[0.0, 0.0, 4.0, 4.0]])
    with pytest.raises(ValueError, match="expected"):
        vision.region_features(maps, [box], stride=8)
    with pytest.raises(ValueError, match="expected"):
        vision.region_features(maps[0], [box, box], stride=8)
    with pytest.raises(ValueError, match="expected"):
        vision.region_features(maps, [box, box[0]], stride=8)
    with pytest.raises(ValueError, match="no extent"):
        vision.region_features(maps, [box, box.flip(1)], stride=8)
    with pytest.raises(ValueError, match="no extent"):
        vision.region_features(maps, [box, torch.tensor([[0.0, 3.0, 4.0, 3.0]])], stride=8)
