"""The doctor finds what is here, and names the mend of what is not."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import shutil

import psutil
import pytest
import torch

from mmcook import doctor
from mmcook.datasets import tables
from mmcook.doctor import Finding


def finding(what: str) -> Finding:
    """What the doctor says about one thing."""
    return next(found for found in doctor.examine() if found.what == what)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A copy of the data that may be spoilt."""
    shutil.copytree(tables.DATA, tmp_path / "data")
    monkeypatch.setattr(tables, "DATA", tmp_path / "data")
    return tmp_path / "data"


def test_everything_that_the_tests_need_is_here():
    found = doctor.examine()
    assert [f.what for f in found if not f.found and not f.optional] == []
    assert len({f.what for f in found}) == len(found)
    assert {f.what for f in found} >= {"Python", *doctor.PACKAGES, "data emoji", "weights minilm", "accelerator"}


def test_the_report_puts_the_mend_under_what_is_missing():
    found = [
        Finding("torch", True, "2.14.1"),
        Finding("data", False, "no folder", "clone"),
        Finding("Chromium", False, "not found", "apt install chromium", optional=True),
    ]
    assert doctor.report(found).splitlines() == [
        "ok      torch                  2.14.1",
        "MISSING data                   no folder",
        "        mend: clone",
        "absent  Chromium               not found",
        "        mend: apt install chromium",
    ]


def test_a_missing_package_is_found_with_its_mend(monkeypatch):
    version = importlib.metadata.version

    def without_timm(name):
        if name == "timm":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", without_timm)
    assert finding("timm") == Finding("timm", False, "not installed", "pip install -r requirements.lock")


def test_doctor_works_where_torch_itself_is_missing(python):
    code = """
import sys
sys.modules.update(torch=None, huggingface_hub=None)
from mmcook import cli
sys.exit(cli.main(["doctor"]))
"""
    done = python(code)
    assert (done.returncode, done.stderr) == (1, "")
    for what in ("accelerator", "data", "weights"):
        assert f"MISSING {what:<22} not looked for: " in done.stdout
    assert "mend: pip install -r requirements.lock" in done.stdout


@pytest.mark.parametrize(
    ("version", "supported"), [("3.11.2", True), ("3.13.0", True), ("3.10.9", False), ("3.9.1", False)]
)
def test_an_unsupported_python_is_found(version, supported, monkeypatch):
    monkeypatch.setattr(platform, "python_version", lambda: version)
    found = doctor._python()
    assert found.found == supported
    assert found.mend == "make the environment with Python 3.11, 3.12 or 3.13"


DAMAGES = {
    "a file is missing": (
        lambda data: (data / "emoji" / "noto.parquet").unlink(),
        "data/emoji/noto.parquet is missing",
    ),
    "a file is truncated": (
        lambda data: (data / "emoji" / "noto.parquet").write_bytes(b"PAR1"),
        "data/emoji/noto.parquet is not the file that was committed (SHA-256",
    ),
    "the list is missing": (lambda data: (data / "emoji" / "SHA256SUMS").unlink(), "data/emoji/SHA256SUMS is missing"),
    "the folder is missing": (lambda data: shutil.rmtree(data / "emoji"), "data/emoji/SHA256SUMS is missing"),
}


@pytest.mark.parametrize(("damage", "detail"), DAMAGES.values(), ids=DAMAGES.keys())
def test_damaged_data_is_found_with_its_mend(damage, detail, data):
    damage(data)
    emoji, *others = doctor._data()
    assert (emoji.what, emoji.found, emoji.mend, emoji.optional) == ("data emoji", False, "git checkout -- data", False)
    assert emoji.detail.startswith(detail)
    assert [other.what for other in others if other.found] == [f"data {folder}" for folder in tables.FOLDERS[1:]]


def test_data_that_is_not_there_at_all_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "DATA", tmp_path / "nowhere")
    assert doctor._data() == [Finding("data", False, "no folder", "run mmcook from its clone: pip install -e .")]


def test_missing_weights_are_found_and_not_fetched(empty_cache):
    assert finding("weights minilm") == Finding("weights minilm", False, "not here yet", "mmcook weights minilm")
    assert not empty_cache.exists()


def test_an_accelerator_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A Card")
    assert doctor._device() == [Finding("accelerator", True, "A Card")]


@pytest.mark.parametrize(("native", "words"), [(True, "CPU in bfloat16"), (False, "CPU in float32")])
def test_without_accelerator_the_precision_of_the_processor_is_named(native, words, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(doctor, "fast_precision", lambda device: torch.bfloat16 if native else torch.float32)
    (found,) = doctor._device()
    assert found.found
    assert words in found.detail


def test_little_memory_costs_comfort_only(monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"total": 4 * 2**30}))
    (found,) = doctor._memory()
    assert (found.found, found.optional, found.detail) == (False, True, "4 GiB")


def test_one_core_costs_time_only(monkeypatch):
    monkeypatch.setattr(doctor, "os", type("System", (), {"cpu_count": lambda: 1}))
    found = doctor._processor()
    assert (found.found, found.optional, found.detail) == (False, True, "1")


def test_missing_programs_are_optional_with_their_use(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda command: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found = {f.what: f for f in doctor._programs()}
    assert {name: (f.found, f.optional) for name, f in found.items()} == dict.fromkeys(found, (False, True))
    assert found["Chromium"].mend == "only for the browser test: apt install chromium"
    assert found["pip"].mend == "to fetch weights: python -m ensurepip"
