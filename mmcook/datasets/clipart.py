"""Open Clip Art: drawings of many hands, with titles and keywords."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mmcook.datasets.tables import decode_pictures, read_table, split_rows


@dataclass(frozen=True)
class Clipart:
    """N drawings, cropped and centred; row i is the same drawing everywhere.

    Attributes:
        images: (N, 3, 64, 64) uint8 on white.
        titles: what the author called it, or the file name in words; several drawings may share one.
        keywords: of the author, or none; most repeat words of the folder.
        categories: the folder in the package, "animals/birds".
        splits: the rows of "train", "validation" and "test"; drawings with the same words in title or file name and
            folder, and drawings that look alike, stand in one of them.
        licence: of the drawings.
        source: where the table was built from.
    """

    images: Tensor
    titles: list[str]
    keywords: list[list[str]]
    categories: list[str]
    splits: dict[str, Tensor]
    licence: str
    source: str

    def __len__(self) -> int:
        """How many drawings there are."""
        return len(self.titles)


def clipart() -> Clipart:
    """Load the clip art.

    Raises: DataError when the file is missing or altered.
    """
    table = read_table("clipart/clipart.parquet")
    column = {name: table[name].to_pylist() for name in table.column_names if name != "image"}
    return Clipart(
        images=decode_pictures(table["image"]),
        titles=column["title"],
        keywords=column["keywords"],
        categories=column["category"],
        splits=split_rows(column["split"]),
        licence="Open Clip Art Library, dedicated to the public domain by its authors",
        source="data/clipart/SOURCE.md",
    )
