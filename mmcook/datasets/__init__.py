"""The data sets of the course, one file each: ``mmcook.datasets.NAME()`` returns a small typed object."""

from mmcook.datasets.emoji import Emoji, emoji

__all__ = ["Emoji", "emoji"]
