"""Rebuild the lexicon of word classes from WordNet's files.

Usage, from anywhere::

    apt-get download wordnet-base=1:3.0-37 && dpkg-deb -x wordnet-base_*.deb WORDNET
    python data/word_classes/build.py WORDNET/usr/share/wordnet

It writes ``lexicon.parquet``: for every single word that WordNet lists, and every irregular form, what it can name,
likeliest first.
"""

import functools
import hashlib
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).resolve().parent
POS = ("noun", "adj", "verb")
SENSE_TYPES = {"1": "noun", "2": "verb", "3": "adj", "5": "adj"}
# WordNet's lexicographer files of nouns (lexnames.5WN) and the class that each becomes; artefacts are divided below
NOUN_FILES = {
    3: "other", 4: "other", 5: "animal", 6: "object", 7: "other", 8: "body", 9: "other", 10: "symbol", 11: "nature",
    12: "other", 13: "food", 14: "other", 15: "place", 16: "other", 17: "nature", 18: "person", 19: "nature",
    20: "plant", 21: "other", 22: "other", 23: "other", 24: "other", 25: "symbol", 26: "other", 27: "nature",
    28: "other",
}  # fmt: skip
# artefacts, foods and groups under one of these nouns belong to a class of their own
KINDS = {
    "vehicle": ("vehicle", "craft", "conveyance", "aircraft"),
    "clothing": ("clothing", "footwear", "headdress", "garment", "wearable", "jewelry"),
    "place": ("building", "structure", "area", "facility", "way"),
    "food": ("beverage",),
    "symbol": ("emblem", "flag"),
    "person": ("people",),
}
TOPS = {"person": "person", "animal": "animal", "plant": "plant", "food": "food", "artifact": "object"}


class WordNet:
    """The nouns, adjectives and verbs of WordNet's database files."""

    def __init__(self, folder: Path):
        """Read the index, the tag counts, the exceptions and the nouns' hypernyms."""
        self.senses = {pos: self._index(folder / f"index.{pos}") for pos in POS}
        self.counts = self._counts(folder / "cntlist.rev")
        self.exceptions = {pos: self._pairs(folder / f"{pos}.exc") for pos in POS}
        self.files, self.parents = self._nouns(folder / "data.noun")
        wanted = {name: self.senses["noun"][name] for names in KINDS.values() for name in names}
        self.tops = {self.senses["noun"][name][0]: kind for name, kind in TOPS.items()}
        self.roots = {  # the senses of these nouns that are artefacts, foods or groups
            kind: {offset for name in names for offset in wanted[name] if self.files[offset] in (6, 13, 14)}
            for kind, names in KINDS.items()
        }

    @staticmethod
    def _index(path: Path) -> dict[str, list[str]]:
        """Offsets of the synsets of each lemma, in order of sense."""
        found = {}
        for line in path.read_text().splitlines():
            if not line.startswith(" "):
                fields = line.split()
                found[fields[0]] = fields[-int(fields[2]) :]
        return found

    @staticmethod
    def _counts(path: Path) -> dict[tuple[str, str, int], int]:
        """How often each sense of a lemma was tagged in the semantic concordance."""
        found = {}
        for line in path.read_text().splitlines():
            key, sense, count = line.split()
            lemma, _, rest = key.partition("%")
            if kind := SENSE_TYPES.get(rest[0]):
                found[lemma, kind, int(sense)] = int(count)
        return found

    @staticmethod
    def _pairs(path: Path) -> dict[str, str]:
        """Irregular forms and their lemmas."""
        return {line.split()[0]: line.split()[1] for line in path.read_text().splitlines()}

    @staticmethod
    def _nouns(path: Path) -> tuple[dict[str, int], dict[str, list[str]]]:
        """The lexicographer file and the hypernyms of every noun synset."""
        files, parents = {}, {}
        for line in path.read_text().splitlines():
            if line.startswith(" "):
                continue
            fields = line.split(" | ")[0].split()
            files[fields[0]] = int(fields[1])
            pointers = fields[4 + 2 * int(fields[3], 16) :]
            parents[fields[0]] = [pointers[i + 1] for i, mark in enumerate(pointers) if mark in ("@", "@i")]
        return files, parents

    @functools.cache  # noqa: B019 - one WordNet a run
    def above(self, offset: str) -> frozenset[str]:
        """A noun synset and all its hypernyms."""
        return frozenset({offset}).union(*(self.above(parent) for parent in self.parents[offset]))

    def noun_class(self, offset: str) -> str:
        """The class that a noun synset names."""
        if self.files[offset] in (6, 14):
            for kind, roots in self.roots.items():
                if roots & self.above(offset):
                    return kind
        return self.tops.get(offset, NOUN_FILES[self.files[offset]])

    def classes(self, word: str) -> list[str]:
        """What a word can name, likeliest first: by tag count, then nouns, adjectives, verbs, then order of sense."""
        found = []
        for rank, pos in enumerate(POS):
            lemma = self.exceptions[pos].get(word, word)
            for sense, offset in enumerate(self.senses[pos].get(lemma, []), start=1):
                kind = self.noun_class(offset) if pos == "noun" else {"adj": "quality", "verb": "action"}[pos]
                found.append((-self.counts.get((lemma, pos, sense), 0), rank, sense, kind))
        return list(dict.fromkeys(kind for *_, kind in sorted(found)))

    def words(self) -> list[str]:
        """Every single word that is a lemma or an irregular form, without names in numbers or abbreviations."""
        known = {word for pos in POS for word in (*self.senses[pos], *self.exceptions[pos])}
        return sorted(word for word in known if word.isalpha())


def main(wordnet: Path) -> None:
    """Write the lexicon and its checksum."""
    database = WordNet(wordnet)
    classes = {word: found for word in database.words() if (found := database.classes(word))}
    table = pa.table({"word": list(classes), "classes": list(classes.values())})
    pq.write_table(table, HERE / "lexicon.parquet", compression="zstd", compression_level=19)
    digest = hashlib.sha256((HERE / "lexicon.parquet").read_bytes()).hexdigest()
    (HERE / "SHA256SUMS").write_text(f"{digest}  lexicon.parquet\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
