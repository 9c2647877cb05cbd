"""Emoji in four vendors' drawings, with names and tags in seven languages."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from mmcook.datasets.tables import decode_pictures, read_table, split_rows

VENDORS = {"noto": "emoji", "twemoji": "emoji", "fluent": "emoji", "openmoji": "openmoji"}
LANGUAGES = ("en", "zh", "fr", "es", "de", "ja", "ru")
LICENCES = {
    "noto": "Noto Emoji © Google, Apache-2.0",
    "twemoji": "Twemoji © Twitter and contributors, CC BY 4.0",
    "fluent": "Fluent Emoji © Microsoft, MIT",
    "openmoji": "OpenMoji, openmoji.org, CC BY-SA 4.0",
    "names": "Unicode CLDR and emojibase, Unicode licence and MIT",
}


@dataclass(frozen=True)
class Emoji:
    """N emoji, each drawn by every vendor; row i is the same emoji everywhere.

    Attributes:
        images: a vendor's drawings, (N, 3, 64, 64) uint8 on white, by vendor.
        characters: the emoji themselves.
        names: the CLDR short names by language.
        tags: the CLDR keywords by language, a list an emoji.
        groups, subgroups: Unicode's classification (9 and 95 classes).
        concept: (N,) number of the concept; emoji whose names share a key word are one concept.
        key_words: the words of the English name that make the concept (function words and words of whole
            families, such as "face" or "woman", left out).
        splits: the rows of "train", "validation" and "test"; no concept stands in two of them.
        licences: of each vendor's drawings and of the names.
        source: where the tables were built from.
    """

    images: dict[str, Tensor]
    characters: list[str]
    names: dict[str, list[str]]
    tags: dict[str, list[list[str]]]
    groups: list[str]
    subgroups: list[str]
    concept: Tensor
    key_words: list[frozenset[str]]
    splits: dict[str, Tensor]
    licences: dict[str, str]
    source: str

    def __len__(self) -> int:
        """How many emoji there are."""
        return len(self.characters)

    def training_tags(self) -> list[list[str]]:
        """English tags of every emoji, without those that hold a key word of an emoji outside the training split.

        A model that trains on tags would otherwise read the name of a concept that it is to meet for the first time.
        """
        held_out = torch.cat([self.splits["validation"], self.splits["test"]]).tolist()
        banned = frozenset().union(*(self.key_words[i] for i in held_out))
        return [[tag for tag in tags if not banned & set(_words(tag))] for tags in self.tags["en"]]


def emoji(vendors: tuple[str, ...] = tuple(VENDORS)) -> Emoji:
    """Load the emoji.

    Args:
        vendors: whose drawings to load, of "noto", "twemoji", "fluent", "openmoji".
    Raises:
        ValueError: a vendor that is none of these.
        DataError: a file is missing or altered.
    """
    if unknown := set(vendors) - set(VENDORS):
        raise ValueError(f"no drawings by {', '.join(sorted(unknown))}; vendors are {', '.join(VENDORS)}")
    table = read_table("emoji/names.parquet")
    column = {name: table[name].to_pylist() for name in table.column_names}
    pictures = {v: read_table(f"{VENDORS[v]}/{v}.parquet", ["image"])["image"] for v in vendors}
    return Emoji(
        images={vendor: decode_pictures(encoded) for vendor, encoded in pictures.items()},
        characters=column["character"],
        names={language: column[f"name_{language}"] for language in LANGUAGES},
        tags={language: column[f"tags_{language}"] for language in LANGUAGES},
        groups=column["group"],
        subgroups=column["subgroup"],
        concept=torch.tensor(column["concept"]),
        key_words=[frozenset(words) for words in column["key_words"]],
        splits=split_rows(column["split"]),
        licences={key: LICENCES[key] for key in (*vendors, "names")},
        source="data/emoji/SOURCE.md, data/openmoji/SOURCE.md",
    )


def _words(text: str) -> list[str]:
    """Lower-case words without a possessive or plural s, as the key words are written."""
    found = [re.sub(r"[’']s$", "", word) for word in re.findall(r"[^\W_]+(?:[’'][a-z]+)?", text.lower())]
    return [word.rstrip("s") if len(word) > 3 else word for word in found]
