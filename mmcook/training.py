"""The one training loop of the course, and all of checkpointing."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from mmcook.course import write_atomically

Batch = Any
Loss = Callable[[nn.Module, Batch], Tensor | tuple[Tensor, int]]
REPORT_SECONDS = 5.0


class CheckpointError(RuntimeError):
    """A checkpoint that is cut short, altered, or of another run."""


def fit(
    model: nn.Module,
    batches: Callable[[int], Batch],
    loss: Loss,
    *,
    steps: int,
    lr: float,
    device: torch.device,
    precision: torch.dtype = torch.float32,
    weight_decay: float = 0.05,
    warmup: float = 0.05,
    clip: float = 1.0,
    accumulate: int = 1,
    checkpoint: Path | None = None,
    save_every: int = 100,
) -> list[float]:
    r"""Train a model with AdamW, warm-up, cosine decay and clipped gradients; continue after an interruption.

    Micro-batches are weighted by their number of targets, not averaged as equals:
    $$\mathcal L = \sum_k n_k \mathcal L_k \Big/ \sum_k n_k$$

    Args:
        model: trained in place; left in evaluation mode.
        batches: the k-th (micro-)batch, as a pure function of k, so that resuming needs no sampler state.
        loss: of model and batch: the mean over the targets in nats, or that and the number of targets.
        steps: updates of the parameters.
        lr: the highest learning rate.
        device: where to train.
        precision: dtype of the autocast; float32 for none.
        weight_decay: AdamW's, on matrices only.
        warmup: share of the steps during which the rate rises.
        clip: largest norm of the gradient.
        accumulate: micro-batches an update, on each process.
        checkpoint: folder for checkpoints; training goes on from the newest one in it.
        save_every: steps between checkpoints.
    Returns: the loss of each step.
    Raises:
        FloatingPointError: the loss is not finite.
        CheckpointError: the newest checkpoint is damaged or belongs to another run.
    Source: Loshchilov and Hutter 2019 (arXiv 1711.05101).
    """
    accelerator, model, optimizer = _prepare(model.train(), lr, weight_decay, device)
    schedule = _schedule(optimizer, round(warmup * steps), steps)
    settings = {"steps": steps, "lr": lr, "weight_decay": weight_decay, "warmup": warmup, "clip": clip}
    settings |= {"accumulate": accumulate, "processes": accelerator.num_processes, "precision": str(precision)}
    settings["trained parameters"] = sum(p.numel() for p in model.parameters() if p.requires_grad)
    losses = resume(checkpoint, model, optimizer, schedule, settings) if checkpoint else []
    reported = time.perf_counter()
    for step in range(len(losses), steps):
        micro = [batches(k) for k in _numbers(step, accumulate, accelerator)]
        losses.append(_update(model, optimizer, micro, loss, accelerator, precision, clip))
        schedule.step()
        if checkpoint and ((step + 1) % save_every == 0 or step + 1 == steps) and accelerator.is_main_process:
            save_checkpoint(checkpoint, model, optimizer, schedule, settings, losses)
        if accelerator.is_main_process:
            reported = _report(losses, steps, reported)
    model.eval()
    return losses


def epochs(n: int, batch_size: int, seed: int = 0) -> Callable[[int], Tensor]:
    """Batches of rows, every row once an epoch in an order of its own, as a pure function of the batch's number.

    Args:
        n: number of rows.
        batch_size: rows a batch, at most n; a remainder smaller than a batch waits for another epoch.
        seed: seed of the orders.
    Returns: k ↦ (batch_size,) rows.
    Raises: ValueError when the batch is larger than the set.
    """
    per_epoch = n // batch_size
    if per_epoch == 0:
        raise ValueError(f"batch_size is {batch_size}, but there are only {n} rows")

    def rows(k: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + k // per_epoch)
        start = k % per_epoch * batch_size
        return torch.randperm(n, generator=generator)[start : start + batch_size]

    return rows


def gather(features: Tensor) -> Tensor:
    r"""The features of all processes, with the gradient that makes data-parallel training equal one process.

    Every process computes the loss of the whole batch from what is gathered. Going back, the gradients of all
    processes are added; averaged over processes, as data parallelism does, parameters then get
    $\sum_r \partial\mathcal L / \partial x_r \cdot \partial x_r / \partial\theta$, the gradient of one process.

    Args:
        features: (B, D) of this process; the same shape in every process.
    Returns: (W·B, D), in the order of the ranks; the features themselves where only one process runs.
    """
    if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
        return features
    return _Gather.apply(features)


class _Gather(torch.autograd.Function):
    """All-gather whose backward pass adds the gradients of all processes."""

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        """Collect the features of all ranks."""
        pieces = [torch.empty_like(features) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(pieces, features.contiguous())
        return torch.cat(pieces)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Add the gradients of all ranks and take this rank's share."""
        total = gradient.contiguous().clone()
        torch.distributed.all_reduce(total)
        return total.chunk(torch.distributed.get_world_size())[torch.distributed.get_rank()]


def cached_contrastive_step(
    encode: Callable[[Batch], tuple[Tensor, Tensor]], chunks: list[Batch], loss: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Add the gradient of a contrastive loss over all chunks together, holding one chunk's activations at a time.

    Embeds every chunk without a graph, takes the loss's gradient at the embeddings, then embeds each chunk again,
    with the same dropout, and passes its share of that gradient on.

    Args:
        encode: a chunk to its image and text embeddings, (b, D) each.
        chunks: the batch in pieces.
        loss: of all image and text embeddings, (B, D) each.
    Returns: the loss of the whole batch; gradients are left in the parameters, as ``backward`` leaves them.
    Raises: ValueError when there is no chunk.
    Source: Gao et al. 2021 (arXiv 2101.06983).
    """
    if not chunks:
        raise ValueError("chunks is empty; expected at least one piece of the batch")
    states, pieces = [], []
    with torch.no_grad():
        for chunk in chunks:
            states.append(_random_state())
            pieces.append(encode(chunk))
    image_emb, text_emb = (torch.cat(part).requires_grad_() for part in zip(*pieces, strict=True))
    value = loss(image_emb, text_emb)
    value.backward()
    sizes = [len(piece[0]) for piece in pieces]
    shares = zip(image_emb.grad.split(sizes), text_emb.grad.split(sizes), strict=True)
    after = _random_state()
    for chunk, state, share in zip(chunks, states, shares, strict=True):
        _restore_random_state(state)
        learned = [(emb, grad) for emb, grad in zip(encode(chunk), share, strict=True) if emb.requires_grad]
        torch.autograd.backward(*zip(*learned, strict=True))  # a locked encoder's embeddings ask for nothing
    _restore_random_state(after)
    return value.detach()


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    settings: dict[str, Any],
    losses: list[float],
) -> Path:
    """Write all that is needed to go on, without pickle, whole or not at all; older checkpoints are removed after.

    Returns: the folder of this checkpoint.
    Raises: OSError when it cannot be written; the checkpoints before it stay.
    """
    target = Path(folder) / f"step-{len(losses):08d}"
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    tensors = {
        # a copy each, since safetensors refuses tied weights
        "model.safetensors": {k: v.detach().cpu().clone().contiguous() for k, v in _bare(model).state_dict().items()},
        "optimizer.safetensors": _flatten(optimizer.state_dict()["state"]),
        "random.safetensors": _random_state(),
    }
    try:
        files = {name: safetensors.torch.save(content) for name, content in tensors.items()}
        for name, content in files.items():
            write_atomically(draft / name, content)
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        state = {"losses": losses, "settings": settings, "schedule": _plain(schedule), "sha256": sums}
        write_atomically(draft / "state.json", json.dumps(state))
        shutil.rmtree(target, ignore_errors=True)
        os.replace(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    abandoned = Path(folder).glob(".step-*")  # by a process that was killed while it wrote
    for older in [*abandoned, *sorted(Path(folder).glob("step-*"))[:-1]]:
        shutil.rmtree(older)
    return target


def resume(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    settings: dict[str, Any],
) -> list[float]:
    """Load the newest checkpoint of a folder into model, optimiser, schedule and random generators.

    Returns: the losses up to there; an empty list when there is no checkpoint.
    Raises: CheckpointError when it is damaged, or was made with other settings.
    """
    found = sorted(Path(folder).glob("step-*"))
    if not found:
        return []
    state, tensors = _read_checkpoint(found[-1])
    if state["settings"] != settings:
        changed = [k for k in settings if state["settings"].get(k) != settings[k]]
        what = f"{found[-1]} was made with other values of {', '.join(changed)}"
        raise CheckpointError(f"{what}; continue with the same settings or name a new folder")
    _bare(model).load_state_dict(tensors["model.safetensors"])
    optimizer.load_state_dict(optimizer.state_dict() | {"state": _unflatten(tensors["optimizer.safetensors"])})
    schedule.load_state_dict(state["schedule"])
    for group, rate in zip(optimizer.param_groups, schedule.get_last_lr(), strict=True):
        group["lr"] = rate
    _restore_random_state(tensors["random.safetensors"])
    return state["losses"]


def _read_checkpoint(folder: Path) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
    """A checkpoint's state and tensors, each file compared with its SHA-256 first."""
    mend = f"delete {folder} to go on from an older checkpoint or to start again"
    try:
        state = json.loads((folder / "state.json").read_text())
        files = {name: (folder / name).read_bytes() for name in state["sha256"]}
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"checkpoint {folder} cannot be read ({error}); {mend}") from error
    for name, content in files.items():
        if hashlib.sha256(content).hexdigest() != state["sha256"][name]:
            raise CheckpointError(f"checkpoint file {folder / name} is cut short or altered; {mend}")
    return state, {name: safetensors.torch.load(content) for name, content in files.items()}


def _prepare(model: nn.Module, lr: float, weight_decay: float, device: torch.device) -> tuple[Any, nn.Module, Any]:
    """Accelerate's handle on this process and the others, and model and optimiser as it wraps them."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision="no")
    optimizer = torch.optim.AdamW(_decay_groups(model, weight_decay), lr=lr, fused=True)
    return accelerator, *accelerator.prepare(model, optimizer)


def _schedule(optimizer: torch.optim.Optimizer, warmup: int, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    """A rate that rises over the first steps and then falls along half a cosine to zero."""
    from transformers.optimization import get_cosine_schedule_with_warmup

    return get_cosine_schedule_with_warmup(optimizer, warmup, steps)


def _numbers(step: int, accumulate: int, accelerator: Any) -> range:
    """The numbers of the micro-batches that this process takes in a step; processes take turns."""
    first, after = step * accumulate * accelerator.num_processes, (step + 1) * accumulate * accelerator.num_processes
    return range(first + accelerator.process_index, after, accelerator.num_processes)


def _report(losses: list[float], steps: int, reported: float) -> float:
    """Print a line if the last one is some seconds old; returns when the last one was printed."""
    if time.perf_counter() - reported <= REPORT_SECONDS:
        return reported
    print(f"step {len(losses):>5} of {steps}  loss {sum(losses[-20:]) / len(losses[-20:]):.3f}")
    return time.perf_counter()


def _update(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    micro: list[Batch],
    loss: Loss,
    accelerator: Any,
    precision: torch.dtype,
    clip: float,
) -> float:
    """One step of the optimiser over the micro-batches; returns their loss, averaged over all targets."""
    device = accelerator.device
    optimizer.zero_grad()
    total = torch.zeros(2, device=device)  # sum of losses, number of targets
    for batch in micro:
        with torch.autocast(device.type, dtype=precision, enabled=precision != torch.float32):
            result = loss(model, batch)
        mean, targets = result if isinstance(result, tuple) else (result, 1)
        accelerator.backward(mean * targets)
        total += torch.stack([mean.detach().float() * targets, torch.as_tensor(float(targets), device=device)])
    total = accelerator.reduce(total, "sum")
    if not total.isfinite().all() or total[1] == 0:
        raise FloatingPointError(f"the loss is {float(total[0])} over {int(total[1])} targets; lower the learning rate"
                                 " or look at the batch")  # fmt: skip
    for parameter in model.parameters():
        if parameter.grad is not None:  # processes average their gradients; the targets of all count
            parameter.grad *= accelerator.num_processes / total[1]
    accelerator.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    return float(total[0] / total[1])


def _decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices; none for biases, gains and scalars."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]


def _bare(model: nn.Module) -> nn.Module:
    """The model inside what Accelerate may have wrapped around it."""
    return getattr(model, "module", model)


def _flatten(state: dict[int, dict[str, Any]]) -> dict[str, Tensor]:
    """The optimiser's state as named tensors."""
    return {
        f"{i}.{key}": torch.as_tensor(v).cpu().contiguous() for i, entry in state.items() for key, v in entry.items()
    }


def _unflatten(tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """Named tensors as the optimiser's state."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, key = name.split(".", 1)
        state.setdefault(int(number), {})[key] = tensor
    return state


def _plain(schedule: torch.optim.lr_scheduler.LRScheduler) -> dict[str, Any]:
    """A schedule's state without its functions, which the caller builds again."""
    return {k: v for k, v in schedule.state_dict().items() if k != "lr_lambdas"} | {"lr_lambdas": [None, None]}


def _random_state() -> dict[str, Tensor]:
    """The state of torch's generators (dropout draws from them)."""
    cuda = dict(enumerate(torch.cuda.get_rng_state_all())) if torch.cuda.is_available() else {}
    return {"cpu": torch.get_rng_state(), **{f"cuda{i}": state for i, state in cuda.items()}}


def _restore_random_state(states: dict[str, Tensor]) -> None:
    """Put torch's generators where they were."""
    torch.set_rng_state(states["cpu"])
    for name, state in states.items():
        if name.startswith("cuda"):
            torch.cuda.set_rng_state(state, int(name.removeprefix("cuda")))
