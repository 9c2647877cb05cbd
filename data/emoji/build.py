"""Rebuild the emoji tables from the packages named in SOURCE.md.

Usage, from anywhere::

    npm pack @iconify-json/noto@1.2.9 @iconify-json/twemoji@1.2.5 \
        @iconify-json/openmoji@1.2.29 @iconify-json/fluent-emoji-flat@1.2.6 emojibase-data@17.0.0
    for f in *.tgz; do mkdir "${f%.tgz}" && tar xzf "$f" -C "${f%.tgz}" --strip-components 1; done
    python data/emoji/build.py FOLDER_WITH_THE_UNPACKED_PACKAGES

Needs ``rsvg-convert`` (Debian: librsvg2-bin) and the course's environment. It writes ``names.parquet`` and a
picture table a vendor, here and (OpenMoji, whose licence is copyleft) in ``../openmoji``, and the checksums.
"""

import collections
import concurrent.futures
import hashlib
import io
import json
import random
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

HERE = Path(__file__).resolve().parent
ICONS = {
    "noto": "iconify-json-noto-1.2.9",
    "twemoji": "iconify-json-twemoji-1.2.5",
    "fluent": "iconify-json-fluent-emoji-flat-1.2.6",
    "openmoji": "iconify-json-openmoji-1.2.29",
}
FOLDERS = {"openmoji": HERE.parent / "openmoji"}
LANGUAGES = ("en", "zh", "fr", "es", "de", "ja", "ru")
SIZE = 64
FRAME_COUNT = 8  # a word that stands in this many names names a family, not a concept
HELD_OUT = {"test": 300, "validation": 150}
FUNCTION_WORDS = {
    "a", "an", "the", "of", "in", "on", "with", "and", "or", "no", "not", "for", "at", "by", "to", "up", "down", "left",
    "right", "over", "under", "behind", "without", "into", "off", "o", "clock", "s", "from",
}  # fmt: skip


def read_json(path: Path):
    """The content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def code_points(hexcode: str) -> str:
    """A code-point sequence in lower case, without the variation selector."""
    return "-".join(part for part in hexcode.lower().split("-") if part != "fe0f")


def words(name: str) -> list[str]:
    """The words of an English name, lower case, a plural s and a possessive cut off."""
    found = re.findall(r"[^\W_]+(?:[’'][a-z]+)?", name.lower())
    found = [re.sub(r"[’']s$", "", word) for word in found]
    return [word.rstrip("s") if len(word) > 3 else word for word in found]


def key_words(names: list[str]) -> list[set[str]]:
    """For each name the words that make its concept: neither function words nor words of a whole family."""
    counts = collections.Counter(word for name in names for word in set(words(name)))
    frame = {word for word, count in counts.items() if count >= FRAME_COUNT} | FUNCTION_WORDS
    return [set(words(name)) - frame for name in names]


def concepts(keys: list[set[str]]) -> list[int]:
    """Number the concepts: emoji that share a key word, directly or through others, are one concept."""
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


def splits(keys: list[set[str]], concept: list[int]) -> list[str]:
    """Put whole concepts aside for test and validation; names made of family words alone stay in training."""
    members = collections.defaultdict(list)
    for i, number in enumerate(concept):
        members[number].append(i)
    order = [number for number, rows in members.items() if len(rows) <= 20 and all(keys[i] for i in rows)]
    random.Random(0).shuffle(order)
    split = ["train"] * len(keys)
    for part, wanted in HELD_OUT.items():
        taken = 0
        while taken < wanted:
            number = next(n for n in order if len(members[n]) <= wanted - taken)
            order.remove(number)
            for i in members[number]:
                split[i] = part
            taken += len(members[number])
    return split


def render(task: tuple[str, float, float]) -> bytes:
    """Draw one icon body on white at SIZE × SIZE and return it as a PNG file."""
    body, width, height = task
    side = max(width, height)  # a few drawings are not square: centre them
    view = f"{(width - side) / 2} {(height - side) / 2} {side} {side}"
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    svg = f'<svg {spaces} viewBox="{view}">{body}</svg>'
    command = ["rsvg-convert", "-w", str(SIZE), "-h", str(SIZE), "-b", "white"]
    drawn = subprocess.run(command, input=svg.encode(), capture_output=True, check=True).stdout
    image = Image.open(io.BytesIO(drawn)).convert("RGB")
    assert image.size == (SIZE, SIZE), image.size
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def pictures(packages: Path, vendor: str, hexcodes: list[str]) -> list[bytes]:
    """Every emoji as this vendor draws it."""
    icons = read_json(packages / ICONS[vendor] / "icons.json")
    names = {code_points(k): n for k, n in read_json(packages / ICONS[vendor] / "chars.json").items()}
    drawings = [icons["icons"][names[h]] for h in hexcodes]
    tasks = [(d["body"], d.get("width", icons["width"]), d.get("height", icons["height"])) for d in drawings]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return list(pool.map(render, tasks))


def drawn_by_all(packages: Path) -> list[dict]:
    """The emojibase entries that every vendor draws, in Unicode order; skin tones are not separate entries."""
    known = [{code_points(k) for k in read_json(packages / f / "chars.json")} for f in ICONS.values()]
    entries = read_json(packages / "emojibase-data-17.0.0/en/data.json")
    found = [e for e in entries if "group" in e and all(code_points(e["hexcode"]) in k for k in known)]
    return sorted(found, key=lambda e: e["order"])


def names_table(packages: Path, entries: list[dict]) -> pa.Table:
    """Characters, groups, concepts, splits, and names and tags in every language."""
    meta = read_json(packages / "emojibase-data-17.0.0/meta/groups.json")
    keys = key_words([e["label"] for e in entries])
    concept = concepts(keys)
    columns = {
        "character": [e["emoji"] for e in entries],
        "hexcode": [code_points(e["hexcode"]) for e in entries],
        "group": [meta["groups"][str(e["group"])] for e in entries],
        "subgroup": [meta["subgroups"][str(e["subgroup"])] for e in entries],
        "concept": concept,
        "key_words": [sorted(k) for k in keys],
        "split": splits(keys, concept),
    }
    for language in LANGUAGES:
        by_hex = {e["hexcode"]: e for e in read_json(packages / f"emojibase-data-17.0.0/{language}/data.json")}
        rows = [by_hex[e["hexcode"]] for e in entries]
        columns[f"name_{language}"] = [r["label"] for r in rows]
        columns[f"tags_{language}"] = [r.get("tags", []) for r in rows]
    return pa.table(columns)


def write(table: pa.Table, path: Path) -> None:
    """Write a Parquet file, and its SHA-256 into the folder's list."""
    pq.write_table(table, path, compression="zstd", compression_level=19)
    listed = path.parent / "SHA256SUMS"
    old = [line for line in listed.read_text().splitlines() if not line.endswith(path.name)] if listed.exists() else []
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    listed.write_text("\n".join(sorted([*old, f"{digest}  {path.name}"], key=lambda line: line[66:])) + "\n")


def main(packages: Path) -> None:
    """Build all the tables."""
    entries = drawn_by_all(packages)
    names = names_table(packages, entries)
    write(names, HERE / "names.parquet")
    # 🤗 Datasets decodes a struct of bytes and path as a picture when the schema says so
    features = {"info": {"features": {"hexcode": {"dtype": "string", "_type": "Value"}, "image": {"_type": "Image"}}}}
    for vendor in ICONS:
        drawn = pictures(packages, vendor, names["hexcode"].to_pylist())
        image = [{"bytes": png, "path": f"{h}.png"} for png, h in zip(drawn, names["hexcode"].to_pylist(), strict=True)]
        kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
        table = pa.table({"hexcode": names["hexcode"], "image": pa.array(image, kind)})
        table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
        write(table, FOLDERS.get(vendor, HERE) / f"{vendor}.parquet")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
