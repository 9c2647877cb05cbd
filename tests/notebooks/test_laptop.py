"""`make verify`: every chapter, re-executed at laptop scale by nbval, still says and measures what was committed."""

import json
import os
import subprocess
import sys

import pytest

from mmcook import chapters
from mmcook.course import REPOSITORY

pytestmark = pytest.mark.laptop
WITHOUT_BF16 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}


def nbval(notebook, folder, **environment):
    """Re-execute a notebook with nothing cached; returns the finished process and where its record goes."""
    record = folder / "record.json"
    here = {"CUDA_VISIBLE_DEVICES": "", "MMCOOK_RECORDS": str(record), "MMCOOK_FEATURES": str(folder / "features")}
    options = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=600", "-p", "no:cacheprovider", "-q"]
    command = [sys.executable, "-m", "pytest", *options, "-o", "addopts=", str(notebook)]
    done = subprocess.run(command, env=os.environ | here | environment, capture_output=True, text=True, cwd=REPOSITORY)
    return done, record


@pytest.mark.parametrize("chapter", chapters.chapters(), ids=lambda path: path.stem)
def test_chapter_repeats_its_committed_record(chapter, tmp_path):
    done, record = nbval(chapter, tmp_path)
    assert done.returncode == 0, done.stdout[-6000:]
    fresh = json.loads(record.read_text())
    assert chapters.differences(fresh, chapters.read_record(chapter), numbers=True) == []
    print(f"{chapter.stem}: {fresh['seconds']} s, {fresh['peak_gib']} GiB")


def test_claims_of_chapter_00_hold_on_a_processor_without_bf16(tmp_path):
    done, record = nbval(chapters.find("00"), tmp_path, **WITHOUT_BF16)
    assert done.returncode == 0, done.stdout[-6000:]
    fresh = json.loads(record.read_text())
    assert "float32" in fresh["hardware"]
    assert all(claim["holds"] for claim in fresh["claims"])
