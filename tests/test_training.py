"""The loop trains what it should, weighs targets, and goes on after any interruption as if there had been none."""

from __future__ import annotations

import errno
import itertools
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors
import torch
from torch import Tensor, nn

from mmcook import course, training
from mmcook.course import fast_precision
from mmcook.training import CheckpointError, epochs, fit

CPU = torch.device("cpu")
STEPS = 8


def mean_square(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, int]:
    """The mean squared error and the number of targets."""
    x, y = batch
    return (model(x) - y).square().mean(), y.numel()


def linear(seed: int = 0, width: int = 3) -> nn.Linear:
    """A linear map in float64."""
    torch.manual_seed(seed)
    return nn.Linear(width, 2).double()


def data(n: int, width: int = 3) -> tuple[Tensor, Tensor]:
    """Inputs and what a fixed linear map makes of them."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, width, generator=generator).double()
    return x, x @ torch.linspace(-1, 1, 2 * width).double().view(width, 2) + 0.5


class AdamW(torch.optim.AdamW):
    """AdamW that notes the rates and the norm of the gradient at each step."""

    seen: list[dict[str, float]]

    def step(self, *arguments, **options):
        grads = [p.grad.flatten() for group in self.param_groups for p in group["params"] if p.grad is not None]
        rates = {f"rate {i}": group["lr"] for i, group in enumerate(self.param_groups)}
        self.seen.append(rates | {"norm": torch.cat(grads).norm().item()})
        return super().step(*arguments, **options)


@pytest.fixture
def seen(monkeypatch) -> list[dict[str, float]]:
    """What the optimiser sees in each step."""
    monkeypatch.setattr(torch.optim, "AdamW", AdamW)
    AdamW.seen = []
    return AdamW.seen


def test_fit_learns_a_linear_map():
    x, y = data(64)
    rows = epochs(64, 16)
    model = linear()
    losses = fit(model, lambda k: (x[rows(k)], y[rows(k)]), mean_square, steps=300, lr=0.1, device=CPU, weight_decay=0)
    assert len(losses) == 300
    assert losses[0] > 0.5
    assert losses[-1] < 1e-6
    torch.testing.assert_close(model(x), y, atol=1e-2, rtol=0)
    assert not model.training


def test_a_loss_without_a_number_of_targets_counts_each_batch_as_one():
    x, y = data(4)
    losses = fit(linear(), lambda k: x, lambda model, x: (model(x) - y).square().mean(), steps=2, lr=0.1, device=CPU)
    assert losses == fit(linear(), lambda k: (x, y), mean_square, steps=2, lr=0.1, device=CPU)


def test_unequal_micro_batches_equal_the_one_big_batch():
    x, y = data(12)
    edges = [0, 1, 3, 12]  # one, two and nine rows
    pieces = [(x[a:b], y[a:b]) for a, b in itertools.pairwise(edges)]
    big, small = linear(), linear()
    options = {"steps": 5, "lr": 0.1, "device": CPU}
    expected = fit(big, lambda k: (x, y), mean_square, **options)
    found = fit(small, lambda k: pieces[k % 3], mean_square, accumulate=3, **options)
    assert found == pytest.approx(expected, rel=1e-6)  # the loss is summed in float32
    for ours, theirs in zip(small.parameters(), big.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def test_the_loss_is_the_mean_over_targets_and_not_the_mean_of_means():
    means, targets = [2.0, 3.0], [1, 2]
    (loss,) = fit(
        nn.Linear(1, 1),
        lambda k: (means[k], targets[k]),
        lambda model, batch: (0 * model.weight.sum() + batch[0], batch[1]),
        steps=1,
        lr=0.1,
        device=CPU,
        accumulate=2,
    )
    assert loss == pytest.approx(8 / 3)  # 2.667, where the mean of means is 2.5


TWO_PROCESSES = """
import sys, torch, torch.distributed
from pathlib import Path
from test_training import in_micro_batches

losses, model = in_micro_batches(accumulate=1)
assert torch.distributed.get_world_size() == 2, "the processes are not connected"
torch.save([losses, *(p.detach() for p in model.parameters())], f"{sys.argv[1]}.{torch.distributed.get_rank()}")
torch.distributed.destroy_process_group()
"""


def in_micro_batches(accumulate: int) -> tuple[list[float], nn.Module]:
    """Train on batches of unequal size; clipping bites in four of six steps, so that the gradient's scale matters."""
    x, y = data(40)
    model = linear()
    sizes = [1, 7, 2, 5]
    batch = lambda k: (x[k : k + sizes[k % 4]], y[k : k + sizes[k % 4]])  # noqa: E731
    options = {"steps": 6, "lr": 0.1, "clip": 2.0, "device": CPU, "accumulate": accumulate}
    return fit(model, batch, mean_square, **options), model


def test_two_processes_equal_one_that_accumulates_two_micro_batches(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(TWO_PROCESSES)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(script), str(tmp_path / "out")], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    losses, model = in_micro_batches(accumulate=2)
    for rank in range(2):
        theirs, *parameters = torch.load(tmp_path / f"out.{rank}", weights_only=True)
        assert theirs == pytest.approx(losses, abs=1e-6)
        for ours, other in zip(model.parameters(), parameters, strict=True):
            torch.testing.assert_close(ours.detach(), other, atol=1e-6, rtol=0)


@pytest.mark.parametrize("warmup", [0.0, 0.25])
def test_the_rate_rises_then_falls_along_a_cosine_as_in_transformers(warmup, seen):
    from transformers import get_cosine_schedule_with_warmup

    x, y = data(4)
    fit(linear(), lambda k: (x, y), mean_square, steps=STEPS, lr=0.5, device=CPU, warmup=warmup)
    theirs = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.5)
    schedule = get_cosine_schedule_with_warmup(theirs, round(warmup * STEPS), STEPS)
    first = round(warmup * STEPS)
    for step, found in enumerate(seen):
        falling = 0.5 * (1 + math.cos(math.pi * (step - first) / (STEPS - first)))
        expected = 0.5 * (step / first if step < first else falling)
        assert found["rate 0"] == found["rate 1"] == pytest.approx(expected)
        assert found["rate 0"] == pytest.approx(schedule.get_last_lr()[0])
        theirs.step()
        schedule.step()
    assert len(seen) == STEPS


def test_gradients_are_clipped_to_the_norm_and_smaller_ones_left(seen):
    x, y = data(4)
    for clip in (0.01, 1e6):
        fit(linear(), lambda k: (x, y), mean_square, steps=1, lr=0.1, device=CPU, clip=clip)
    model = linear()
    mean_square(model, (x, y))[0].backward()
    norm = torch.cat([p.grad.flatten() for p in model.parameters()]).norm().item()
    assert [step["norm"] for step in seen] == pytest.approx([0.01, norm], rel=1e-3)


def test_weight_decay_shrinks_matrices_and_leaves_biases():
    model = linear()
    before = [p.clone() for p in model.parameters()]
    still = lambda model, batch: 0 * sum(p.sum() for p in model.parameters())  # noqa: E731
    fit(model, lambda k: None, still, steps=1, lr=0.1, device=CPU, weight_decay=0.5, warmup=0)
    torch.testing.assert_close(model.weight, 0.95 * before[0])
    assert torch.equal(model.bias, before[1])


def test_a_frozen_parameter_is_not_changed():
    x, y = data(4)
    model = nn.Sequential(linear(), nn.Linear(2, 2).double())
    model[0].requires_grad_(False)
    before = [p.clone() for p in model.parameters()]
    fit(model, lambda k: (x, y), mean_square, steps=3, lr=0.1, device=CPU, weight_decay=0.5)
    unchanged = [torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)]
    assert unchanged == [True, True, False, False]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_an_error_with_a_mend(value):
    def broken(model, batch):
        return model(batch).square().sum() * value

    with pytest.raises(FloatingPointError, match=rf"the loss is {value}.*lower the learning rate or look at the batch"):
        fit(linear(), lambda k: torch.ones(1, 3).double(), broken, steps=1, lr=0.1, device=CPU)


def test_a_step_without_targets_is_an_error():
    with pytest.raises(FloatingPointError, match="over 0 targets"):
        fit(
            linear(),
            lambda k: torch.ones(1, 3).double(),
            lambda model, x: (model(x).sum(), 0),
            steps=1,
            lr=0.1,
            device=CPU,
        )


def test_progress_is_printed_as_plain_lines_every_few_seconds(monkeypatch, capsys):
    clock = iter(range(0, 1000, 2))
    monkeypatch.setattr(training, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    x, y = data(4)
    losses = fit(linear(), lambda k: (x, y), mean_square, steps=6, lr=0.1, device=CPU)
    lines = [f"step     {n} of 6  loss {sum(losses[:n]) / n:.3f}" for n in (3, 6)]
    assert capsys.readouterr().out.splitlines() == lines


@pytest.mark.parametrize(("n", "batch_size"), [(12, 4), (13, 4), (5, 5), (3, 1)])
def test_every_row_comes_once_an_epoch_in_an_order_of_its_own(n, batch_size):
    rows, per_epoch = epochs(n, batch_size), n // batch_size
    orders = [torch.cat([rows(e * per_epoch + i) for i in range(per_epoch)]).tolist() for e in range(3)]
    for order in orders:
        assert len(order) == len(set(order)) == per_epoch * batch_size
        assert set(order) <= set(range(n))
    assert len({tuple(order) for order in orders}) > 1


def test_batches_are_a_pure_function_of_their_number_and_the_seed():
    rows = epochs(20, 4)
    forwards = [rows(k).tolist() for k in range(10)]
    state = torch.get_rng_state()
    assert [epochs(20, 4)(k).tolist() for k in reversed(range(10))] == forwards[::-1]
    assert torch.equal(torch.get_rng_state(), state)  # dropout's numbers do not depend on the batches
    assert [epochs(20, 4, seed=1)(k).tolist() for k in range(10)] != forwards


def test_a_batch_larger_than_the_set_is_refused():
    with pytest.raises(ValueError, match="batch_size is 5, but there are only 4 rows"):
        epochs(4, 5)


class Network(nn.Module):
    """A small network with everything that resuming must restore: dropout, a buffer, a frozen and a scalar weight."""

    def __init__(self, width: int = 16):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width), nn.Dropout(0.5), nn.Linear(width, 2))
        self.scale = nn.Parameter(torch.ones(()))
        self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) * self.scale * self.frozen


def train(folder: Path | None, before: Callable[[int], None] = lambda k: None, **changed) -> list[float]:
    """A run with dropout, in bfloat16 where that is native, with a checkpoint every second step."""
    torch.set_num_threads(course.THREADS)
    x, y = (part.float() for part in data(32))
    rows = epochs(32, 8)

    def batches(k: int) -> tuple[Tensor, Tensor]:
        before(k)
        return x[rows(k)], y[rows(k)]

    def loss(model, batch):
        return (model(batch[0]) - batch[1]).float().square().mean()

    options = {"steps": STEPS, "lr": 0.01, "device": CPU, "precision": fast_precision(CPU), "accumulate": 2}
    model = changed.pop("model", None) or Network()
    torch.manual_seed(5)
    return fit(model, batches, loss, checkpoint=folder, save_every=2, **options | changed)


@pytest.fixture(scope="module")
def uninterrupted() -> list[float]:
    """The loss of each step when nothing happens."""
    return train(None)


class Interruption(Exception):
    """Someone interrupts the kernel."""


def stop_at(number: int) -> Callable[[int], None]:
    """Interrupt at a micro-batch."""

    def before(k: int) -> None:
        if k == number:
            raise Interruption

    return before


@pytest.fixture
def interrupted(tmp_path) -> Path:
    """The folder of a run that stopped in its sixth step, after the checkpoint of its fourth."""
    with pytest.raises(Interruption):
        train(tmp_path / "run", stop_at(11))
    return tmp_path / "run"


def die_in_a_batch(folder: Path) -> None:
    """End the process as the power does, in the sixth step."""
    train(folder, lambda k: os.kill(os.getpid(), signal.SIGKILL) if k == 11 else None)


def die_in_a_save(folder: Path) -> None:
    """End the process between two files of the checkpoint of the sixth step."""
    write = training.write_atomically

    def dying(path: Path, content: str | bytes) -> None:
        write(path, content)
        if "step-00000006" in str(path) and path.name == "optimizer.safetensors":
            os.kill(os.getpid(), signal.SIGKILL)

    training.write_atomically = dying
    train(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no kill -9")
@pytest.mark.parametrize("death", [die_in_a_batch, die_in_a_save])
def test_a_killed_run_goes_on_bit_for_bit(death, python, tmp_path, uninterrupted):
    code = f"import test_training; from pathlib import Path; test_training.{death.__name__}(Path({str(tmp_path)!r}))"
    assert python(code).returncode == -signal.SIGKILL
    assert (tmp_path / "step-00000004").is_dir()
    assert train(tmp_path) == uninterrupted
    assert [path.name for path in tmp_path.iterdir()] == [f"step-{STEPS:08d}"]  # no draft, no older one


def test_an_interrupted_run_goes_on_bit_for_bit_in_parameters_buffers_and_batches(interrupted, uninterrupted):
    torch.rand(17)  # the generator is elsewhere when a run goes on
    asked, resumed, whole = [], Network(), Network()
    assert train(interrupted, asked.append, model=resumed) == uninterrupted == train(None, model=whole)
    assert asked == list(range(8, 2 * STEPS))
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_a_finished_run_is_only_loaded(tmp_path, uninterrupted):
    train(tmp_path, model=(trained := Network()))
    asked, loaded = [], Network()
    assert train(tmp_path, asked.append, model=loaded) == uninterrupted
    assert asked == []
    assert all(torch.equal(a, b) for a, b in zip(trained.parameters(), loaded.parameters(), strict=True))


def test_tied_weights_are_saved_and_stay_tied(tmp_path):
    def tied() -> nn.Module:
        model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2))
        model[1].weight = model[0].weight
        return model

    losses = train(tmp_path, model=tied())
    assert train(tmp_path, model=(loaded := tied())) == losses
    assert loaded[1].weight is loaded[0].weight


def test_a_checkpoint_holds_no_pickle(interrupted):
    (folder,) = interrupted.iterdir()
    names = ["model.safetensors", "optimizer.safetensors", "random.safetensors", "state.json"]
    assert sorted(path.name for path in folder.iterdir()) == names
    for name in names[:-1]:
        with safetensors.safe_open(folder / name, "pt") as file:
            assert list(file.keys())
    assert json.loads((folder / "state.json").read_text())["settings"]["steps"] == STEPS


def truncate(path: Path) -> None:
    """Cut a file short."""
    path.write_bytes(path.read_bytes()[:-1])


def alter(path: Path) -> None:
    """Change the last bit of a file."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors", "random.safetensors", "state.json"])
@pytest.mark.parametrize("damage", [truncate, alter, Path.unlink])
def test_a_damaged_checkpoint_is_refused_with_its_name_and_the_mend(file, damage, interrupted):
    damage(interrupted / "step-00000004" / file)
    with pytest.raises(CheckpointError) as caught:
        train(interrupted)
    assert str(interrupted / "step-00000004") in str(caught.value)
    assert "delete" in str(caught.value)
    assert "to go on from an older checkpoint or to start again" in str(caught.value)
    shutil.rmtree(interrupted / "step-00000004")  # the mend
    assert len(train(interrupted)) == STEPS


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"steps": 9}, "steps"),
        ({"lr": 0.02, "clip": 0.5}, "lr, clip"),
        ({"weight_decay": 0.1}, "weight_decay"),
        ({"warmup": 0.5}, "warmup"),
        ({"accumulate": 1}, "accumulate"),
        ({"precision": torch.float16}, "precision"),
    ],
    ids=str,
)
def test_a_checkpoint_of_another_run_is_refused_with_what_differs(changed, named, interrupted):
    mend = "continue with the same settings or name a new folder"
    with pytest.raises(CheckpointError, match=f"step-00000004 was made with other values of {named}; {mend}"):
        train(interrupted, **changed)


@pytest.mark.parametrize("change", ["width", "frozen"])
def test_a_checkpoint_of_another_model_is_refused(change, interrupted):
    model = Network(8) if change == "width" else Network()
    model.layers[0].requires_grad_(change != "frozen")
    with pytest.raises(CheckpointError, match="other values of trained parameters"):
        train(interrupted, model=model)


def test_a_full_disk_stops_the_run_but_the_older_checkpoint_goes_on(small_disk, uninterrupted):
    def fill(k: int) -> None:
        if k == 10 and not (small_disk / "filler").exists():
            free = shutil.disk_usage(small_disk).free
            (small_disk / "filler").write_bytes(bytes(free - 8192))

    with pytest.raises(OSError, match=r"could not be written \(No space left on device\); make room") as caught:
        train(small_disk / "run", fill)
    assert caught.value.errno == errno.ENOSPC
    assert [path.name for path in (small_disk / "run").iterdir()] == ["step-00000004"]
    (small_disk / "filler").unlink()
    assert train(small_disk / "run") == uninterrupted


def test_the_generators_of_an_accelerator_are_kept_too(monkeypatch):
    states = {0: torch.arange(4).byte()}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: [states[0]])
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: states.update({device: state}))
    saved = training._random_state()
    states[0] = torch.zeros(4).byte()
    training._restore_random_state(saved)
    assert states[0].tolist() == [0, 1, 2, 3]


def test_a_model_in_channels_last_is_saved_and_goes_on(tmp_path):
    def run(folder):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 1)).to(memory_format=torch.channels_last)
        picture = torch.ones(2, 3, 3, 3)

        def loss(model, x):
            return model(x).square().mean()

        return training.fit(
            model, lambda k: picture, loss, steps=2, lr=0.1, device=CPU, checkpoint=folder, save_every=1
        )

    assert run(tmp_path) == run(tmp_path) == run(None)
