"""A notebook's run: its scale, seed, device and precision, what it claims, and the record of both."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import platform
import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    import torch

T = TypeVar("T")
REPOSITORY = Path(__file__).resolve().parents[1]
SCALES = ("smoke", "laptop", "gpu")
THREADS = 2  # sums over two threads and over one differ by 1e-5: a record needs a fixed number
TOLERANCE = 0.02  # a metric may differ by this much between machines, unless it states its own
# idle threads sleep instead of spinning: with anything else on the cores, small steps are up to 15 times faster.
# Read once, when torch is imported
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
KEEP_GOING = "MMCOOK_KEEP_GOING"  # set while seeds are recorded: a claim that fails is recorded and does not stop
CLAIM_TYPE = "application/vnd.mmcook.claim+json"
RECORD_TYPE = "application/vnd.mmcook.record+json"


class ClaimError(AssertionError):
    """A sentence of the chapter is not true in this run."""


def start(scale: str, seed: int = 0) -> Run:
    """Begin a notebook's run: seed everything, fix the threads, pick device and precision, quieten libraries.

    Args:
        scale: "smoke" (everything executes), "laptop" (what is committed and read) or "gpu" (full training).
        seed: seed of Python, NumPy and torch.
    Raises:
        ValueError: the scale is none of the three, or the seed is not a whole number from 0.
    """
    if scale not in SCALES:
        raise ValueError(f"scale is {scale!r}; expected one of {', '.join(map(repr, SCALES))}")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed is {seed!r}; expected a whole number from 0")
    _quieten()
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries still draw from the global state
    torch.manual_seed(seed)
    torch.set_num_threads(THREADS)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run = Run(scale=scale, seed=seed, device=device, precision=fast_precision(device))
    print(f"{scale} scale, seed {seed}, {run.hardware}")
    return run


def fast_precision(device: torch.device) -> torch.dtype:
    """bfloat16 where the device computes in it; float32 where it would only be emulated, at a tenth of the speed."""
    import torch

    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.bfloat16 if native else torch.float32


@dataclass
class Run:
    """One execution of a chapter. Made by :func:`start`."""

    scale: str
    seed: int
    device: torch.device
    precision: torch.dtype
    stages: dict[str, float] = field(default_factory=dict)
    claims: list[dict[str, Any]] = field(default_factory=list)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    began: float = field(default_factory=time.perf_counter)

    @property
    def hardware(self) -> str:
        """Device and precision in words."""
        import torch

        name = torch.cuda.get_device_name() if self.device.type == "cuda" else f"CPU with {THREADS} threads"
        return f"{name}, {str(self.precision).removeprefix('torch.')}"

    def pick(self, *, smoke: T, laptop: T, gpu: T) -> T:
        """The value for this run's scale."""
        return {"smoke": smoke, "laptop": laptop, "gpu": gpu}[self.scale]

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a part of the chapter: ``with run.stage("features"): …`` (seconds)."""
        start = time.perf_counter()
        yield
        self.stages[name] = self.stages.get(name, 0.0) + time.perf_counter() - start

    def metric(
        self,
        name: str,
        value: float,
        interval: tuple[float, float] | None = None,
        *,
        tolerance: float = TOLERANCE,
    ) -> None:
        """Record a number of the chapter, so that a later run can be compared with it.

        Args:
            name: what is measured, with its unit.
            value: the number.
            interval: its 95 % interval.
            tolerance: how far another machine's number may lie from this one; ``math.inf`` for speeds.
        Raises:
            ValueError: the name is taken, or the value is not finite.
        """
        if any(metric["name"] == name for metric in self.metrics):
            raise ValueError(f"metric {name!r} is already recorded in this run; give each number its own name")
        numbers = [float(value), *(float(edge) for edge in interval or ())]
        if not all(map(math.isfinite, numbers)):
            raise ValueError(f"metric {name!r} is {numbers}; expected finite numbers")
        low, high = numbers[1:] or (None, None)
        tolerance = None if math.isinf(tolerance) else tolerance
        self.metrics.append({"name": name, "value": numbers[0], "low": low, "high": high, "tolerance": tolerance})

    def claim(self, sentence: str, holds: bool, evidence: str, *, headline: bool = False) -> None:
        """State a sentence of the chapter, whether it holds in this run, and the numbers that show it.

        Args:
            sentence: what the chapter says.
            holds: the comparison, computed in this run.
            evidence: the numbers behind it.
            headline: whether the chapter table quotes this claim; one a chapter.
        Raises:
            ClaimError: it does not hold, at laptop or gpu scale; smoke runs record it only.
            TypeError: ``holds`` is not a truth value.
        """
        kind = str(getattr(holds, "dtype", type(holds).__name__))  # of NumPy and torch too, but one value only
        if kind not in ("bool", "torch.bool") or math.prod(getattr(holds, "shape", ())) != 1:
            raise TypeError(f"holds is {type(holds).__name__}; expected the truth value of a comparison")
        entry = {"sentence": sentence, "holds": bool(holds), "evidence": evidence, "headline": headline}
        self.claims.append(entry)
        judged = self.scale != "smoke"
        mark = ("holds" if entry["holds"] else "FAILS") if judged else "not judged at smoke scale"
        _display(CLAIM_TYPE, entry, f"Claim {mark}: {sentence} ({evidence})")
        if judged and not entry["holds"] and KEEP_GOING not in os.environ:
            raise ClaimError(f"this run does not bear out: {sentence} ({evidence})")

    def summary(self) -> None:
        """Close the run: show its claims, numbers, seconds and memory, and write the record if asked.

        With the environment variable ``MMCOOK_RECORDS`` set to a file's path, the record is written there as JSON.
        """
        record = self.record()
        _display(RECORD_TYPE, record, _summary_text(record), _summary_html(record))
        if target := os.environ.get("MMCOOK_RECORDS"):
            write_atomically(Path(target), json.dumps(record, indent=1, ensure_ascii=False) + "\n")

    def record(self) -> dict[str, Any]:
        """The run as data: where it ran, what it claimed and measured, and what that cost."""
        import torch

        hub = sys.modules.get("mmcook.hub")
        return {
            "scale": self.scale,
            "seed": self.seed,
            "device": self.device.type,
            "hardware": self.hardware,
            "versions": {"python": platform.python_version(), "torch": torch.__version__},
            "weights": dict(hub.SOURCES) if hub else {},
            "claims": self.claims,
            "metrics": self.metrics,
            "stages": {name: round(seconds, 1) for name, seconds in self.stages.items()},
            "seconds": round(time.perf_counter() - self.began, 1),
            "peak_gib": round(peak_memory_gib(), 2),
        }


def recorded(chapter: str) -> pd.DataFrame:
    """The committed record of a chapter over several seeds: mean and 95 % interval of each number.

    Args:
        chapter: its file name without the ending, "07_contrastive_alignment".
    Raises:
        FileNotFoundError: no record has been written; ``make seeds`` writes it.
    """
    import pandas as pd

    path = REPOSITORY / "notebooks" / "records" / f"{chapter}.json"
    if not path.is_file():
        raise FileNotFoundError(f"no record of {chapter!r} over several seeds; write it with: mmcook seeds {chapter}")
    record = json.loads(path.read_text(encoding="utf-8"))
    return pd.DataFrame(record["metrics"], columns=["name", "mean", "low", "high", "values"]).set_index("name")


def peak_memory_gib() -> float:
    """The most memory that this process has held, in GiB."""
    import psutil

    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset / 2**30
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that it is there whole or not at all, even if the disk fills up or the power goes."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    data = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(draft, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        full = error.errno == errno.ENOSPC
        mend = f"make room for {len(data) / 2**20:.1f} MiB" if full else f"see that {path.parent} can be written"
        raise OSError(error.errno, f"{path} could not be written ({error.strerror}); {mend}", str(path)) from error


def _quieten() -> None:
    """Switch off other libraries' progress bars and notices; they spoil saved notebooks."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


def _display(kind: str, data: dict[str, Any], text: str, html: str | None = None) -> None:
    """Show a text with its data beside it in a notebook; print it elsewhere."""
    from IPython import get_ipython

    if get_ipython() is None:
        print(text)
        return
    from IPython.display import display

    bundle = {kind: data, "text/plain": text}
    display(bundle | {"text/html": html} if html else bundle, raw=True)


def _metric_text(metric: dict[str, Any]) -> str:
    """A number with its interval."""
    interval = "" if metric["low"] is None else f" [{metric['low']:.3f}, {metric['high']:.3f}]"
    return f"{metric['value']:.3f}{interval}"


def _summary_text(record: dict[str, Any]) -> str:
    """The record as plain text."""
    held = sum(claim["holds"] for claim in record["claims"])
    lines = [f"{held} of {len(record['claims'])} claims hold at {record['scale']} scale, seed {record['seed']}."]
    lines += [f"{metric['name']}: {_metric_text(metric)}" for metric in record["metrics"]]
    lines.append(f"{record['seconds']:.0f} s and {record['peak_gib']:.1f} GiB on {record['hardware']}.")
    return "\n".join(lines)


def _summary_html(record: dict[str, Any]) -> str:
    """The record as a small table."""
    import html

    head, *_, foot = _summary_text(record).split("\n")
    rows = [(metric["name"], _metric_text(metric)) for metric in record["metrics"]]
    rows += [(claim["sentence"], claim["evidence"]) for claim in record["claims"]]
    cells = "".join(f"<tr><td>{html.escape(a)}</td><td>{html.escape(b)}</td></tr>" for a, b in rows)
    return f"<p>{html.escape(head)}</p><table>{cells}</table><p>{html.escape(foot)}</p>"
