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
import torch.nn.functional as F
import transformers
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from transformers.models.clip.modeling_clip import image_text_contrastive_loss
from transformers.trainer_callback import PrinterCallback

import mmcook
from mmcook import alignment, datasets, hub, metrics, pretraining, text, training, vision
from mmcook.datasets.tables import read_table

CPU = torch.device("cpu")
TARGET, EVERY, LIMIT = 0.40, 10, 120.0  # R@1 to reach; steps between looks; seconds given to whole networks
STEPS, BATCH, RATE, DECAY, WARMUP, SIDE = 120, 512, 3e-3, 0.01, 0.15, 112  # chapter 07 at laptop scale
MASKED_STEPS, ROWS_A_STEP, ROW, HIDDEN, MASKED_RATE = 24, 16, 64, 0.15, 1e-3  # masked language modelling
SIZES = {"BERT-tiny": (128, 2), "BERT-mini": (256, 4)}  # width and layers


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
    precision = mmcook.course.fast_precision(CPU)
    results: dict[str, torch.Tensor] = {}

    def course() -> None:
        with tempfile.TemporaryDirectory() as empty, unittest.mock.patch.dict(os.environ, MMCOOK_FEATURES=empty):
            results["course"] = vision.frozen_features(images, device=CPU, precision=precision)

    def plain() -> None:
        network = transformers.AutoModel.from_pretrained(folder).eval()
        with torch.inference_mode():
            pieces = [network(vision.prepare(piece, 128)).pooler_output for piece in images.split(128)]
        results["plain"] = torch.cat(pieces)

    seconds = interleaved({f"mmcook, {precision}, channels last": course, "plain float32": plain}, 3)
    report("frozen features of 512 pictures at 128 px", seconds)
    cosine = torch.cosine_similarity(results["course"], results["plain"])
    print(f"    cosine between the two: least {cosine.min():.4f}, median {cosine.median():.4f}")


class NameEncoder(nn.Module):
    """Chapter 07's head: frozen sentence embeddings to the space of the pictures, and the learned scale."""

    def __init__(self):
        """Build the layers."""
        super().__init__()
        self.layers = nn.Sequential(nn.LayerNorm(384), nn.Linear(384, 1024), nn.GELU(), nn.Linear(1024, 512))
        self.log_scale = nn.Parameter(torch.tensor(14.0).log())

    def forward(self, sentence: Tensor) -> Tensor:
        """Embed names: (B, 384) to (B, 512)."""
        return self.layers(sentence)

    @property
    def scale(self) -> Tensor:
        """The scale, held at CLIP's limit."""
        return self.log_scale.exp().clamp(max=100)


class PeerHead(NameEncoder):
    """The same head as ``Trainer`` wants it: a batch to a dictionary with CLIP's loss."""

    def forward(self, picture: Tensor, sentence: Tensor) -> dict[str, Tensor]:
        """The loss of (B, 512) pictures and (B, 384) names."""
        u, v = F.normalize(picture, dim=-1), F.normalize(self.layers(sentence), dim=-1)
        return {"loss": image_text_contrastive_loss(self.scale * v @ u.T)}


class Reached(Exception):
    """The target is reached, after so many steps."""


class StopAt(transformers.TrainerCallback):
    """Ends training when R@1, looked at every few steps, reaches the target, or after some seconds of training."""

    def __init__(self, score: Callable[[], float], every: int = EVERY, limit: float = float("inf")):
        """Remember what to look at and when."""
        self.score, self.every, self.limit = score, every, limit

    def on_train_begin(self, *_, **__) -> None:
        """Start the clock."""
        self.began = time.perf_counter()

    def on_step_end(self, args, state, control, **_) -> None:
        """Look, and stop where there is reason to; the limit leaves out the time for looking."""
        now = time.perf_counter()
        self.seconds = now - self.began
        over = self.seconds > self.limit
        if over or state.global_step % self.every == 0:
            self.found = self.score()
            control.should_training_stop = over or self.found >= TARGET
            self.began += time.perf_counter() - now


def train_with_trainer(
    model: nn.Module, rows: object, collate: Callable, stop: StopAt | None, bf16: bool, **settings
) -> int:
    """Train with transformers' ``Trainer`` on batches that ``collate`` makes of rows; returns the steps."""
    with tempfile.TemporaryDirectory() as folder:
        quiet = {"logging_strategy": "no", "save_strategy": "no", "report_to": "none", "disable_tqdm": True}
        own = {"remove_unused_columns": False, "dataloader_pin_memory": False, "use_cpu": True, "bf16": bf16}
        arguments = transformers.TrainingArguments(folder, **quiet, **own, **settings)
        run = transformers.Trainer(model, arguments, collate, rows, callbacks=[stop] if stop else [])
        run.remove_callback(PrinterCallback)
        run.train()
        return run.state.global_step


def recall_at_1(pictures: Tensor, names: Tensor) -> float:
    """R@1 of pictures (N, D) among names (N, D), row i belonging to row i."""
    scores = F.normalize(pictures, dim=-1) @ F.normalize(names, dim=-1).T
    return metrics.recall_at_k(scores, torch.arange(len(scores))).mean().item()


def standardised(x: Tensor) -> Tensor:
    """Cells (4, N, C, 4, 4) to their mean and quadrants, (4, N, 5C); only vendors 1 to 3 are looked at."""
    x = torch.cat([x.mean(dim=(3, 4)), F.avg_pool2d(x.flatten(0, 1), 2).view(*x.shape[:2], -1)], dim=-1)
    seen = x[1:].flatten(0, 1)
    return (x - seen.mean(dim=0)) / (seen.std(dim=0) + 1e-4) / x.shape[-1] ** 0.5


def whitened(x: Tensor) -> Tensor:
    """Chapter 07's whitening, (4, N, D) to (4, N, 512); only vendors 1 to 3 are looked at."""
    seen = x[1:].flatten(0, 1)
    z = (x - seen.mean(dim=0)) @ torch.linalg.eigh(torch.cov(seen.T)).eigenvectors[:, -512:]
    around = (z[1:] - z[1:].mean(dim=0)).flatten(0, 1)
    spread, turn = torch.linalg.eigh(around.T @ around / len(around))
    z = z @ (turn / (spread + 0.3 * spread.mean()).sqrt())
    return z / z[1:].std()


def contrastive() -> None:
    """Seconds until R@1 0.40 on Noto's drawings after training on the other vendors', against transformers."""
    emoji, precision = datasets.emoji(), mmcook.course.fast_precision(CPU)
    n, names, began = len(emoji), emoji.names["en"], time.perf_counter()
    crops = [vision.crop_to_drawing(images) for images in emoji.images.values()]  # Noto first
    with tempfile.TemporaryDirectory() as empty, unittest.mock.patch.dict(os.environ, MMCOOK_FEATURES=empty):
        setting = {"device": CPU, "precision": precision, "size": SIDE}
        layers = [vision.frozen_layers(images, (10, 14), **setting) for images in crops]
        textual = text.frozen_features(names, device=CPU)
    z = whitened(torch.cat([standardised(torch.stack([x[block] for x in layers])) for block in (10, 14)], dim=-1))
    featured = time.perf_counter() - began
    taken: dict[str, list[int]] = {"course": [], "peer": []}

    def mixed(rows: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Pictures between two known vendors' drawings, with noise."""
        a, b = (z[torch.randint(1, 4, rows.shape, generator=generator), rows] for _ in range(2))
        weight = torch.rand(len(rows), 1, generator=generator)
        return weight * a + (1 - weight) * b + 0.5 * torch.randn(a.shape, generator=generator)

    @torch.no_grad()
    def score(model: NameEncoder) -> float:
        return recall_at_1(z[0], model.layers(textual))

    def course() -> None:
        AcceleratorState._reset_state(reset_partial_state=True)  # Trainer leaves its precision behind
        seed, done = len(taken["course"]), STEPS
        torch.manual_seed(seed)
        model, order = NameEncoder(), training.epochs(n, BATCH, seed)

        def batch(k: int) -> tuple[Tensor, Tensor]:
            if k and k % EVERY == 0 and score(model) >= TARGET:
                raise Reached(k)
            rows = order(k)
            return mixed(rows, torch.Generator().manual_seed(1000 * seed + k)), textual[rows]

        def loss(model: NameEncoder, batch: tuple[Tensor, Tensor]) -> Tensor:
            return alignment.info_nce(batch[0], model(batch[1]), model.scale)

        setting = {"device": CPU, "precision": precision, "weight_decay": DECAY, "warmup": WARMUP}
        try:
            training.fit(model, batch, loss, steps=STEPS, lr=RATE, **setting)
        except Reached as reached:
            done = reached.args[0]
        taken["course"].append(done)

    def peer() -> None:
        seed = len(taken["peer"])
        torch.manual_seed(seed)
        model = PeerHead()

        def collate(rows: list[int]) -> dict[str, Tensor]:
            rows = torch.tensor(rows)
            return {"picture": mixed(rows), "sentence": textual[rows]}

        size = {"max_steps": STEPS, "per_device_train_batch_size": BATCH, "dataloader_drop_last": True}
        rate = {"learning_rate": RATE, "lr_scheduler_type": "cosine", "warmup_steps": WARMUP, "weight_decay": DECAY}
        settings = {"bf16": precision == torch.bfloat16, "seed": seed, **size, **rate}
        taken["peer"].append(train_with_trainer(model, range(n), collate, StopAt(lambda: score(model)), **settings))

    arms = {"mmcook.training.fit, info_nce": course, "transformers Trainer, cached features": peer}
    report(f"contrastive: to R@1 {TARGET:.2f} on the left-out vendor, {precision}", interleaved(arms, 3))
    print(f"    steps needed: {taken['course']} and {taken['peer']}; the features of both, once: {featured:.2f} s")
    stop, steps = whole_networks(crops, names, precision)
    how = "reached" if stop.found >= TARGET else "did not reach"
    print(f"    transformers VisionTextDualEncoderModel, Trainer as documented: {how} {TARGET:.2f}", end="")
    print(f" in {stop.seconds:.0f} s: R@1 {stop.found:.3f} after {steps} steps of 64")


def whole_networks(crops: list[Tensor], names: list[str], precision: torch.dtype) -> tuple[StopAt, int]:
    """The documented way: both networks in the loop, ``Trainer``'s own rate, nothing cached."""
    torch.manual_seed(0)
    pictures, folder = torch.cat(crops[1:]), hub.pretrained("minilm")
    reader = transformers.AutoModel.from_pretrained(folder)
    seer = transformers.AutoModel.from_pretrained(hub.pretrained("efficientnet-lite0"))
    seer.config.hidden_size = vision.HEAD_WIDTH  # timm's configuration lacks what the dual encoder asks for
    model = transformers.VisionTextDualEncoderModel(vision_model=seer, text_model=reader)
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(names, padding=True, return_tensors="pt")

    def collate(rows: list[int]) -> dict[str, object]:
        rows = torch.tensor(rows)
        written = {key: value[rows % len(names)] for key, value in tokens.items()}
        return {"pixel_values": vision.prepare(pictures[rows], SIDE), "return_loss": True, **written}

    @torch.no_grad()
    def score() -> float:
        model.eval()
        drawn = [model.get_image_features(vision.prepare(x, SIDE)).pooler_output for x in crops[0].split(128)]
        return recall_at_1(torch.cat(drawn), model.get_text_features(**tokens).pooler_output)

    size = {"num_train_epochs": 100, "per_device_train_batch_size": 64}
    stop = StopAt(score, every=len(pictures) // 64, limit=LIMIT)
    return stop, train_with_trainer(model, range(len(pictures)), collate, stop, precision == torch.bfloat16, **size)


def masked() -> None:
    """Masked language modelling with 30,522 tokens, in two sizes."""
    for name in SIZES:
        masked_at(name)


def masked_at(name: str) -> None:
    """Real tokens a second of a size, against ``Trainer`` with its collator on packed and on padded texts."""
    precision, glosses = mmcook.course.fast_precision(CPU), datasets.glosses()
    tokenizer = transformers.AutoTokenizer.from_pretrained(hub.pretrained("minilm"))
    special, pad, n_tokens = tokenizer.all_special_ids, tokenizer.pad_token_id, len(tokenizer)
    definitions = {part: [glosses.definitions[i] for i in glosses.splits[part].tolist()] for part in ("train", "test")}
    ids = {part: tokenizer(x[:12_000], truncation=True, max_length=ROW).input_ids for part, x in definitions.items()}
    packed, held_out = text.pack(ids["train"], ROW), text.pack(ids["test"][:1000], ROW)
    flat = [token for row in ids["train"] for token in row]
    chunks = [flat[start : start + ROW] for start in range(0, len(flat) - ROW, ROW)]  # as in transformers' run_mlm
    rules = {"mask_id": tokenizer.mask_token_id, "n_tokens": n_tokens, "special_ids": special, "rate": HIDDEN}
    exam = text.mask_tokens(held_out[0], generator=torch.Generator().manual_seed(0), **rules)
    documented = transformers.DataCollatorForLanguageModeling(tokenizer, mlm_probability=HIDDEN)
    width, layers = SIZES[name]
    read: dict[str, list[int]] = {}
    losses: dict[str, list[float]] = {}

    def fresh(arm: str) -> nn.Module:
        AcceleratorState._reset_state(reset_partial_state=True)  # Trainer leaves its precision behind
        torch.manual_seed(len(read.setdefault(arm, [])))
        read[arm].append(0)
        size = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": width // 64}
        size |= {"intermediate_size": 4 * width, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        return transformers.BertForMaskedLM(transformers.BertConfig(vocab_size=n_tokens, pad_token_id=pad, **size))

    def logits(model: nn.Module, corrupted: Tensor, segments: Tensor, chosen: Tensor) -> Tensor:
        """Logits at the chosen places alone; a token sees its own text, counted from its first token."""
        own = segments[:, None, :, None] == segments[:, None, None, :]  # (B, 1, L, L)
        begins = F.pad(segments.diff(dim=1) != 0, (1, 0), value=True)
        place = torch.arange(ROW).expand_as(segments)
        places = place - torch.where(begins, place, 0).cummax(dim=1).values
        states = model.bert(corrupted, attention_mask=own, position_ids=places).last_hidden_state
        return model.cls(states[chosen])

    @torch.no_grad()
    def examine(model: nn.Module, arm: str) -> None:
        """The loss on held-out glosses, 15 % hidden, in float32."""
        targets = exam[1][:128]
        chosen = targets != pretraining.IGNORED
        found = logits(model.eval().float(), exam[0][:128], held_out[1][:128], chosen)
        losses.setdefault(arm, []).append(pretraining.masked_lm_loss(found, targets[chosen]).item())

    def course() -> None:
        arm = "course"
        model, order = fresh(arm), training.epochs(len(packed[0]), ROWS_A_STEP, len(read[arm]))

        def batch(k: int) -> tuple[Tensor, Tensor, Tensor]:
            tokens, segments = (x[order(k)] for x in packed)
            read[arm][-1] += int((segments > 0).sum())
            corrupted, targets = text.mask_tokens(tokens, generator=torch.Generator().manual_seed(k), **rules)
            return corrupted, segments, targets

        def loss(model: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
            corrupted, segments, targets = batch
            chosen = targets != pretraining.IGNORED
            return pretraining.masked_lm_loss(logits(model, corrupted, segments, chosen).float(), targets[chosen])

        setting = {"device": CPU, "precision": precision, "warmup": WARMUP, "weight_decay": DECAY}
        training.fit(model, batch, loss, steps=MASKED_STEPS, lr=MASKED_RATE, **setting)
        trained[arm] = model

    def peer(arm: str, rows: list[list[int]], size: int) -> Callable[[], None]:
        def train() -> None:
            model = fresh(arm)

            def collate(found: list[list[int]]) -> dict[str, Tensor]:
                read[arm][-1] += sum(map(len, found))
                return dict(documented([{"input_ids": ids} for ids in found]))

            rate = {"learning_rate": MASKED_RATE, "lr_scheduler_type": "cosine", "warmup_steps": WARMUP}
            setting = {"max_steps": MASKED_STEPS, "per_device_train_batch_size": size, "weight_decay": DECAY, **rate}
            train_with_trainer(model, rows, collate, None, precision == torch.bfloat16, **setting)
            trained[arm] = model

        return train

    trained: dict[str, nn.Module] = {}
    a_step = ROWS_A_STEP * ROW * len(ids["train"]) // len(flat)  # texts that hold about as many tokens
    arms = {
        "course": course,
        "Trainer, packed": peer("Trainer, packed", chunks, ROWS_A_STEP),
        "Trainer, padded": peer("Trainer, padded", ids["train"], a_step),
    }
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(2):
        for arm, times in interleaved(arms, 1).items():
            seconds[arm] += times
            examine(trained.pop(arm), arm)
    print(
        f"masked language modelling, {name}, {MASKED_STEPS} steps, {n_tokens:,} tokens in the vocabulary, {precision}"
    )
    rates = {arm: [r / s for r, s in zip(read[arm], seconds[arm], strict=True)] for arm in arms}
    for arm, found in rates.items():
        ratio = statistics.median(a / b for a, b in zip(rates["course"], found, strict=True))
        ends = ", ".join(f"{loss:.3f}" for loss in losses[arm])
        print(f"    {arm:<18} {statistics.median(found):8,.0f} real tokens a second (course {ratio:.2f} x); ", end="")
        print(f"held-out loss {ends} nats")


def report(title: str, seconds: dict[str, list[float]]) -> None:
    """Print the median of each arm and how it compares with the first."""
    print(title)
    first = statistics.median(next(iter(seconds.values())))
    for name, times in seconds.items():
        median = statistics.median(times)
        print(f"    {name:<52} {median:7.2f} s (least {min(times):.2f})   {median / first:5.2f} x the first")


ROWS = {"reading": reading_pictures, "features": frozen_features, "contrastive": contrastive, "masked": masked}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", help=f"of {', '.join(ROWS)}; all by default")
    torch.set_num_threads(mmcook.course.THREADS)
    for row in parser.parse_args().rows or ROWS:
        ROWS[row]()
