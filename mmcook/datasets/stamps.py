"""Tux Paint's stamps: pictures with a sentence each, written in four languages and spoken in two."""

from __future__ import annotations

import io
from dataclasses import dataclass

import torch
from torch import Tensor

from mmcook.datasets.tables import decode_pictures, read_table, split_rows

LANGUAGES = ("en", "zh", "fr", "es")
SPOKEN = ("fr", "es")


@dataclass(frozen=True)
class Stamps:
    """N stamps, photographs and drawings, each with a sentence that names it.

    Attributes:
        images: (N, 3, 96, 96) uint8 on white.
        names: path of the stamp in its package, "animals/birds/owl".
        categories: the folder, "animals/birds".
        sentences: by language, "A red apple."; None where there is no translation.
        spoken: by language, the row of ``recordings`` that speaks the sentence; None where nobody did.
        recordings: encoded sound (Opus), see :meth:`speech`; stamps may share one.
        concept: (N,) number of the concept; stamps whose sentences share a noun are one concept.
        key_words: the nouns that make the concept.
        splits: the rows of "train", "validation", "test"; no noun of the key words stands in two of them, nor in
            another part of the emoji. Stamps that would touch two parts are in none.
        licence: of pictures, sentences and sound.
        source: where the tables were built from.
    """

    images: Tensor
    names: list[str]
    categories: list[str]
    sentences: dict[str, list[str | None]]
    spoken: dict[str, list[int | None]]
    recordings: list[bytes]
    concept: Tensor
    key_words: list[frozenset[str]]
    splits: dict[str, Tensor]
    licence: str
    source: str

    def __len__(self) -> int:
        """How many stamps there are."""
        return len(self.names)

    def speech(self, language: str, row: int) -> Tensor:
        """The spoken sentence of a stamp: (T,) samples in [-1, 1] at 16 kHz.

        Raises: ValueError when nobody speaks it in this language.
        """
        import soundfile

        if language not in SPOKEN or (number := self.spoken[language][row]) is None:
            raise ValueError(f"stamp {row} is not spoken in {language!r}; see `spoken`, of {', '.join(SPOKEN)}")
        samples, _ = soundfile.read(io.BytesIO(self.recordings[number]), dtype="float32")
        return torch.from_numpy(samples).clamp(-1, 1)  # Opus overshoots where the recording is loud


def stamps() -> Stamps:
    """Load the stamps.

    Raises: DataError when a file is missing or altered.
    """
    table = read_table("stamps/stamps.parquet")
    column = {name: table[name].to_pylist() for name in table.column_names if name != "image"}
    sound = read_table("stamps/speech.parquet", ["audio"])["audio"].to_pylist()
    return Stamps(
        images=decode_pictures(table["image"]),
        names=column["name"],
        categories=column["category"],
        sentences={language: column[f"sentence_{language}"] for language in LANGUAGES},
        spoken={language: column[f"speech_{language}"] for language in SPOKEN},
        recordings=[item["bytes"] for item in sound],
        concept=torch.tensor(column["concept"]),
        key_words=[frozenset(words) for words in column["key_words"]],
        splits=split_rows(column["split"]),
        licence="Tux Paint stamps © Bill Kendrick and contributors, GPL-2.0-or-later",
        source="data/stamps/SOURCE.md",
    )
