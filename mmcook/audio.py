"""Sound as tensors: frozen features of a pretrained speech encoder."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from mmcook import hub

RATE = 16_000  # samples a second
STRIDE = 320  # samples between two states of Whisper's encoder
LONGEST = 30  # seconds that it can read
BLOCKS = 4  # of Whisper tiny


def frozen_features(
    clips: list[Tensor],
    *,
    device: torch.device,
    precision: torch.dtype = torch.float32,
    block: int = BLOCKS,
    parts: int = 1,
    batch: int = 32,
) -> Tensor:
    r"""States of the pretrained Whisper tiny.en encoder, averaged over each of some equal parts of a clip; cached.

    A clip is filled up with silence to whole seconds, so that clips can share a batch; states of the silence are not
    averaged, and no clip's features depend on the others.

    Args:
        clips: N recordings, (T,) samples in [-1, 1] at 16 kHz, of 30 seconds at most.
        device: where to compute.
        precision: torch.float32 or torch.bfloat16.
        block: after which of the 4 transformer blocks the states are read; the last is normalised, as Whisper does.
        parts: P, parts into which the clip is cut; 1 averages over the whole, more keep some of the order of sounds.
        batch: clips at a time.
    Returns: (N, P · 384) float32 on the CPU.
    Raises: ValueError when there is no clip, or one is no vector, empty or too long; for an unknown block.
    Source: Radford et al. 2022 (arXiv 2212.04356); weights see ``hub.CATALOGUE``.
    """
    if not clips or any(clip.ndim != 1 or not 1 <= len(clip) <= LONGEST * RATE for clip in clips):
        shapes = sorted({tuple(clip.shape) for clip in clips})
        raise ValueError(f"clips have the shapes {shapes}; expected one or more vectors of 1 to {LONGEST * RATE}")
    if not 1 <= block <= BLOCKS or parts < 1:
        raise ValueError(f"block is {block} and parts is {parts}; expected 1 to {BLOCKS}, and 1 or more")
    settings = {"block": block, "parts": parts, "precision": str(precision), "device": device.type}
    settings["lengths"] = [len(clip) for clip in clips]
    return hub.cached(
        "whisper-tiny.en",
        torch.cat(clips),
        settings,
        lambda folder: _encode(folder, clips, device, precision, block, parts, batch),
    )


@torch.no_grad()  # not inference_mode: a chapter trains on what comes out
def _encode(
    folder: Path,
    clips: list[Tensor],
    device: torch.device,
    precision: torch.dtype,
    block: int,
    parts: int,
    batch: int,
) -> Tensor:
    """Run the encoder over all clips, those of as many whole seconds together."""
    from transformers import AutoFeatureExtractor, AutoModel

    listen = AutoFeatureExtractor.from_pretrained(folder)
    encoder = AutoModel.from_pretrained(folder, dtype=precision).encoder.eval().to(device)
    seconds = [math.ceil(len(clip) / RATE) for clip in clips]
    order = sorted(range(len(clips)), key=seconds.__getitem__)
    result = torch.empty(len(clips), parts, encoder.config.d_model)
    start = 0
    while start < len(order):
        length = seconds[order[start]]
        rows = [i for i in order[start : start + batch] if seconds[i] == length]
        sound = [clips[i].numpy() for i in rows]
        mel = listen(sound, sampling_rate=RATE, padding="max_length", max_length=length * RATE, return_tensors="pt")
        states = _states(encoder, mel.input_features.to(device, precision), block).float().cpu()  # (B, 50 · length, D)
        for i, state in zip(rows, states, strict=True):
            real = state[: math.ceil(len(clips[i]) / STRIDE)]  # what follows is silence
            result[i] = nn.functional.adaptive_avg_pool1d(real.T, parts).T
        start += len(rows)
    return result.flatten(1)


def _states(encoder: nn.Module, mel: Tensor, block: int) -> Tensor:
    """Whisper's encoder on log-mel spectra (B, 80, T) shorter than its 30 seconds, up to a block: (B, T/2, D)."""
    states = nn.functional.gelu(encoder.conv1(mel))
    states = nn.functional.gelu(encoder.conv2(states)).transpose(1, 2)
    states = states + encoder.embed_positions.weight[: states.shape[1]]
    for layer in encoder.layers[:block]:
        states = layer(states, None)
    return encoder.layer_norm(states) if block == len(encoder.layers) else states
