"""Rebuild the stamps tables from the Debian package named in SOURCE.md.

Usage, from anywhere::

    apt-get download tuxpaint-stamps-default=2022.06.04-1 && dpkg-deb -x tuxpaint-stamps-default_*.deb STAMPS
    python data/stamps/build.py STAMPS/usr/share/tuxpaint/stamps

Needs ``rsvg-convert`` (Debian: librsvg2-bin), ``oggdec`` (vorbis-tools), ``opusenc`` (opus-tools) and the course's
environment. It reads ``../emoji/names.parquet``, with which the splits agree, and writes ``stamps.parquet`` and
``speech.parquet`` and their checksums.
"""

import collections
import concurrent.futures
import hashlib
import io
import json
import math
import random
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from scipy.io import wavfile
from scipy.signal import resample_poly

from mmcook.datasets.word_classes import NOUN_CLASSES, lemma, split_words, word_classes

HERE = Path(__file__).resolve().parent
SIZE = 96
RATE = 16_000
LANGUAGES = {"zh": "zh_CN", "fr": "fr", "es": "es"}
SPOKEN = ("fr", "es")
FRAME_COUNT = 30  # a noun that stands in this many captions ("letter", "sign") is no key of a concept
HELD_OUT = {"test": 150, "validation": 75}


def sentences(path: Path) -> dict[str, str | None]:
    """The sentence of a stamp in English and its translations."""
    first, *others = path.read_text(encoding="utf-8").splitlines()
    translated = dict(line.split(".utf8=", 1) for line in others if ".utf8=" in line)
    found = {language: translated.get(code, "").strip() or None for language, code in LANGUAGES.items()}
    return {"en": " ".join(first.split()), **found}


def picture(path: Path) -> bytes:
    """A stamp on white, the longer side 96 pixels, centred on a square, as a PNG file."""
    if path.with_suffix(".png").exists():
        drawn = Image.open(path.with_suffix(".png")).convert("RGBA")
    else:
        size = ["-w", str(4 * SIZE), "-h", str(4 * SIZE), "--keep-aspect-ratio"]
        command = ["rsvg-convert", *size, str(path.with_suffix(".svg"))]
        drawn = Image.open(io.BytesIO(subprocess.run(command, capture_output=True, check=True).stdout)).convert("RGBA")
    scale = SIZE / max(drawn.size)
    white = Image.new("RGBA", drawn.size, "white")
    flat = Image.alpha_composite(white, drawn).convert("RGB")
    flat = flat.resize([max(1, round(scale * side)) for side in drawn.size], Image.Resampling.LANCZOS)
    square = Image.new("RGB", (SIZE, SIZE), "white")
    square.paste(flat, ((SIZE - flat.width) // 2, (SIZE - flat.height) // 2))
    out = io.BytesIO()
    square.save(out, "PNG", optimize=True)
    return out.getvalue()


def speech(path: Path) -> tuple[bytes, float, str]:
    """A recording as Opus of 16 kHz mono, its seconds, and the SHA-256 of its samples."""
    wave = subprocess.run(["oggdec", "--quiet", "-o", "-", str(path)], capture_output=True, check=True).stdout
    rate, samples = wavfile.read(io.BytesIO(wave))
    samples = samples.mean(1) if samples.ndim == 2 else samples.astype(float)
    common = math.gcd(rate, RATE)
    samples = resample_poly(samples, RATE // common, rate // common).round().clip(-32768, 32767).astype(np.int16)
    out = io.BytesIO()
    wavfile.write(out, RATE, samples)
    command = ["opusenc", "--quiet", "--bitrate", "16", "--serial", "0", "--discard-comments", "-", "-"]
    opus = subprocess.run(command, input=out.getvalue(), capture_output=True, check=True).stdout
    return opus, len(samples) / RATE, hashlib.sha256(samples.tobytes()).hexdigest()


def key_words(caption: str, category: str) -> set[str]:
    """The nouns of a caption, as WordNet lists them."""
    words = split_words(caption)
    nouns = [w for w, kind in zip(words, word_classes(words, category), strict=True) if kind in NOUN_CLASSES]
    return {lemma(word) for word in nouns}


def without_frames(keys: list[set[str]]) -> list[set[str]]:
    """Key words without those of whole families, "letter" or "sign"."""
    counts = collections.Counter(word for key in keys for word in key)
    return [{word for word in key if counts[word] < FRAME_COUNT} for key in keys]


def concepts(keys: list[set[str]]) -> list[int]:
    """Number the concepts: stamps that share a key word, directly or through others, are one concept."""
    parent = list(range(len(keys)))

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    first: dict[str, int] = {}
    for i, key in enumerate(keys):
        for word in sorted(key):
            parent[root(i)] = root(first.setdefault(word, i))
    numbers: dict[int, int] = {}
    return [numbers.setdefault(root(i), len(numbers)) for i in range(len(keys))]


def splits(keys: list[set[str]], concept: list[int], emoji_parts: dict[str, set[str]]) -> list[str]:
    """Put whole concepts where the emoji with the same nouns are, and other concepts aside at random.

    A concept that would touch two parts is in none of them ("none").
    """
    members = collections.defaultdict(list)
    for i, number in enumerate(concept):
        members[number].append(i)
    nothing: set[str] = set()
    parts = {n: nothing.union(*(emoji_parts.get(w, nothing) for i in r for w in keys[i])) for n, r in members.items()}
    chosen = {n: found.pop() if len(found) == 1 else "none" for n, found in parts.items() if found}
    free = [n for n, rows in members.items() if n not in chosen and all(keys[i] for i in rows) and len(rows) <= 12]
    random.Random(0).shuffle(free)
    for part, wanted in HELD_OUT.items():
        while sum(len(members[n]) for n, where in chosen.items() if where == part) < wanted:
            chosen[free.pop()] = part
    return [chosen.get(number, "train") for number in concept]


def write(table: pa.Table, path: Path) -> None:
    """Write a Parquet file."""
    pq.write_table(table, path, compression="zstd", compression_level=19)


def media(files: list[bytes], names: list[str]) -> pa.Array:
    """Encoded files as 🤗 Datasets keeps them."""
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    return pa.array([{"bytes": f, "path": n} for f, n in zip(files, names, strict=True)], kind)


def emoji_parts() -> dict[str, set[str]]:
    """The parts of the emoji in which each noun of their names stands."""
    table = pq.read_table(HERE.parent / "emoji/names.parquet", columns=["name_en", "group", "subgroup", "split"])
    found = collections.defaultdict(set)
    for row in table.to_pylist():
        for noun in key_words(row["name_en"], f"{row['group']}/{row['subgroup']}"):
            found[noun].add(row["split"])
    return found


def one_of_each(paths: list[Path], drawn: list[bytes]) -> list[int]:
    """The stamps to keep: none whose picture is blank, and one of those with equal picture and sentence."""
    first: dict[tuple[bytes, str], int] = {}
    for i, (path, png) in enumerate(zip(paths, drawn, strict=True)):
        if np.asarray(Image.open(io.BytesIO(png))).min() < 255:
            first.setdefault((png, sentences(path)["en"]), i)
    return sorted(first.values())


def main(stamps: Path) -> None:
    """Build both tables and the checksums."""
    paths = sorted(p for p in stamps.rglob("*.txt") if any(p.with_suffix(s).exists() for s in (".png", ".svg")))
    with concurrent.futures.ThreadPoolExecutor() as pool:
        drawn = list(pool.map(picture, paths))
    kept = one_of_each(paths, drawn)
    paths, pictures = [paths[i] for i in kept], [drawn[i] for i in kept]
    texts = [sentences(path) for path in paths]
    categories = [str(path.parent.relative_to(stamps)) for path in paths]
    keys = without_frames([key_words(t["en"], c) for t, c in zip(texts, categories, strict=True)])
    concept = concepts(keys)
    split = splits(keys, concept, emoji_parts())
    with concurrent.futures.ThreadPoolExecutor() as pool:
        recordings = [(p, l, p.with_name(f"{p.stem}_desc_{l}.ogg")) for l in SPOKEN for p in paths]
        recordings = [(p, l, ogg) for p, l, ogg in recordings if ogg.exists()]
        spoken = list(pool.map(speech, [ogg for *_, ogg in recordings]))
    number: dict[tuple[str, str], int] = {}  # a recording that occurs again is kept once
    voices = []
    row_of = {}
    for (path, language, _), (opus, seconds, digest) in zip(recordings, spoken, strict=True):
        if (language, digest) not in number:
            number[language, digest] = len(voices)
            voices.append((language, opus, seconds))
        row_of[path, language] = number[language, digest]
    names = [str(path.relative_to(stamps).with_suffix("")) for path in paths]
    table = pa.table({
        "name": names,
        "category": categories,
        **{f"sentence_{language}": [text[language] for text in texts] for language in ("en", *LANGUAGES)},
        **{f"speech_{language}": [row_of.get((path, language)) for path in paths] for language in SPOKEN},
        "concept": concept,
        "key_words": [sorted(key) for key in keys],
        "split": split,
        "image": media(pictures, [f"{name}.png" for name in names]),
    })  # fmt: skip
    features = datasets.Features.from_arrow_schema(table.schema) | {"image": datasets.Image()}
    info = {"info": {"features": datasets.Features(features).to_dict()}}  # so that 🤗 Datasets decodes the pictures
    write(table.replace_schema_metadata({"huggingface": json.dumps(info)}), HERE / "stamps.parquet")
    audio = media([opus for _, opus, _ in voices], [f"{i}.opus" for i in range(len(voices))])
    columns = {"language": [v[0] for v in voices], "seconds": [v[2] for v in voices], "audio": audio}
    write(pa.table(columns), HERE / "speech.parquet")
    sums = [f"{hashlib.sha256((HERE / f).read_bytes()).hexdigest()}  {f}" for f in ("speech.parquet", "stamps.parquet")]
    (HERE / "SHA256SUMS").write_text("\n".join(sums) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
