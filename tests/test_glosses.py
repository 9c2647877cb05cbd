"""The glosses are as many as their source says, their splits share no run of words, and they load fast."""

from __future__ import annotations

import collections
import itertools
import re
import shutil
import time

import pytest
import torch

from mmcook import datasets
from mmcook.course import fast_precision
from mmcook.datasets import lemma, tables
from mmcook.datasets.tables import DataError

PARTS = ("train", "validation", "test")
FOLDER = tables.DATA / "glosses"
SOURCE = (FOLDER / "SOURCE.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def glosses() -> datasets.Glosses:
    """All glosses."""
    return datasets.glosses()


def stated(pattern: str) -> list[int]:
    """The numbers that SOURCE.md gives at a place."""
    found = re.search(pattern, SOURCE)
    assert found, f"SOURCE.md no longer says {pattern!r}"
    return [int(number.replace(",", "")) for number in found.groups()]


def words(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation."""
    return re.findall(r"[^\W_]+", text.lower())


def runs(texts: list[str], n: int) -> set[tuple[str, ...]]:
    """Every n words in a row of some texts."""
    return {tuple(w[i : i + n]) for w in map(words, texts) for i in range(len(w) - n + 1)}


@pytest.fixture(scope="module")
def parts(glosses) -> dict[str, list[int]]:
    """The rows of each part."""
    return {part: rows.tolist() for part, rows in glosses.splits.items()}


def row_of(glosses: datasets.Glosses, *lemmas: str) -> int:
    """The row of the synset that has exactly these words."""
    (row,) = [i for i, found in enumerate(glosses.words) if found == list(lemmas)]
    return row


def test_there_are_as_many_glosses_as_the_source_says_with_everything_of_each(glosses):
    n, examples, with_examples = stated(r"([\d,]+) synsets of WordNet,[^,]*,? .*?([\d,]+) examples .*?\(at ([\d,]+) ")
    columns = [glosses.definitions, glosses.examples, glosses.words, glosses.topics, glosses.hypernyms]
    assert {len(column) for column in [*columns, glosses.parts_of_speech, glosses]} == {n} == {117_659}
    assert sum(map(len, glosses.examples)) == examples
    assert sum(map(bool, glosses.examples)) == with_examples
    assert all(glosses.words)


def test_parts_of_speech_are_counted_and_agree_with_the_topics(glosses):
    counts = stated(r"([\d,]+) nouns, ([\d,]+) verbs, ([\d,]+) adjectives, ([\d,]+) adverbs")
    found = collections.Counter(glosses.parts_of_speech)
    assert [found[kind] for kind in ("noun", "verb", "adjective", "adverb")] == counts
    assert len(set(glosses.topics)) == 45
    assert all(kind.startswith(t[:3]) for kind, t in zip(glosses.parts_of_speech, glosses.topics, strict=True))


def test_texts_are_clean(glosses):
    texts = [*glosses.definitions, *itertools.chain(*glosses.examples), *itertools.chain(*glosses.words)]
    assert all(text == text.strip() != "" and text.isascii() for text in texts)
    assert all(words(text) for text in glosses.definitions)
    assert not any('"' in text for text in itertools.chain(*glosses.examples))
    assert not any("_" in word for word in itertools.chain(*glosses.words))
    assert sum('"' in text for text in glosses.definitions) == stated(r"(\d+) definitions hold quotation marks")[0]


def test_a_row_is_its_synset(glosses):
    goat = row_of(glosses, "billy", "billy goat", "he-goat")
    assert glosses.definitions[goat] == "male goat"
    assert (glosses.topics[goat], glosses.parts_of_speech[goat], glosses.examples[goat]) == ("noun.animal", "noun", [])
    assert [glosses.words[above] for above in glosses.hypernyms[goat]] == [["goat", "caprine animal"]]
    lose = next(i for i, d in enumerate(glosses.definitions) if d == "fail to win")
    assert (glosses.words[lose], glosses.parts_of_speech[lose]) == (["lose"], "verb")
    assert "We lost the battle but we won the war" in glosses.examples[lose]


def test_hypernyms_lead_up_to_the_tops_within_the_part_of_speech(glosses):
    for i, above in enumerate(glosses.hypernyms):
        assert all(glosses.parts_of_speech[j] == glosses.parts_of_speech[i] for j in above)
    assert {kind for kind, a in zip(glosses.parts_of_speech, glosses.hypernyms, strict=True) if a} == {"noun", "verb"}
    tops = [i for i, a in enumerate(glosses.hypernyms) if not a and glosses.parts_of_speech[i] == "noun"]
    assert [glosses.words[i] for i in tops] == [["entity"]]
    level, seen = set(range(82_115)), set()
    for _ in range(25):  # a circle would never end
        level = {j for i in level for j in glosses.hypernyms[i]}
        seen |= level
    assert level == set()
    assert seen


def test_splits_have_the_sizes_that_the_source_gives_and_hold_every_gloss_once(glosses):
    assert tuple(glosses.splits) == PARTS
    sizes = stated(r"([\d,]+) train, ([\d,]+) validation, ([\d,]+) test")
    assert [len(glosses.splits[part]) for part in PARTS] == sizes
    assert torch.equal(torch.cat(list(glosses.splits.values())).sort().values, torch.arange(len(glosses)))
    assert [round(100 * size / len(glosses)) for size in sizes] == [90, 5, 5]


def test_no_definition_and_no_example_stands_in_two_parts(glosses, parts):
    for texts in (lambda i: [glosses.definitions[i]], lambda i: glosses.examples[i]):
        sides = [{tuple(words(text)) for i in rows for text in texts(i)} for rows in parts.values()]
        assert all(sides)
        assert all(not a & b for a, b in itertools.combinations(sides, 2))


def test_no_six_words_in_a_row_stand_in_two_parts_and_five_as_often_as_the_source_says(glosses, parts):
    six = [
        runs([t for i in rows for t in (glosses.definitions[i], *glosses.examples[i])], 6) for rows in parts.values()
    ]
    assert all(not a & b for a, b in itertools.combinations(six, 2))
    trained = runs([glosses.definitions[i] for i in parts["train"]], 5)
    tested = [found for i in parts["test"] if (found := runs([glosses.definitions[i]], 5))]
    (percent,) = stated(r"five words or more, (\d+) % share five")
    assert round(100 * sum(bool(found & trained) for found in tested) / len(tested)) == percent


def test_parts_are_alike_in_topics_and_length(glosses, parts):
    nouns = [sum(glosses.parts_of_speech[i] == "noun" for i in rows) / len(rows) for rows in parts.values()]
    lengths = [sum(len(words(glosses.definitions[i])) for i in rows) / len(rows) for rows in parts.values()]
    assert max(nouns) - min(nouns) < 0.03
    assert max(lengths) - min(lengths) < 0.5


def uses(example: str, synset: list[str]) -> bool:
    """Whether an example holds a word of its synset, regular endings taken off."""
    forms = {form for word in words(example) for form in (word, lemma(word))}
    return any(all(part in forms or lemma(part) in forms for part in words(word)) for word in synset)


def test_examples_use_a_word_of_their_synset_as_often_as_the_source_says(glosses):
    pairs = [(e, synset) for es, synset in zip(glosses.examples, glosses.words, strict=True) for e in es]
    found = sum(uses(example, synset) for example, synset in pairs)
    counted, n = stated(r"By form alone ([\d,]+) of ([\d,]+) ")
    assert (found, len(pairs)) == (counted, n)
    assert found > 0.9 * n
    shifted = sum(uses(e, synset) for (e, _), (_, synset) in zip(pairs, pairs[1000:], strict=False))
    assert shifted < 0.05 * n  # another synset's words are seldom there


def test_glosses_load_in_a_moment():
    limit = 1.5 if fast_precision(torch.device("cpu")) == torch.bfloat16 else 3.0  # seconds, on slower cores

    def seconds() -> float:
        start = time.perf_counter()
        datasets.glosses()
        return time.perf_counter() - start

    assert min(seconds() for _ in range(3)) < limit


def test_the_table_is_small_and_its_licence_and_source_are_said(glosses):
    assert (FOLDER / "glosses.parquet").stat().st_size < 5e6
    licence = (FOLDER / "LICENSE").read_text(encoding="utf-8")
    assert "WordNet 3.0 Copyright 2006 by Princeton University.  All rights reserved." in licence
    assert "Princeton" in glosses.licence
    assert glosses.source == "data/glosses/SOURCE.md"


def test_an_altered_table_is_refused(tmp_path, monkeypatch):
    shutil.copytree(FOLDER, tmp_path / "glosses")
    monkeypatch.setattr(tables, "DATA", tmp_path)
    table = tmp_path / "glosses" / "glosses.parquet"
    table.write_bytes(table.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"data/glosses/glosses\.parquet is not the file that was committed"):
        datasets.glosses()
