"""The data sets of the course, one file each: ``mmcook.datasets.NAME()`` returns a small typed object."""

from mmcook.datasets.clipart import Clipart, clipart
from mmcook.datasets.emoji import Emoji, emoji
from mmcook.datasets.glosses import Glosses, glosses
from mmcook.datasets.stamps import Stamps, stamps
from mmcook.datasets.word_classes import CLASSES, NOUN_CLASSES, lemma, split_words, word_classes

__all__ = [
    "CLASSES", "NOUN_CLASSES", "Clipart", "Emoji", "Glosses", "Stamps", "clipart", "emoji", "glosses", "lemma",
    "split_words", "stamps", "word_classes",
]  # fmt: skip
