"""Pictures as tensors: frozen features of a pretrained network, and a small encoder to train."""

from __future__ import annotations

import itertools
from pathlib import Path

import torch
import torch.nn.functional as F
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from mmcook import hub


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
    settings = {"size": size, "precision": str(precision), "device": device.type}
    return hub.cached(
        "efficientnet-lite0", images, settings, lambda folder: _encode(folder, images, device, precision, size, batch)
    )


@torch.no_grad()  # not inference_mode: a chapter trains on what comes out
def _encode(
    folder: Path, images: Tensor, device: torch.device, precision: torch.dtype, size: int, batch: int
) -> Tensor:
    """Run the pretrained network over all pictures."""
    from transformers import AutoModel

    network = AutoModel.from_pretrained(folder)
    network = network.eval().to(device, precision, memory_format=torch.channels_last)
    pieces = []
    for piece in images.split(batch):
        prepared = prepare(piece.to(device), size).to(precision, memory_format=torch.channels_last)
        pieces.append(network(prepared).pooler_output.float().cpu())
    return torch.cat(pieces)


def prepare(images: Tensor, size: int) -> Tensor:
    """Resize uint8 pictures (B, 3, H, W) to a square and bring them to [-1, 1], as the pretrained network expects."""
    _check_pictures(images)
    resized = F.interpolate(images.float(), size=(size, size), mode="bilinear", antialias=True)
    return resized / 127.5 - 1


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
