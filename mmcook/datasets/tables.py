"""Reading the Parquet tables under ``data/``, each checked against its SHA-256 first."""

from __future__ import annotations

import hashlib
import io

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image

from mmcook.course import REPOSITORY

DATA = REPOSITORY / "data"
FOLDERS = ("emoji", "clipart", "glosses", "openmoji", "stamps", "word_classes")
PARTS = ("train", "validation", "test")
MEND = "restore it with: git checkout -- data"


class DataError(RuntimeError):
    """A data file that is missing, cut short or altered."""


def read_table(name: str, columns: list[str] | None = None) -> pa.Table:
    """A Parquet table of the course.

    Args:
        name: folder and file under ``data/``, "emoji/names.parquet".
        columns: the columns to read; all by default.
    Raises:
        DataError: the file is missing, or its SHA-256 is not the one in the folder's ``SHA256SUMS``.
    """
    path = DATA / name
    if not path.is_file():
        where = "" if DATA.is_dir() else "; mmcook must run from its clone: pip install -e ."
        raise DataError(f"data/{name} is missing; {MEND}{where}")
    content = path.read_bytes()
    digest, expected = hashlib.sha256(content).hexdigest(), _sums(path.parent.name).get(path.name, "none")
    if digest != expected:
        raise DataError(f"data/{name} is not the file that was committed (SHA-256 {digest[:12]}…, expected"
                        f" {expected[:12]}…, {len(content)} bytes); {MEND}")  # fmt: skip
    return pq.read_table(io.BytesIO(content), columns=columns)


def check_folder(folder: str) -> None:
    """Compare every file that a folder's ``SHA256SUMS`` lists.

    Raises:
        DataError: one is missing or altered, or there is no list.
    """
    for file in _sums(folder):
        read_table(f"{folder}/{file}", columns=[])


def split_rows(parts: list[str]) -> dict[str, Tensor]:
    """The rows of "train", "validation" and "test", from the part that each row belongs to, if any."""
    return {part: torch.tensor([i for i, p in enumerate(parts) if p == part]) for part in PARTS}


def decode_pictures(column: pa.ChunkedArray) -> Tensor:
    """Decode encoded pictures of one size: (N, 3, H, W) uint8."""
    encoded = pa.compute.struct_field(column, "bytes").combine_chunks()
    files = (torch.frombuffer(item.as_buffer(), dtype=torch.uint8) for item in encoded)
    return torch.stack([decode_image(file, ImageReadMode.RGB) for file in files])


def _sums(folder: str) -> dict[str, str]:
    """The SHA-256 of each file of a folder, as its list gives them."""
    try:
        return dict(reversed(line.split()) for line in (DATA / folder / "SHA256SUMS").read_text().splitlines())
    except (OSError, ValueError) as error:
        raise DataError(f"data/{folder}/SHA256SUMS is missing or not a list of sums; {MEND}") from error
