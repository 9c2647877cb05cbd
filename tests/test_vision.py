"""Pictures become features that mean something, and embeddings that can be trained."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from mmcook import datasets, hub, vision
from mmcook.course import fast_precision
from mmcook.vision import ImageEncoder, prepare

CPU = torch.device("cpu")
CLASSES = {"violin": 889, "teapot": 849, "hammer": 587, "umbrella": 879}  # of ImageNet


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """Pictures of the emoji that bear the name of a class of ImageNet."""
    emoji = datasets.emoji(("noto",))
    return emoji.images["noto"][[emoji.names["en"].index(name) for name in CLASSES]]


@pytest.fixture(scope="module")
def features(images, tmp_path_factory) -> torch.Tensor:
    """Features of the pictures, freshly computed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMCOOK_FEATURES", str(tmp_path_factory.mktemp("features")))
        return vision.frozen_features(images, device=CPU)


def test_features_are_rows_of_1280_numbers_on_the_cpu(features):
    assert (features.shape, features.dtype) == ((len(CLASSES), 1280), torch.float32)
    assert features.isfinite().all()


def test_the_pretrained_network_knows_what_pictures_show(images):
    from transformers import AutoModelForImageClassification

    network = AutoModelForImageClassification.from_pretrained(hub.pretrained("efficientnet-lite0")).eval()
    with torch.no_grad():
        top = network(prepare(images, 224)).logits.topk(5).indices
    assert all(number in row for number, row in zip(CLASSES.values(), top.tolist(), strict=True))


def test_features_are_computed_once_and_come_back_to_the_bit(images, no_features, monkeypatch):
    first = vision.frozen_features(images, device=CPU, size=64)
    monkeypatch.setattr(vision, "_encode", None)
    assert torch.equal(vision.frozen_features(images, device=CPU, size=64), first)


def test_the_batch_size_does_not_change_features(images, features, no_features):
    single = vision.frozen_features(images[:2], device=CPU, batch=1)
    torch.testing.assert_close(single, features[:2], atol=1e-4, rtol=1e-4)


def test_the_size_changes_features(images, features, no_features):
    assert not torch.allclose(vision.frozen_features(images[:1], device=CPU, size=64), features[:1], atol=0.01)


@pytest.mark.skipif(fast_precision(CPU) != torch.bfloat16, reason="this processor only emulates bfloat16, slowly")
def test_features_in_bfloat16_stay_near_those_in_float32(images, features, no_features):
    fast = vision.frozen_features(images, device=CPU, precision=torch.bfloat16)
    assert fast.dtype == torch.float32
    assert not torch.equal(fast, features)
    assert torch.cosine_similarity(fast, features).min() > 0.98


def test_fresh_features_can_be_trained_on(images, no_features):
    torch.nn.Linear(1280, 1)(vision.frozen_features(images[:1], device=CPU, size=64)).sum().backward()


def test_the_copy_of_the_hub_gives_the_features_of_the_wheel(images, tmp_path, monkeypatch):
    """The hub's file names its tensors as timm does and has a larger configuration."""
    wheel = hub.pretrained("efficientnet-lite0")
    state = {name.removeprefix("timm_model."): t for name, t in load_file(wheel / "model.safetensors").items()}
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    pretrained = {"input_size": [3, 224, 224], "mean": [0.5] * 3, "std": [0.5] * 3, "classifier": "classifier"}
    config = {"architecture": "tf_efficientnet_lite0", "num_classes": 1000, "num_features": 1280}
    (tmp_path / "config.json").write_text(json.dumps(config | {"pretrained_cfg": pretrained}))
    found = []
    for folder in (tmp_path, wheel):
        monkeypatch.setattr(hub, "pretrained", lambda name, folder=folder: folder)
        monkeypatch.setenv("MMCOOK_FEATURES", str(tmp_path / f"features {len(found)}"))
        found.append(vision.frozen_features(images[:1], device=CPU, size=64))
    assert torch.equal(*found)


def test_cells_are_the_means_of_inner_blocks_over_a_grid(images, no_features):
    from transformers import AutoModel

    cells = vision.frozen_layers(images[:2], (10, 2), device=CPU)
    network, seen = AutoModel.from_pretrained(hub.pretrained("efficientnet-lite0")).eval(), {}
    for number, block in enumerate(block for stage in network.timm_model.blocks for block in stage):
        block.register_forward_hook(lambda block, x, out, number=number: seen.update({number: out}))
    with torch.no_grad():
        network(prepare(images[:2], 128))
    head = cells.pop("head")  # kept in half precision
    torch.testing.assert_close(head, vision.frozen_features(images[:2], device=CPU), atol=1e-2, rtol=1e-2)
    assert list(cells) == [2, 10]
    for number, found in cells.items():
        assert (found.shape, found.dtype) == ((2, vision.BLOCK_WIDTHS[number], 4, 4), torch.float32)
        side = seen[number].shape[-1] // 4
        corner = seen[number][..., :side, :side].mean(dim=(2, 3))  # kept in half precision
        torch.testing.assert_close(found[..., 0, 0], corner, atol=1e-2, rtol=1e-2)
        torch.testing.assert_close(found.mean(dim=(2, 3)), seen[number].mean(dim=(2, 3)), atol=1e-2, rtol=1e-2)


def test_the_widths_of_the_blocks_are_the_networks(images, no_features):
    cells = vision.frozen_layers(images[:1], tuple(vision.BLOCK_WIDTHS), device=CPU)
    assert cells.pop("head").shape[1] == vision.HEAD_WIDTH
    assert {number: found.shape[1] for number, found in cells.items()} == vision.BLOCK_WIDTHS
    assert sum(found.std() > 0 for found in cells.values()) == len(cells)


@pytest.mark.parametrize("blocks", [(), (3,), (2, 16)])
def test_cells_of_unknown_blocks_are_refused(blocks, images):
    with pytest.raises(ValueError, match="expected some of 2, 4, 7, 10, 12, 14"):
        vision.frozen_layers(images, blocks, device=CPU)


def drawing(top: int, left: int, height: int, width: int) -> torch.Tensor:
    """A black rectangle on white."""
    image = torch.full((3, 32, 32), 255, dtype=torch.uint8)
    image[:, top : top + height, left : left + width] = 0
    return image


def test_a_cropped_drawing_fills_its_square_wherever_it_stood():
    cropped = vision.crop_to_drawing(torch.stack([drawing(3, 5, 8, 8), drawing(20, 1, 8, 8)]))
    assert (cropped.shape, cropped.dtype) == ((2, 3, 32, 32), torch.uint8)
    assert cropped.max() == 0


def test_a_drawing_that_is_not_square_is_centred_and_keeps_its_proportions():
    (cropped,) = vision.crop_to_drawing(drawing(2, 7, 4, 16)[None])
    rows, columns = (cropped[0] < 128).any(dim=1), (cropped[0] < 128).any(dim=0)
    assert columns.all()
    assert rows.nonzero().flatten().tolist() == list(range(12, 20))  # 8 of 32 rows, a quarter, in the middle


def test_an_empty_picture_stays_as_it_is():
    empty = torch.full((1, 3, 32, 32), 250, dtype=torch.uint8)
    assert torch.equal(vision.crop_to_drawing(empty), empty)


def test_only_squares_are_cropped():
    with pytest.raises(ValueError, match="images are 8 by 9; expected squares"):
        vision.crop_to_drawing(torch.zeros(1, 3, 8, 9).byte())


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(2, 3, 8, 8),
        torch.zeros(3, 8, 8).byte(),
        torch.zeros(2, 1, 8, 8).byte(),
        torch.zeros(2, 8, 8, 3).byte(),
    ],
    ids=lambda images: f"{images.dtype} {tuple(images.shape)}",
)
@pytest.mark.parametrize("function", [lambda x: vision.frozen_features(x, device=CPU), lambda x: prepare(x, 8)])
def test_what_is_no_batch_of_uint8_pictures_is_refused(function, images):
    with pytest.raises(ValueError, match=r"expected uint8 \(N, 3, H, W\)"):
        function(images)


@pytest.mark.parametrize("size", [32, 64, 100])
def test_prepared_pictures_span_minus_one_to_one(size):
    black_and_white = torch.stack([torch.zeros(3, 64, 64), torch.full((3, 64, 64), 255)]).byte()
    prepared = prepare(black_and_white, size)
    assert prepared.shape == (2, 3, size, size)
    torch.testing.assert_close(prepared[0], torch.full((3, size, size), -1.0))
    torch.testing.assert_close(prepared[1], torch.full((3, size, size), 1.0))
    noise = prepare(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8), size)
    assert -1 <= noise.min() < noise.max() <= 1


@pytest.fixture
def encoder() -> ImageEncoder:
    """A small encoder."""
    torch.manual_seed(0)
    return ImageEncoder(10, width=8)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("side", [32, 64])
def test_an_encoder_embeds_pictures_of_any_side_in_a_batch_of_any_size(batch, side, encoder):
    assert encoder(torch.randn(batch, 3, side, side)).shape == (batch, 10)


def test_an_embedding_does_not_depend_on_the_rest_of_the_batch(encoder):
    images = torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(encoder(images)[:1], encoder(images[:1]))


def test_every_parameter_of_an_image_encoder_receives_a_gradient(encoder):
    encoder(torch.randn(2, 3, 32, 32)).square().sum().backward()
    assert [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_the_stages_of_an_image_encoder_halve_the_side_and_double_the_width(encoder):
    state, shapes = torch.randn(1, 3, 64, 64), []
    for stage in encoder.stages:
        state = stage(state)
        shapes.append(tuple(state.shape[1:]))
    assert shapes == [(8, 32, 32), (16, 16, 16), (32, 8, 8), (64, 4, 4)]


def test_a_saved_image_encoder_comes_back_equal(encoder, tmp_path):
    encoder.save_pretrained(tmp_path)
    again = ImageEncoder.from_pretrained(tmp_path)
    image = torch.randn(2, 3, 32, 32)
    assert torch.equal(again(image), encoder(image))
    assert {path.suffix for path in tmp_path.iterdir()} <= {".safetensors", ".json", ".md"}


def test_patches_are_the_squares_row_by_row_with_the_colours_of_a_pixel_together():
    images = torch.arange(2 * 3 * 4 * 6).view(2, 3, 4, 6)
    patches = vision.patchify(images, 2)
    assert patches.shape == (2, 6, 12)
    assert torch.equal(patches[1, 4].view(2, 2, 3), images[1, :, 2:4, 2:4].permute(1, 2, 0))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64])
def test_unpatchify_undoes_patchify(dtype):
    images = (torch.rand(3, 3, 12, 12) * 255).to(dtype)
    assert torch.equal(vision.unpatchify(vision.patchify(images, 4), 4), images)
    assert vision.patchify(images[:1], 12).shape == (1, 1, 432)


@pytest.mark.parametrize(
    ("shape", "size"), [((2, 3, 10, 12), 4), ((2, 3, 12, 10), 4), ((3, 12, 12), 4), ((1, 3, 4, 4), 0)]
)
def test_pictures_that_do_not_divide_into_patches_are_refused(shape, size):
    with pytest.raises(ValueError, match="expected \\(B, 3, H, W\\) with sides of whole"):
        vision.patchify(torch.zeros(shape), size)


@pytest.mark.parametrize("shape", [(2, 8, 48), (2, 9, 47), (9, 48)])
def test_what_is_no_square_picture_in_patches_is_refused(shape):
    with pytest.raises(ValueError, match=r"expected \(B, K, 48\), K a square number"):
        vision.unpatchify(torch.zeros(shape), 4)
