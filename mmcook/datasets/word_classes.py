"""Which kind of thing a word names: classes from WordNet, chosen by what the picture is about."""

from __future__ import annotations

import re
from functools import cache

from mmcook.datasets.tables import read_table

CLASSES = (
    "animal", "person", "body", "plant", "food", "clothing", "vehicle", "place", "object", "nature", "symbol",
    "colour", "other",
)  # fmt: skip
NOUN_CLASSES = CLASSES[:11]
COLOURS = frozenset(
    "red orange yellow green blue purple violet pink brown black white grey gray silver gold golden".split()  # noqa: SIM905
)
FUNCTION_WORDS = frozenset(
    """a about ahead all also an and any are as at be before by can could do does down each else ever every first for
    from give go goes had has have he hello her here him his how i if in into is it its just last least less let like
    lot made make many may me mean means more most much must my no none nor not now of off on one only onto or other
    our out over own please put same say see she should so some such than that the their them then there these they
    this those through to too two three four five six seven eight nine ten under up us use used very was way we were
    what when where which while who why will with without would you your""".split()  # noqa: SIM905
)
# what a picture of a category of the stamps or the emoji shows; the longest beginning that fits counts
SHOWS = {
    "animals": "animal", "clothes": "clothing", "food": "food", "hobbies": "object", "household": "object",
    "medical": "object", "military/vehicles": "vehicle", "naturalforces": "nature", "people": "person",
    "people/body_parts": "body", "plants": "plant", "space": "nature", "sports": "object", "symbols": "symbol",
    "town": "place", "town/flags": "symbol", "town/roadsigns": "symbol", "vehicles": "vehicle",
    "activities": "object", "animals-nature/animal": "animal", "animals-nature/plant": "plant", "flags": "symbol",
    "food-drink": "food", "food-drink/dishware": "object", "objects": "object", "objects/clothing": "clothing",
    "people-body": "body", "people-body/person": "person", "people-body/family": "person",
    "smileys-emotion": "body", "symbols/keycap": "symbol", "travel-places/place": "place",
    "travel-places/transport": "vehicle", "travel-places/time": "object", "travel-places/sky": "nature",
}  # fmt: skip
SUFFIXES = (("ies", "y"), ("s", ""), ("es", ""), ("ing", ""), ("ing", "e"), ("ed", ""), ("ed", "e"))


def split_words(sentence: str) -> list[str]:
    """The words of a sentence as they stand, without digits and punctuation; a possessive is cut off.

    Words of a script without spaces between words come out as one.
    """
    return [re.sub(r"[’']s?$", "", word) for word in re.findall(r"[^\W\d_]+(?:[’'][a-z]+)?", sentence)]


def word_classes(words: list[str], category: str) -> list[str | None]:
    """The class of each word of an English caption, None for function words and words that WordNet does not list.

    A word that can name what the picture shows is taken to name it: "crane" is an animal among birds, and a vehicle's
    neighbour elsewhere. Any other word has the class of its most frequent sense.

    Args:
        words: as :func:`split_words` gives them.
        category: of the picture, "animals/birds" of the stamps or "animals-nature/animal-bird" of the emoji.
    Source: the lexicographer files of WordNet 3.0 (Fellbaum 1998), see data/word_classes/SOURCE.md.
    """
    return [_class(word.lower(), _shown(category)) for word in words]


def _class(word: str, shown: str | None) -> str | None:
    """The class of one word in lower case, beside a picture that shows a class."""
    if word in FUNCTION_WORDS or len(word) == 1:
        return None
    senses = _senses(word)
    if word in COLOURS and not (word == "orange" and shown in ("food", "plant")):
        return "colour"
    if not senses:
        return None
    participle = len(word) > 5 and word.endswith("ing") and "action" in _senses(word.removesuffix("ing"))
    if shown in senses and (senses[0] != "quality" or word == "orange"):
        return shown
    return senses[0] if senses[0] in CLASSES and not participle else "other"


def _senses(word: str) -> list[str]:
    """What a word can name, by its own entry or, for a regular form, by its base's."""
    return _lexicon().get(lemma(word), [])


def lemma(word: str) -> str:
    """The form under which WordNet lists a word, in lower case: "Cherries" is "cherry"; an unknown word as it is."""
    word = word.lower()
    bases = [word.removesuffix(ending) + base for ending, base in SUFFIXES if word.endswith(ending)]
    return next((form for form in (word, *bases) if form in _lexicon()), word)


def _shown(category: str) -> str | None:
    """What a picture of a category shows."""
    fitting = [start for start in SHOWS if category.startswith(start)]
    return SHOWS[max(fitting, key=len)] if fitting else None


@cache
def _lexicon() -> dict[str, list[str]]:
    """The classes of every word that WordNet lists."""
    table = read_table("word_classes/lexicon.parquet")
    return dict(zip(table["word"].to_pylist(), table["classes"].to_pylist(), strict=True))
