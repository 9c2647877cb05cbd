"""The helper library of the multimodal cookbook: what a chapter introduces and others need.

Rooms are imported when they are first used, so that ``import mmcook`` stays under a second.
"""

import importlib

from mmcook.course import recorded, start

__version__ = "0.1.0"
__all__ = ["recorded", "start"]
ROOMS = (
    "alignment",
    "audio",
    "chapters",
    "classroom",
    "datasets",
    "doctor",
    "exercises",
    "fusion",
    "hub",
    "metrics",
    "perception",
    "plots",
    "pretraining",
    "text",
    "training",
    "vision",
)


def __getattr__(name: str):
    """Import a room the first time that someone asks for it."""
    if name in ROOMS:
        return importlib.import_module(f"mmcook.{name}")
    raise AttributeError(f"mmcook has no room {name!r}; the rooms are {', '.join(ROOMS)}")
