"""Rebuild the table of glosses from WordNet's files.

Usage, from anywhere::

    apt-get download wordnet-base=1:3.0-37 && dpkg-deb -x wordnet-base_*.deb WORDNET
    python data/glosses/build.py WORDNET/usr/share/wordnet

It writes ``glosses.parquet`` and its checksum: one row a synset, in the order of WordNet's nouns, verbs, adjectives
and adverbs.
"""

import collections
import hashlib
import re
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).resolve().parent
FILES = ("noun", "verb", "adj", "adv")
# WordNet's lexicographer files by number (lexnames.5WN)
TOPICS = (
    "adj.all", "adj.pert", "adv.all", "noun.Tops", "noun.act", "noun.animal", "noun.artifact", "noun.attribute",
    "noun.body", "noun.cognition", "noun.communication", "noun.event", "noun.feeling", "noun.food", "noun.group",
    "noun.location", "noun.motive", "noun.object", "noun.person", "noun.phenomenon", "noun.plant", "noun.possession",
    "noun.process", "noun.quantity", "noun.relation", "noun.shape", "noun.state", "noun.substance", "noun.time",
    "verb.body", "verb.change", "verb.cognition", "verb.communication", "verb.competition", "verb.consumption",
    "verb.contact", "verb.creation", "verb.emotion", "verb.motion", "verb.perception", "verb.possession",
    "verb.social", "verb.stative", "verb.weather", "adj.ppl",
)  # fmt: skip
RUN = 6  # definitions or examples that share this many words in a row stand in one part
SALT = "mmcook glosses 1 "
PARTS = (("test", 0.05), ("validation", 0.10), ("train", 1.00))  # the share below which a hash falls


def divide(gloss: str) -> tuple[str, list[str]]:
    """The definition of a gloss and its quoted examples, which begin at a quotation mark after ";", ":" or ","."""
    if gloss.count('"') % 2:  # 20 glosses, where a mark is missing or one too many
        return gloss.split(";")[0].strip(' "'), []
    for start in re.finditer(r'[;:,]\s*"', gloss):
        definition = gloss[: start.start()]
        if definition.count("(") == definition.count(")"):
            examples = [" ".join(text.split()) for text in re.findall(r'"([^"]*)"', gloss[start.start() :])]
            return re.sub(r"[;,:\s]+(e\.g\.)?$", "", definition.strip()), [text for text in examples if text]
    return gloss.strip(" ;:,"), []


def synsets(wordnet: Path) -> list[dict]:
    """One row a synset, its hypernyms as row numbers."""
    rows, numbers, above = [], {}, []
    for name in FILES:
        for line in (wordnet / f"data.{name}").read_text(encoding="utf-8").splitlines():
            if line.startswith(" "):
                continue
            head, gloss = line.split(" | ", 1)
            fields = head.split()
            end = 4 + 2 * int(fields[3], 16)
            words = [re.sub(r"\((p|a|ip)\)$", "", word).replace("_", " ") for word in fields[4:end:2]]
            definition, examples = divide(gloss.strip())
            numbers[name, fields[0]] = len(rows)
            above.append([(name, fields[i + 1]) for i in range(end + 1, len(fields)) if fields[i] in ("@", "@i")])
            rows.append({"definition": definition, "examples": examples, "words": words,
                         "topic": TOPICS[int(fields[1])]})  # fmt: skip
    for row, found in zip(rows, above, strict=True):
        row["hypernyms"] = [numbers[key] for key in found]
    return rows


def normalised(text: str) -> tuple[str, ...]:
    """The words of a text in lower case, without punctuation."""
    return tuple(re.findall(r"[^\W_]+", text.lower()))


def keys(row: dict) -> set[tuple[str, ...]]:
    """What two synsets of one group share: the definition, an example, or a run of words of either."""
    texts = [normalised(text) for text in (row["definition"], *row["examples"])]
    runs = {text[i : i + RUN] for text in texts for i in range(len(text) - RUN + 1)}
    return runs | {("definition", *texts[0])} | {("example", *text) for text in texts[1:]}


def groups(rows: list[dict]) -> list[int]:
    """The group of each row: rows that share a key, directly or through others."""
    parent = list(range(len(rows)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    first: dict[tuple[str, ...], int] = {}
    for i, row in enumerate(rows):
        for key in keys(row):
            parent[root(i)] = root(first.setdefault(key, i))
    return [root(i) for i in range(len(rows))]


def splits(rows: list[dict]) -> list[str]:
    """The part of each row, drawn by the hash of its group's first definition in the alphabet."""
    group = groups(rows)
    names: dict[int, list[str]] = collections.defaultdict(list)
    for row, number in zip(rows, group, strict=True):
        names[number].append(" ".join(normalised(row["definition"])))
    drawn = {}
    for number, definitions in names.items():
        digest = hashlib.sha256((SALT + min(definitions)).encode()).digest()
        share = int.from_bytes(digest[:8], "big") / 2**64
        drawn[number] = next(part for part, limit in PARTS if share < limit)
    return [drawn[number] for number in group]


def main(wordnet: Path) -> None:
    """Write the table and its checksum."""
    rows = synsets(wordnet)
    columns = {name: [row[name] for row in rows] for name in rows[0]} | {"split": splits(rows)}
    table = pa.table({**columns, "hypernyms": pa.array(columns["hypernyms"], pa.list_(pa.int32()))})
    path = HERE / "glosses.parquet"
    pq.write_table(table, path, compression="zstd", compression_level=19)
    (HERE / "SHA256SUMS").write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
