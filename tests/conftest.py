"""What several tests need: a disk that is nearly full, an empty cache, a fresh interpreter, a small chapter."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest
import setuptools  # noqa: F401 - nbgrader needs it, and it must come before anything that imports distutils

if TYPE_CHECKING:
    from browser import Lab

SMALL_CHAPTER = {
    "parameters": 'scale = "laptop"\nseed = 0\nsize = 2',
    "start": "import mmcook\n\nrun = mmcook.start(scale, seed)",
    "picture": """from IPython.display import HTML

HTML('<img alt="nothing to be seen here" src="data:image/png;base64,AAAA">')""",
    "claim": """with run.stage("arithmetic"):
    double = 2 * size
run.metric("the double", double + seed)
run.claim("Two and two make four", double == 4, f"{double} against 4", headline=True)""",
    "end": "run.summary()",
}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of 1 MB, so that it can be filled; needs root, or CI with sudo, on Linux."""
    if sys.platform != "linux":
        pytest.skip("only Linux mounts a disk in memory")
    folder = tmp_path / "disk"
    folder.mkdir()
    root, ci = os.geteuid() == 0, bool(os.environ.get("CI"))
    become = ["sudo", "-n"] if ci and not root else []
    mount = [*become, "mount", "-t", "tmpfs", "-o", "size=1m,mode=777", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        (pytest.fail if ci else pytest.skip)(f"no disk to be filled, only root may mount one: {done.stderr.strip()}")
    yield folder
    subprocess.run([*become, "umount", str(folder)], check=True)


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the course's own and one of the hub's, both empty; returns the course's."""
    monkeypatch.setenv("MMCOOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MMCOOK_FEATURES", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "cache"


@pytest.fixture
def no_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No features cached, but the weights of this machine; returns where features will go."""
    monkeypatch.setenv("MMCOOK_FEATURES", str(tmp_path / "features"))
    return tmp_path / "features"


@pytest.fixture
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs code in a fresh interpreter beside the tests, with other variables in its environment."""

    def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
        env = os.environ | environment
        return subprocess.run(
            [sys.executable, "-c", code], env=env, cwd=Path(__file__).parent, capture_output=True, text=True
        )

    return run


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab over a copy of the notebooks, and Chromium beside it."""
    from browser import running_lab

    with running_lab(tmp_path_factory.mktemp("lab")) as running:
        yield running


@pytest.fixture(scope="session")
def small_chapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chapter of five code cells, in a folder of its own, not executed."""
    cells = [nbformat.v4.new_markdown_cell("# 03 A small chapter\nTwo and two.")]
    cells += [nbformat.v4.new_code_cell(source) for source in SMALL_CHAPTER.values()]
    cells[1].metadata["tags"] = ["parameters"]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    path = tmp_path_factory.mktemp("notebooks") / "03_small.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path
