"""Contrastive training at any batch size: gathered over processes, and in cached chunks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from mmcook import alignment, training

SCRIPT = Path(__file__).with_name("two_processes.py")


def test_two_gloo_processes_equal_one_in_loss_and_gradient_for_every_contrastive_objective(tmp_path):
    result = tmp_path / "differences.json"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", SCRIPT, result]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(result.read_text())
    assert found["world"] == 2
    assert len(found["differences"]) == 4
    assert max(found["differences"].values()) < 1e-6, found


def test_gather_in_one_process_is_the_identity():
    features = torch.randn(3, 2, requires_grad=True)
    assert training.gather(features) is features


class TwoEncoders(nn.Module):
    """Two small encoders with dropout, and a learned scale."""

    def __init__(self):
        super().__init__()
        self.image = nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.Dropout(0.3), nn.Linear(16, 5))
        self.text = nn.Linear(7, 5)
        self.scale = nn.Parameter(torch.tensor(3.0))

    def forward(self, batch):
        return self.image(batch[0]), self.text(batch[1])


def encoders():
    torch.manual_seed(0)
    return TwoEncoders().double(), torch.randn(12, 6).double(), torch.randn(12, 7).double()


def gradients(model):
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def test_cached_step_equals_the_full_batch():
    model, images, texts = encoders()
    model.eval()
    full = alignment.info_nce(*model((images, texts)), model.scale)
    full.backward()
    expected = gradients(model)
    model.zero_grad()
    chunks = list(zip(images.split(5), texts.split(5), strict=True))
    value = training.cached_contrastive_step(model, chunks, lambda u, v: alignment.info_nce(u, v, model.scale))
    torch.testing.assert_close(value, full.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradients(model), expected, rtol=1e-12, atol=1e-12)


def test_cached_step_leaves_a_locked_encoder_alone():
    model, images, texts = encoders()
    model.eval()
    model.image.requires_grad_(False)
    alignment.info_nce(*model((images, texts)), model.scale).backward()
    expected = model.text.weight.grad.clone()
    model.zero_grad()
    chunks = list(zip(images.split(5), texts.split(5), strict=True))
    training.cached_contrastive_step(model, chunks, lambda u, v: alignment.info_nce(u, v, model.scale))
    torch.testing.assert_close(model.text.weight.grad, expected, rtol=1e-12, atol=1e-12)
    assert model.image[0].weight.grad is None


def test_averaging_chunk_losses_is_another_gradient():
    model, images, texts = encoders()
    model.eval()
    alignment.info_nce(*model((images, texts)), model.scale).backward()
    full = gradients(model)
    model.zero_grad()
    for chunk in zip(images.split(4), texts.split(4), strict=True):
        (alignment.info_nce(*model(chunk), model.scale) / 3).backward()
    assert torch.cosine_similarity(full, gradients(model), dim=0) < 0.99


def test_cached_step_repeats_the_dropout_of_its_first_pass():
    model, images, texts = encoders()
    model.train()
    torch.manual_seed(5)
    pieces = [model(chunk) for chunk in zip(images.split(5), texts.split(5), strict=True)]
    u, v = (torch.cat(part) for part in zip(*pieces, strict=True))
    alignment.info_nce(u, v, model.scale).backward()
    expected, after = gradients(model), torch.rand(1)
    model.zero_grad()
    torch.manual_seed(5)
    chunks = list(zip(images.split(5), texts.split(5), strict=True))
    training.cached_contrastive_step(model, chunks, lambda u, v: alignment.info_nce(u, v, model.scale))
    torch.testing.assert_close(gradients(model), expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(torch.rand(1), after)


def test_cached_step_without_chunks_is_refused():
    with pytest.raises(ValueError, match="chunks is empty"):
        training.cached_contrastive_step(lambda batch: batch, [], lambda u, v: u.sum())
