"""WordNet's glosses: what 117,659 senses of English words mean, with examples of their use."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mmcook.datasets.tables import read_table, split_rows

PARTS_OF_SPEECH = {"noun": "noun", "verb": "verb", "adj": "adjective", "adv": "adverb"}


@dataclass(frozen=True)
class Glosses:
    """N synsets, each a sense that one or several words share; row i is the same synset everywhere.

    Attributes:
        definitions: what the sense is, "the male goat", without the examples.
        examples: sentences and phrases that use one of ``words[i]`` in this sense; none for most synsets.
        words: the lemmas of the synset, "billy goat".
        parts_of_speech: "noun", "verb", "adjective" or "adverb".
        topics: WordNet's lexicographer file, "noun.animal" (45 classes).
        hypernyms: the rows of the synsets above, "goat"; for nouns and verbs only.
        splits: the rows of "train", "validation" and "test"; no definition and no six words in a row, of definition
            or example, stand in two of them.
        licence: of the text.
        source: where the table was built from.
    """

    definitions: list[str]
    examples: list[list[str]]
    words: list[list[str]]
    parts_of_speech: list[str]
    topics: list[str]
    hypernyms: list[list[int]]
    splits: dict[str, Tensor]
    licence: str
    source: str

    def __len__(self) -> int:
        """How many synsets there are."""
        return len(self.definitions)


def glosses() -> Glosses:
    """Load the glosses.

    Raises: DataError when the file is missing or altered.
    """
    table = read_table("glosses/glosses.parquet")
    column = {name: table[name].to_pylist() for name in table.column_names}
    return Glosses(
        definitions=column["definition"],
        examples=column["examples"],
        words=column["words"],
        parts_of_speech=[PARTS_OF_SPEECH[topic.partition(".")[0]] for topic in column["topic"]],
        topics=column["topic"],
        hypernyms=column["hypernyms"],
        splits=split_rows(column["split"]),
        licence="WordNet 3.0 © Princeton University, WordNet licence",
        source="data/glosses/SOURCE.md",
    )
