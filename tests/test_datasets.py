"""The emoji are complete, their splits hold, and a damaged table is refused."""

from __future__ import annotations

import itertools
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mmcook import datasets
from mmcook.datasets import tables
from mmcook.datasets.emoji import LANGUAGES, LICENCES, VENDORS
from mmcook.datasets.tables import DataError

N = 1594


@pytest.fixture(scope="module")
def emoji() -> datasets.Emoji:
    """All emoji in all drawings."""
    return datasets.emoji()


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """A copy of the data that may be spoilt."""
    shutil.copytree(tables.DATA, tmp_path / "data")
    monkeypatch.setattr(tables, "DATA", tmp_path / "data")
    return tmp_path / "data"


def words(text: str) -> set[str]:
    """The words of a text however it is punctuated, lower case, without a plural s."""
    found = re.split(r"[\W_]+", text.lower())
    return {word.rstrip("s") if len(word) > 3 else word for word in found if word}


def held_out(emoji: datasets.Emoji) -> list[int]:
    """The rows that training must not see."""
    return [*emoji.splits["validation"].tolist(), *emoji.splits["test"].tolist()]


def test_there_are_1594_emoji_with_everything_of_each(emoji):
    assert len(emoji) == N
    columns = [emoji.characters, emoji.groups, emoji.subgroups, emoji.key_words, emoji.concept]
    assert {len(column) for column in [*columns, *emoji.names.values(), *emoji.tags.values()]} == {N}
    assert len(set(emoji.characters)) == N
    assert (len(set(emoji.groups)), len(set(emoji.subgroups))) == (9, 95)
    assert emoji.concept.dtype == torch.int64


def test_every_vendor_draws_every_emoji_in_64_pixels(emoji):
    assert list(emoji.images) == list(VENDORS)
    for images in emoji.images.values():
        assert (images.shape, images.dtype) == ((N, 3, 64, 64), torch.uint8)
        assert (images.float().flatten(1).std(dim=1) > 1).all()  # no drawing is blank


def test_vendors_draw_the_same_thing_each_in_its_own_way(emoji):
    files = [tables.DATA / folder / f"{vendor}.parquet" for vendor, folder in VENDORS.items()]
    codes = [pd.read_parquet(path, columns=["hexcode"]) for path in [tables.DATA / "emoji" / "names.parquet", *files]]
    assert all(code.equals(codes[0]) for code in codes)
    grey = [images.float().mean(dim=1).flatten(1) for images in emoji.images.values()]
    for a, b in itertools.combinations([images - images.mean(dim=0) for images in grey], 2):
        assert (a != b).any(dim=1).all()
        same, other = (torch.cosine_similarity(a, b.roll(shift, 0)).mean() for shift in (0, N // 2))
        assert same > other + 0.1


def test_only_the_vendors_asked_for_are_loaded():
    chosen = datasets.emoji(("openmoji",))
    assert list(chosen.images) == ["openmoji"]
    assert list(chosen.licences) == ["openmoji", "names"]


def test_an_unknown_vendor_is_refused():
    with pytest.raises(ValueError, match="no drawings by apple; vendors are noto, twemoji, fluent, openmoji"):
        datasets.emoji(("noto", "apple"))


def test_every_language_has_a_name_for_each(emoji):
    assert tuple(emoji.names) == tuple(emoji.tags) == LANGUAGES
    assert all(name.strip() for names in emoji.names.values() for name in names)
    assert len(set(emoji.names["en"])) == N
    scripts = {"zh": r"[\u4e00-\u9fff]", "ja": r"[\u3040-\u30ff\u4e00-\u9fff]", "ru": r"[\u0400-\u04ff]"}
    for language, script in scripts.items():
        assert sum(bool(re.search(script, name)) for name in emoji.names[language]) > 0.98 * N


def test_splits_are_disjoint_and_complete(emoji):
    assert {part: len(rows) for part, rows in emoji.splits.items()} == {"train": 1144, "validation": 150, "test": 300}
    assert torch.cat(list(emoji.splits.values())).sort().values.tolist() == list(range(N))


def test_no_concept_and_no_key_word_stands_in_two_splits(emoji):
    concepts = [set(emoji.concept[rows].tolist()) for rows in emoji.splits.values()]
    keys = [frozenset().union(*(emoji.key_words[i] for i in rows)) for rows in emoji.splits.values()]
    for sides in (concepts, keys):
        assert all(not a & b for a, b in itertools.combinations(sides, 2))


def test_emoji_that_share_a_key_word_are_one_concept(emoji):
    by_word: dict[str, set[int]] = {}
    for keys, concept in zip(emoji.key_words, emoji.concept.tolist(), strict=True):
        for word in keys:
            by_word.setdefault(word, set()).add(concept)
    assert {len(concepts) for concepts in by_word.values()} == {1}


def test_key_words_are_words_of_the_name_and_every_held_out_emoji_has_one(emoji):
    assert all(keys <= words(name) for keys, name in zip(emoji.key_words, emoji.names["en"], strict=True))
    assert all(emoji.key_words[i] for i in held_out(emoji))


def test_no_training_name_or_tag_holds_a_key_word_of_a_held_out_name(emoji):
    banned = frozenset().union(*(emoji.key_words[i] for i in held_out(emoji)))
    tags, rows = emoji.training_tags(), emoji.splits["train"].tolist()
    assert {emoji.names["en"][i] for i in rows if words(emoji.names["en"][i]) & banned} == set()
    assert {tag for i in rows for tag in tags[i] if words(tag) & banned} == set()
    given = [tag for i in rows for tag in emoji.tags["en"][i]]
    assert 0.5 * len(given) < sum(len(tags[i]) for i in rows) < len(given)


def test_the_licence_of_every_vendor_and_of_the_names_is_said(emoji):
    assert set(emoji.licences) == set(LICENCES) == {*VENDORS, "names"}
    for folder in VENDORS.values():
        assert f"data/{folder}/SOURCE.md" in emoji.source


def test_folders_of_data_are_those_that_the_library_knows():
    assert sorted(path.name for path in tables.DATA.iterdir() if path.is_dir()) == sorted(tables.FOLDERS)
    for folder in tables.FOLDERS:
        tables.check_folder(folder)
        sums = (tables.DATA / folder / "SHA256SUMS").read_text().splitlines()
        assert {line.split()[1] for line in sums} == {path.name for path in (tables.DATA / folder).glob("*.parquet")}


def truncate(path: Path) -> None:
    """Cut a file short."""
    path.write_bytes(path.read_bytes()[:-1000])


def alter(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "missing": (Path.unlink, "is missing"),
    "truncated": (truncate, "is not the file that was committed"),
    "altered": (alter, "is not the file that was committed"),
}


@pytest.mark.parametrize("file", ["emoji/names.parquet", "emoji/noto.parquet"])
@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_table_is_refused_by_name_with_the_mend(file, damage, message, data):
    damage(data / file)
    with pytest.raises(DataError, match=f"data/{file} {message}.*git checkout -- data"):
        datasets.emoji(("noto",))


SPOILT_SUMS = {
    "missing": (Path.unlink, "SHA256SUMS is missing or not a list of sums"),
    "no sums": (lambda path: path.write_text("fluent.parquet\n"), "SHA256SUMS is missing or not a list of sums"),
    "empty": (lambda path: path.write_text(""), "names.parquet is not the file that was committed"),
}


@pytest.mark.parametrize(("damage", "message"), SPOILT_SUMS.values(), ids=SPOILT_SUMS.keys())
def test_a_damaged_list_of_sums_is_refused_with_the_mend(damage, message, data):
    damage(data / "emoji" / "SHA256SUMS")
    with pytest.raises(DataError, match=f"{message}.*git checkout -- data"):
        datasets.emoji(("noto",))


def test_a_library_without_its_clone_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "DATA", tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"data/emoji/names\.parquet is missing.*pip install -e \."):
        datasets.emoji()


def test_pandas_and_hugging_face_datasets_read_the_tables(emoji, tmp_path, monkeypatch):
    from datasets import load_dataset

    path = tables.DATA / "emoji" / "noto.parquet"
    frame = pd.read_parquet(path)
    assert len(frame) == N
    assert frame["image"][0]["bytes"].startswith(b"\x89PNG")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    rows = load_dataset("parquet", data_files=str(path), split="train", cache_dir=str(tmp_path))
    picture = rows[5]["image"]  # decoded by Datasets as a PIL picture
    assert (picture.format, picture.size) == ("PNG", (64, 64))
    pixels = torch.from_numpy(np.array(picture.convert("RGB")))
    assert torch.equal(pixels.permute(2, 0, 1), emoji.images["noto"][5])
