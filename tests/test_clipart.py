"""The clip art is as much as its source says, decodes, is free, fit for a classroom, and its splits hold."""

from __future__ import annotations

import importlib.util
import itertools
import re
import shutil

import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from mmcook import datasets
from mmcook.datasets import tables
from mmcook.datasets.tables import DataError

PARTS = ("train", "validation", "test")
FOLDER = tables.DATA / "clipart"
SOURCE = (FOLDER / "SOURCE.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def clipart() -> datasets.Clipart:
    """All clip art."""
    return datasets.clipart()


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """The table itself, with the names of the files."""
    return pd.read_parquet(FOLDER / "clipart.parquet")


@pytest.fixture(scope="module")
def build():
    """The builder, for its rules."""
    spec = importlib.util.spec_from_file_location("build_clipart", FOLDER / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def apart(clipart) -> torch.Tensor:
    """Root mean square distances between the thumbnails of 16 pixels."""
    small = F.avg_pool2d(clipart.images.float(), 4).flatten(1).double()
    return torch.cdist(small, small) / small.shape[1] ** 0.5


def stated(pattern: str) -> list[int]:
    """The numbers that SOURCE.md gives at a place."""
    found = re.search(pattern, SOURCE)
    assert found, f"SOURCE.md no longer says {pattern!r}"
    return [int(number.replace(",", "")) for number in found.groups()]


def words(text: str) -> str:
    """The words of a title without digits and single letters."""
    return " ".join(word for word in re.findall(r"[^\W\d_]+", text.lower()) if len(word) > 1)


def test_there_are_as_many_drawings_as_the_source_says_with_everything_of_each(clipart, table):
    (n,) = stated(r"^# clipart\s+([\d,]+) drawings")
    columns = [clipart.images, clipart.titles, clipart.keywords, clipart.categories, clipart, table]
    assert {len(column) for column in columns} == {n}
    assert table["name"].is_unique
    assert [name.rpartition("/")[0] for name in table["name"]] == clipart.categories
    assert all(title == title.strip() != "" for title in clipart.titles)
    assert not any(word.startswith("hash") or word.strip() != word for word in itertools.chain(*clipart.keywords))


def test_what_was_left_out_adds_up_to_the_package():
    (kept,) = stated(r"^# clipart\s+([\d,]+) drawings")
    (packaged,) = stated(r"package's ([\d,]+) files")
    left_out = [int(n.replace(",", "")) for n in re.findall(r"^\| [a-z][^|]* \| ([\d,]+) \|", SOURCE, re.MULTILINE)]
    assert kept + sum(left_out) == packaged
    assert len(left_out) == 11  # one rule a row


def test_every_drawing_is_a_picture_of_64_pixels_that_fills_its_square(clipart):
    assert (clipart.images.shape[1:], clipart.images.dtype) == ((3, 64, 64), torch.uint8)
    dark = (clipart.images.amin(1) < 235).float()
    touches = (dark.amax(1)[:, [0, 1, -2, -1]].sum(1) > 0) | (dark.amax(2)[:, [0, 1, -2, -1]].sum(1) > 0)
    assert touches.float().mean() > 0.95  # cropped to the drawing
    assert (255 - clipart.images.float()).flatten(1).mean(1).min() > 3  # none is blank


def test_no_two_drawings_are_nearly_equal(apart):
    off = apart + 1e9 * torch.eye(len(apart), dtype=apart.dtype)
    assert off.min() > 5  # 6 before the loss of JPEG


def test_splits_have_the_sizes_that_the_source_gives_and_hold_every_drawing_once(clipart):
    assert tuple(clipart.splits) == PARTS
    sizes = stated(r"([\d,]+) train, ([\d,]+) validation, ([\d,]+) test")
    assert [len(clipart.splits[part]) for part in PARTS] == sizes
    assert torch.equal(torch.cat(list(clipart.splits.values())).sort().values, torch.arange(len(clipart)))
    assert all(0.035 < size / len(clipart) < 0.075 for size in sizes[1:])


def test_no_family_by_title_or_file_name_stands_in_two_parts(clipart, table):
    stems = [name.rpartition("/")[2] for name in table["name"]]
    for texts in (clipart.titles, stems):
        keys = [(c, words(text)) if words(text) else None for c, text in zip(clipart.categories, texts, strict=True)]
        sides = [{keys[i] for i in rows.tolist()} - {None} for rows in clipart.splits.values()]
        assert all(not a & b for a, b in itertools.combinations(sides, 2))


def test_no_drawing_looks_like_one_of_another_part(clipart, apart):
    for one, other in itertools.combinations(PARTS, 2):
        assert apart[clipart.splits[one]][:, clipart.splits[other]].min() > 11  # 12 before the loss of JPEG


def test_nothing_unfit_for_a_classroom_and_no_series_is_in_the_table(table, build):
    unfit = tuple(itertools.chain(*build.UNFIT.values()))
    assert len(unfit) > 40
    assert [name for name in table["name"] if name.startswith(unfit) or build.SERIES.match(name)] == []
    stems = tuple(start.rpartition("/")[2] for start in unfit)
    assert [s for name in table["name"] if (s := name.rpartition("/")[2]).startswith(stems)] == [
        "eris_apple_nurbldoff_01"
    ]
    telling = r"gun\b|ak47|nude|naked|cannabis|swastika|sunwheel|stripper|gallows|sexy|bullet_hole|pantyhose"
    assert [name for name in table["name"] if re.search(telling, name)] == []


def test_a_copy_of_an_unfit_drawing_in_another_folder_is_unfit_too(build):
    names = ["decorations/sunwheel_a", "signs_and_symbols/sunwheel_a", "signs_and_symbols/sun"]
    assert build.unfit(names) == dict.fromkeys(names[:2], "emblems of hate")


@pytest.mark.parametrize(
    ("name", "author", "title"),
    [
        ("animals/lion_nicu_buculei_01", "Nicu Buculei", "lion"),
        ("animals/lion_nicu_buc_01", "Nicu Buculei", "lion"),
        ("animals/lion_cub_02", "", "lion cub"),
        ("shapes/star-red", "Jon", "star red"),
    ],
)
def test_a_file_name_becomes_a_title_without_author_and_number(name, author, title, build):
    assert build.file_title(name, author) == title


def test_the_table_is_small_and_its_licence_and_source_are_said(clipart):
    assert (FOLDER / "clipart.parquet").stat().st_size < 9.5e6
    assert sum(path.stat().st_size for path in tables.DATA.rglob("*") if path.is_file()) < 45e6
    licence = (FOLDER / "LICENSE").read_text(encoding="utf-8")
    assert "Copyright-Only Dedication" in licence
    assert "public domain" in clipart.licence
    assert clipart.source == "data/clipart/SOURCE.md"


def test_an_altered_table_is_refused(tmp_path, monkeypatch):
    shutil.copytree(FOLDER, tmp_path / "clipart")
    monkeypatch.setattr(tables, "DATA", tmp_path)
    file = tmp_path / "clipart" / "clipart.parquet"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"data/clipart/clipart\.parquet is not the file that was committed"):
        datasets.clipart()
