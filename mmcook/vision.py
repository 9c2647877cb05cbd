"""Pictures as tensors: frozen features of a pretrained network, and a small encoder to train."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from mmcook import hub

BLOCK_WIDTHS = {2: 24, 4: 40, 7: 80, 10: 112, 12: 192, 14: 192}  # channels of EfficientNet-Lite0's inner blocks
HEAD_WIDTH = 1280
CELLS = 4  # a side of the grid in which they are read


def frozen_features(
    images: Tensor,
    *,
    device: torch.device,
    precision: torch.dtype = torch.float32,
    size: int = 128,
    batch: int = 128,
) -> Tensor:
    """Features of the pretrained EfficientNet-Lite0, averaged over the picture, computed once and cached.

    Where ``precision`` is bfloat16 the network runs in it, with channels last: three times as fast as plain float32
    on a CPU that has it, and the features stay within a cosine of 0.98.

    Args:
        images: (N, 3, H, W) uint8.
        device: where to compute.
        precision: torch.float32 or torch.bfloat16.
        size: side in pixels to which the pictures are resized.
        batch: pictures at a time.
    Returns: (N, 1280) float32 on the CPU.
    Raises: ValueError when the images are not uint8 pictures.
    Source: Tan and Le 2019 (arXiv 1905.11946); weights see ``hub.CATALOGUE``.
    """
    _check_pictures(images)
    settings = {"layer": "head", "size": size, "precision": str(precision), "device": device.type}

    def compute(folder: Path) -> Tensor:
        return _encode(folder, images, device, precision, size, batch, lambda network, x: network(x).pooler_output)

    return hub.cached("efficientnet-lite0", images, settings, compute)


def frozen_layers(
    images: Tensor,
    blocks: tuple[int, ...],
    *,
    device: torch.device,
    precision: torch.dtype = torch.float32,
    size: int = 128,
    batch: int = 128,
) -> dict[int | str, Tensor]:
    """What inner blocks of the pretrained EfficientNet-Lite0 see in each of 4 × 4 cells of the picture; cached.

    Early blocks see edges and colours, late ones parts and kinds. The mean over the cells is the pooled feature.

    Args:
        images: (N, 3, H, W) uint8.
        blocks: which of the blocks 0 to 15, of those in ``BLOCK_WIDTHS``.
        device, precision, size, batch: as in :func:`frozen_features`; the size more than 96, or cells repeat.
    Returns: by block, (N, C, 4, 4) float32 on the CPU, C of ``BLOCK_WIDTHS``; and under "head" the pooled features
        of :func:`frozen_features`, (N, 1280).
    Raises: ValueError when the images are not uint8 pictures or a block is unknown.
    """
    _check_pictures(images)
    if not blocks or set(blocks) - set(BLOCK_WIDTHS):
        raise ValueError(f"blocks are {blocks}; expected some of {', '.join(map(str, BLOCK_WIDTHS))}")
    blocks = tuple(sorted(blocks))
    settings = {"layers": [*blocks, "head"], "size": size, "precision": str(precision), "device": device.type}

    def read(network: nn.Module, x: Tensor) -> Tensor:
        """Cells of all wanted blocks, then the pooled head, flat and beside each other: (B, 16 ΣC + 1280)."""
        model, seen = network.timm_model, []
        x = model.bn1(model.conv_stem(x))
        for number, block in enumerate(itertools.chain(*model.blocks)):
            x = block(x)
            if number in blocks:
                seen.append(F.adaptive_avg_pool2d(x, CELLS).flatten(1))
        seen.append(model.forward_head(model.bn2(model.conv_head(x)), pre_logits=True))
        return torch.cat(seen, dim=1).half()  # half the space in the cache

    def compute(folder: Path) -> Tensor:
        return _encode(folder, images, device, precision, size, batch, read)

    found = hub.cached("efficientnet-lite0", images, settings, compute).float()
    *cells, head = found.split([*(BLOCK_WIDTHS[block] * CELLS**2 for block in blocks), HEAD_WIDTH], dim=1)
    by_block = {block: flat.unflatten(1, (-1, CELLS, CELLS)) for block, flat in zip(blocks, cells, strict=True)}
    return by_block | {"head": head}


@torch.no_grad()  # not inference_mode: a chapter trains on what comes out
def _encode(
    folder: Path,
    images: Tensor,
    device: torch.device,
    precision: torch.dtype,
    size: int,
    batch: int,
    read: Callable[[nn.Module, Tensor], Tensor],
) -> Tensor:
    """Run the pretrained network over all pictures and keep what ``read`` takes from each batch."""
    from transformers import AutoModel

    network = AutoModel.from_pretrained(folder)
    network = network.eval().to(device, precision, memory_format=torch.channels_last)
    pieces = []
    for piece in images.split(batch):
        prepared = prepare(piece.to(device), size).to(precision, memory_format=torch.channels_last)
        result = read(network, prepared)
        pieces.append((result if result.dtype == torch.half else result.float()).cpu())
    return torch.cat(pieces)


def crop_to_drawing(images: Tensor, *, white: int = 240) -> Tensor:
    """Cut the white margin off each drawing, centre it on a square and bring it back to the size it came in.

    Vendors leave margins of different widths; without them the same thing has the same size.

    Args:
        images: (N, 3, H, H) uint8, drawings on white.
        white: a pixel belongs to the margin when none of its colours is darker than this.
    Returns: (N, 3, H, H) uint8; an empty picture stays as it is.
    Raises: ValueError when the images are not square uint8 pictures.
    """
    _check_pictures(images)
    if images.shape[2] != images.shape[3]:
        raise ValueError(f"images are {images.shape[2]} by {images.shape[3]}; expected squares")
    return torch.stack([_crop(image, white) for image in images])


def _crop(image: Tensor, white: int) -> Tensor:
    """Crop one drawing (3, H, H)."""
    drawn = image.amin(dim=0) < white  # (H, H)
    rows, columns = drawn.any(dim=1).nonzero(), drawn.any(dim=0).nonzero()
    if len(rows) == 0:
        return image
    cut = image[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].float()
    side = max(cut.shape[1:])
    left, top = (side - cut.shape[2]) // 2, (side - cut.shape[1]) // 2
    margins = (left, side - cut.shape[2] - left, top, side - cut.shape[1] - top)
    square = F.pad(cut, margins, value=255.0)
    sized = F.interpolate(square[None], size=image.shape[1:], mode="bilinear", antialias=True, align_corners=False)[0]
    return sized.round().clamp(0, 255).to(torch.uint8)


def prepare(images: Tensor, size: int) -> Tensor:
    """Resize uint8 pictures (B, 3, H, W) to a square and bring them to [-1, 1], as the pretrained network expects."""
    _check_pictures(images)
    resized = F.interpolate(images.float(), size=(size, size), mode="bilinear", antialias=True)
    return resized / 127.5 - 1


def patchify(images: Tensor, size: int) -> Tensor:
    r"""Cut pictures into square patches, row by row; inside a patch the colours of one pixel stand together.

    $$(B, 3, H, W) \to (B, K, 3p^2), \qquad K = \frac{H W}{p^2}$$

    Args:
        images: (B, 3, H, W), any dtype.
        size: p, side of a patch in pixels.
    Returns: (B, K, 3 p²).
    Raises: ValueError when the sides are no multiples of the patch's.
    Source: Dosovitskiy et al. 2021 (arXiv 2010.11929), §3.1; order within a patch as in He et al. 2021.
    """
    if images.ndim != 4 or size < 1 or images.shape[2] % size or images.shape[3] % size:
        raise ValueError(
            f"images are {tuple(images.shape)}; expected (B, 3, H, W) with sides of whole {size}-pixel patches"
        )
    cut = images.unflatten(3, (-1, size)).unflatten(2, (-1, size))  # (B, 3, rows, p, columns, p)
    return cut.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


def unpatchify(patches: Tensor, size: int) -> Tensor:
    """Put the patches of square pictures back together, the inverse of :func:`patchify`.

    Args:
        patches: (B, K, 3 p²), K a square number.
        size: p, side of a patch in pixels.
    Returns: (B, 3, H, H).
    Raises: ValueError when they are not the patches of a square picture.
    """
    side = math.isqrt(patches.shape[1])
    if patches.ndim != 3 or side * side != patches.shape[1] or patches.shape[2] != 3 * size * size:
        raise ValueError(f"patches are {tuple(patches.shape)}; expected (B, K, {3 * size * size}), K a square number")
    cut = patches.unflatten(2, (size, size, 3)).unflatten(1, (side, side))  # (B, rows, columns, p, p, 3)
    return cut.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)


def sift(images: Tensor, *, contrast: float = 0.04, enlarge: int = 1) -> list[tuple[Tensor, Tensor]]:
    """OpenCV's SIFT keypoints of each picture and their descriptors.

    Args:
        images: (N, 3, H, W) uint8.
        contrast: extrema of the difference of Gaussians weaker than this are dropped.
        enlarge: how many times the picture is enlarged before; small pictures have few keypoints.
    Returns: a picture's places (K, 2), x and y in its own pixels, and descriptors (K, 128) of length 1; K may be 0.
    Raises: ValueError when the images are not uint8 pictures, or enlarge is less than 1.
    Source: Lowe 2004.
    """
    import cv2

    _check_pictures(images)
    if enlarge < 1:
        raise ValueError(f"enlarge is {enlarge}; expected a whole number from 1")
    detector, found = cv2.SIFT_create(contrastThreshold=contrast), []
    for image in images.permute(0, 2, 3, 1).cpu().numpy():
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        if enlarge > 1:
            grey = cv2.resize(grey, None, fx=enlarge, fy=enlarge, interpolation=cv2.INTER_LINEAR)
        points, descriptors = detector.detectAndCompute(grey, None)
        places = torch.tensor([point.pt for point in points], dtype=torch.float32).view(-1, 2) / enlarge
        rows = torch.zeros(0, 128) if descriptors is None else torch.from_numpy(descriptors)
        found.append((places, F.normalize(rows, dim=1)))
    return found


def sift_words(
    images: Tensor, codebook: int | Tensor, *, contrast: float = 0.04, enlarge: int = 1, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """A bag of visual words: how often each word, a cluster of SIFT descriptors, occurs in each picture.

    Args:
        images: (N, 3, H, W) uint8.
        codebook: W, how many words to learn from these pictures; or the words (W, 128) learned from others.
        contrast, enlarge: as in :func:`sift`.
        seed: seed of k-means.
    Returns: counts (N, W), a row of zeros where there is no keypoint, and the codebook (W, 128).
    Raises: ValueError when the pictures hold fewer keypoints than there are words to learn.
    Source: Sivic and Zisserman 2003; Csurka et al. 2004.
    """
    bags = [descriptors for _, descriptors in sift(images, contrast=contrast, enlarge=enlarge)]
    if isinstance(codebook, int):
        codebook = learn_words(torch.cat(bags), codebook, seed=seed)
    counts = [torch.bincount(nearest_words(bag, codebook), minlength=len(codebook)) for bag in bags]
    return torch.stack(counts).float(), codebook


def learn_words(descriptors: Tensor, words: int, *, seed: int = 0) -> Tensor:
    """The centres (W, D) of k-means clusters of descriptors (K, D), by scikit-learn, in small batches.

    Raises: ValueError when there are fewer descriptors than words.
    """
    from sklearn.cluster import MiniBatchKMeans

    if not 1 <= words <= len(descriptors):
        raise ValueError(f"{words} words from {len(descriptors)} descriptors; expected 1 to that many words")
    clusters = MiniBatchKMeans(words, batch_size=4096, max_iter=20, n_init=1, random_state=seed)
    return torch.from_numpy(clusters.fit(descriptors.float().numpy()).cluster_centers_).float()


def nearest_words(descriptors: Tensor, codebook: Tensor) -> Tensor:
    """The number of the nearest word of a codebook (W, D) for each descriptor (K, D): (K,)."""
    return (descriptors @ codebook.T - codebook.square().sum(dim=1) / 2).argmax(dim=1)


def region_features(maps: Tensor, boxes: list[Tensor], *, stride: float, cells: int = 1) -> Tensor:
    """What a feature map holds inside boxes, on a grid of cells read by bilinear interpolation (RoIAlign).

    Args:
        maps: (B, C, H, W), features of B pictures.
        boxes: of each picture, (K, 4) as left, top, right, bottom in the picture's pixels.
        stride: pixels of the picture that one step of the map covers.
        cells: cells along a side of the grid.
    Returns: (ΣK, C, cells, cells), the first picture's boxes first.
    Raises: ValueError when there is not one set of boxes a picture, or a box has no extent.
    Source: He et al. 2017 (arXiv 1703.06870), §3.
    """
    from torchvision.ops import roi_align

    if maps.ndim != 4 or len(boxes) != len(maps) or any(b.ndim != 2 or b.shape[1] != 4 for b in boxes):
        shapes = [tuple(b.shape) for b in boxes]
        raise ValueError(f"maps {tuple(maps.shape)} and boxes {shapes}; expected (B, C, H, W) and B times (K, 4)")
    if any((b[:, 2:] <= b[:, :2]).any() for b in boxes):
        raise ValueError("a box has no extent; expected left < right and top < bottom")
    boxes = [b.to(maps) for b in boxes]
    return roi_align(maps, boxes, cells, spatial_scale=1 / stride, sampling_ratio=2, aligned=True)


class ImageEncoder(nn.Module, PyTorchModelHubMixin):
    """A small convolutional encoder to be trained from scratch: pictures to embeddings.

    Four stages halve the side and double the width; the last is averaged over the picture.

    Args:
        dim: D, width of the embedding.
        width: channels of the first stage.
    """

    def __init__(self, dim: int, width: int = 32):
        """Build the stages."""
        super().__init__()
        widths = [3, width, 2 * width, 4 * width, 8 * width]
        self.stages = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1), nn.GroupNorm(8, b), nn.GELU())
                for a, b in itertools.pairwise(widths)
            )
        )
        self.project = nn.Linear(widths[-1], dim)

    def forward(self, image: Tensor) -> Tensor:
        """Embed normalised pictures: (B, 3, H, W) to (B, D)."""
        return self.project(self.stages(image).mean(dim=(2, 3)))


def _check_pictures(images: Tensor) -> None:
    """Refuse what is not a batch of uint8 pictures."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images are {images.dtype} {tuple(images.shape)}; expected uint8 (N, 3, H, W)")
