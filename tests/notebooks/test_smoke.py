"""Every chapter executes at smoke scale, and does what the committed one did."""

import pytest

from mmcook import chapters

LIMIT = 60  # seconds; a chapter's budget is 20, two run side by side, and chapter 07 takes about 30 alone
SLOW = 2  # times that on cores without native bfloat16


@pytest.mark.parametrize("chapter", chapters.chapters(), ids=lambda path: path.stem)
def test_chapter_executes_at_smoke_scale_as_committed(chapter, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("MMCOOK_RECORDS", str(tmp_path / "record.json"))
    executed = tmp_path / chapter.name
    record = chapters.execute(chapter, executed, scale="smoke", seed=1)
    assert chapters.differences(record, chapters.read_record(chapter), numbers=False) == []
    assert chapters.shape(executed) == chapters.shape(chapter)
    assert record["scale"] == "smoke" and (tmp_path / "record.json").is_file()
    assert record["seconds"] < LIMIT * (SLOW if record["hardware"].endswith("float32") else 1)
