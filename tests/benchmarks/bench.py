"""What `make bench` prints: the course against a careful use of its peers, interleaved in one run."""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
import unittest.mock
from collections.abc import Callable
from pathlib import Path

import torch

import mmcook
from mmcook import datasets, hub, vision
from mmcook.datasets.tables import read_table


def interleaved(arms: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each arm, the arms taking turns so that a busy minute falls on all."""
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(rounds):
        for name, arm in arms.items():
            start = time.perf_counter()
            arm()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def reading_pictures() -> None:
    """All emoji from disk to tensors, hash included, against torchvision's ImageFolder over the same PNG files."""
    from torchvision.datasets import ImageFolder
    from torchvision.transforms.functional import pil_to_tensor

    with tempfile.TemporaryDirectory() as folder:
        for vendor, place in (("noto", "emoji"), ("twemoji", "emoji"), ("fluent", "emoji"), ("openmoji", "openmoji")):
            target = Path(folder) / vendor
            target.mkdir()
            for image in read_table(f"{place}/{vendor}.parquet")["image"].to_pylist():
                (target / image["path"]).write_bytes(image["bytes"])
        arms = {
            "mmcook.datasets.emoji(), hash and names included": datasets.emoji,
            "torchvision ImageFolder": lambda: [pil_to_tensor(image) for image, _ in ImageFolder(folder)],
        }
        report("reading 6,376 pictures", interleaved(arms, 5))


def frozen_features() -> None:
    """Frozen features as the course computes them against plain float32."""
    images = datasets.emoji(("noto",)).images["noto"][:512]
    folder = hub.pretrained("efficientnet-lite0")
    device = torch.device("cpu")
    precision = mmcook.course.fast_precision(device)
    results: dict[str, torch.Tensor] = {}

    def course() -> None:
        with tempfile.TemporaryDirectory() as empty, unittest.mock.patch.dict(os.environ, MMCOOK_FEATURES=empty):
            results["course"] = vision.frozen_features(images, device=device, precision=precision)

    def plain() -> None:
        from transformers import AutoModel

        network = AutoModel.from_pretrained(folder).eval()
        with torch.inference_mode():
            pieces = [network(vision.prepare(piece, 128)).pooler_output for piece in images.split(128)]
        results["plain"] = torch.cat(pieces)

    seconds = interleaved({f"mmcook, {precision}, channels last": course, "plain float32": plain}, 3)
    report("frozen features of 512 pictures at 128 px", seconds)
    cosine = torch.cosine_similarity(results["course"], results["plain"])
    print(f"    cosine between the two: least {cosine.min():.4f}, median {cosine.median():.4f}")


def report(title: str, seconds: dict[str, list[float]]) -> None:
    """Print the median of each arm and how it compares with the first."""
    print(title)
    first = statistics.median(next(iter(seconds.values())))
    for name, times in seconds.items():
        median = statistics.median(times)
        print(f"    {name:<52} {median:7.2f} s (least {min(times):.2f})   {median / first:5.2f} x the first")


ROWS = {"reading": reading_pictures, "features": frozen_features}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", help=f"of {', '.join(ROWS)}; all by default")
    torch.set_num_threads(mmcook.course.THREADS)
    for row in parser.parse_args().rows or ROWS:
        ROWS[row]()
