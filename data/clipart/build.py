"""Rebuild the table of clip art from the Debian package named in SOURCE.md.

Usage, from anywhere::

    apt-get download openclipart-svg=1:0.18+dfsg-19 && dpkg-deb -x openclipart-svg_*.deb CLIPART
    python data/clipart/build.py CLIPART/usr/share/openclipart/svg RENDERED

RENDERED is a folder for the renderings; those that are there already are not made again. Needs ``rsvg-convert``
(Debian: librsvg2-bin) and the course's environment. It writes ``clipart.parquet`` and its checksum, and prints how many
pictures each rule leaves out.
"""

import collections
import concurrent.futures
import hashlib
import html
import io
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

HERE = Path(__file__).resolve().parent
SIZE = 64
DRAWN = 384  # pixels of the longer side of the page that is cropped
SECONDS = 60  # for one rendering
QUALITY = 90
DUBLIN, RDF, CC = (
    "{http://purl.org/dc/elements/1.1/}", "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}", "{http://web.resource.org/cc/}",
)  # fmt: skip
PUBLIC_DOMAIN = {"http://web.resource.org/cc/PublicDomain", "http://creativecommons.org/licenses/publicdomain/"}
SERIES = re.compile(
    r"shapes/stars/star_\d+pt|special/gradients/"
)  # 1,375 stars of a formula; gradients without a shape
COLLECTION = re.compile(r"clipart by |part of the flat icon")  # titles of collections, not of pictures
SHARED = 12  # a title of more pictures than this is a collection's as well
BLANK = 4  # mean distance from white, of 255, below which a picture shows next to nothing
SMALL = 48  # pixels that a drawing covers of its page of DRAWN
EQUAL, ALIKE = 6, 12  # distance of thumbnails below which pictures are the same, or stand in one part
SALT = "mmcook clipart 1 "
PARTS = (("test", 0.05), ("validation", 0.10), ("train", 1.00))  # the share below which a hash falls
UNFIT = {  # beginnings of names, by the reason for which they are not for a classroom
    "weapons and violence": (
        "animals/2_dead_frogs", "animals/amphibian/2_dead_frogs", "animals/fish/kallisti-grenade",
        "food/fruit/kallisti-grenade", "people/enthusiast", "tools/gallows", "tools/weapons/9_mm", "tools/weapons/ak47",
        "tools/weapons/blue_gun", "tools/weapons/bomb", "tools/weapons/bullet_hole", "tools/weapons/fat_man",
        "tools/weapons/kallisti", "tools/weapons/knife", "tools/weapons/little_boy", "tools/weapons/m16",
        "tools/weapons/m1_abrams", "tools/weapons/mortar", "tools/weapons/ninjastar", "tools/weapons/projectile",
    ),
    "nudity and sex": (
        "animals/fantasy/mermaid", "people/clothing/hats/pimp_hat", "people/clothing/pantyhose", "people/elfish_girl",
        "people/female_rollandin", "people/hide_girl", "people/sexy_lady", "people/silhouette_female",
        "people/silhouette_male", "people/stripper", "plants/human_humain", "recreation/religion/daedalus",
        "recreation/religion/eris", "shapes/shadow_babe", "unsorted/simbol_donna",
    ),
    "drugs": (
        "people/bad_guy", "plants/cannabis", "signs_and_symbols/bitte_keine_tueten",
        "signs_and_symbols/map_symbols/aiga_smoking", "tools/smoke",
    ),
    "emblems of hate": ("decorations/sunwheel", "signs_and_symbols/flags/america/united_states/usa_missisipi"),
    "politics of its day": ("unsorted/media_as_wmd", "unsorted/what_have_you_done"),
    "likenesses of private people": (
        "people/a_boy_plays", "people/a_happy_boy", "people/a_man_singing", "people/a_youngster", "people/grandpa",
    ),
}  # fmt: skip


def described(path: Path) -> dict:
    """What a file says of itself: its licences, title, author and keywords."""
    root = ET.parse(path).getroot()
    work = root.find(f".//{CC}Work")
    say = (lambda name: work.findtext(name) or "") if work is not None else (lambda name: "")
    keywords = [item.text or "" for item in root.iterfind(f".//{DUBLIN}subject/{RDF}Bag/{RDF}li")]
    keywords = [" ".join(word.split()) for word in keywords if not re.match(r"hash(\(|$)|0x|unsorted$", word)]
    return {
        "licences": {item.get(f"{RDF}resource") for item in root.iter(f"{CC}license")} - {"Public Domain"},
        "title": " ".join(html.unescape(say(f"{DUBLIN}title")).replace("_", " ").split()),
        "author": say(f"{DUBLIN}creator/{CC}Agent/{DUBLIN}title"),
        "keywords": list(dict.fromkeys(filter(None, keywords))),
    }


def unfit(names: list[str]) -> dict[str, str]:
    """The reason why a picture is not for a classroom; one with the file name of such a picture is its copy."""
    found = {name: why for name in names for why, starts in UNFIT.items() if name.startswith(starts)}
    stems = {name.rpartition("/")[2]: why for name, why in found.items()}
    return {name: stems[stem] for name in names if (stem := name.rpartition("/")[2]) in stems}


def render(path: Path, png: Path) -> bool:
    """Draw a file, unless that has been done, and say whether it could be drawn."""
    png.parent.mkdir(parents=True, exist_ok=True)
    command = ["rsvg-convert", "-w", str(DRAWN), "-h", str(DRAWN), "--keep-aspect-ratio", str(path), "-o", str(png)]
    if not png.exists():
        try:
            subprocess.run(command, capture_output=True, check=True, timeout=SECONDS)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            png.unlink(missing_ok=True)
    return png.exists()


def picture(png: Path) -> np.ndarray | None:
    """A rendering on white, cropped to the drawing and centred on a square; None where there is too little of it."""
    drawn = Image.open(png).convert("RGBA")
    flat = Image.alpha_composite(Image.new("RGBA", drawn.size, "white"), drawn).convert("RGB")
    ink = (np.asarray(flat) < 250).any(axis=2)
    if not ink.any():
        return None
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    flat = flat.crop((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    side = max(flat.size)
    square = Image.new("RGB", (side, side), "white")
    square.paste(flat, ((side - flat.width) // 2, (side - flat.height) // 2))
    pixels = np.asarray(square.resize((SIZE, SIZE), Image.Resampling.LANCZOS))
    return pixels if side >= SMALL and 255 - pixels.mean() >= BLANK else None


def jpeg(pixels: np.ndarray) -> bytes:
    """A picture as a JPEG file."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=QUALITY, optimize=True)
    return out.getvalue()


def distances(pictures: list[np.ndarray]) -> np.ndarray:
    """Root mean square distance between all thumbnails of 16 pixels."""
    block = SIZE // 16
    small = np.stack(pictures).reshape(-1, 16, block, 16, block, 3).mean(axis=(2, 4)).reshape(len(pictures), -1)
    square = (small**2).sum(axis=1)
    return np.sqrt(np.maximum(square[:, None] + square - 2 * small @ small.T, 0) / small.shape[1])


def file_title(name: str, author: str) -> str:
    """The title that a file name makes, without the author and the number at its end."""
    stem = name.rpartition("/")[2].lower()
    slug = re.sub(r"[^\w.]", "_", author.lower())
    for cut in [match.start() for match in re.finditer("_", stem)]:
        tail = re.sub(r"_+[a-z\d]{0,2}$|\d+$", "", stem[cut + 1 :])
        if len(tail) > 2 and slug.startswith(tail):
            stem = stem[:cut]
            break
    return re.sub(r"( \d+)?$", "", " ".join(re.split(r"[\W_]+", stem)).strip()) or stem


def titles(names: list[str], said: list[dict]) -> list[str]:
    """The title that the file gives, or its name where that title is a collection's or missing."""
    counts = collections.Counter(about["title"].lower() for about in said)
    chosen = []
    for name, about in zip(names, said, strict=True):
        title = about["title"]
        own = title and counts[title.lower()] <= SHARED and not COLLECTION.match(title.lower())
        chosen.append(title if own else file_title(name, about["author"]))
    return chosen


def words(text: str) -> str:
    """The words of a title or file name without digits and single letters."""
    return " ".join(word for word in re.findall(r"[^\W\d_]+", text.lower()) if len(word) > 1)


def families(names: list[str], named: list[str], apart: np.ndarray) -> list[int]:
    """The family of each picture: one folder and the same words in title or file name, or pictures that are alike."""
    parent = list(range(len(names)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    first: dict[tuple[str, ...], int] = {}
    for i, (name, title) in enumerate(zip(names, named, strict=True)):
        folder, _, stem = name.rpartition("/")
        for kind, text in (("title", words(title)), ("file", words(stem))):
            if text:
                parent[root(i)] = root(first.setdefault((kind, folder, text), i))
    for i, j in np.argwhere(np.triu(apart < ALIKE, 1)):
        parent[root(i)] = root(j)
    return [root(i) for i in range(len(names))]


def splits(names: list[str], family: list[int]) -> list[str]:
    """The part of each picture, drawn by the hash of its family's first name in the alphabet."""
    first: dict[int, str] = {}
    for name, number in zip(names, family, strict=True):
        first[number] = min(name, first.get(number, name))
    drawn = {}
    for number, name in first.items():
        share = int.from_bytes(hashlib.sha256((SALT + name).encode()).digest()[:8], "big") / 2**64
        drawn[number] = next(part for part, limit in PARTS if share < limit)
    return [drawn[number] for number in family]


def main(clipart: Path, rendered: Path) -> None:
    """Write the table and its checksum."""
    paths = {str(p.relative_to(clipart))[:-4]: p for p in sorted(clipart.rglob("*.svg")) if not p.is_symlink()}
    left_out, about, kept, bad = collections.Counter(), {}, [], unfit(list(paths))
    for name, path in paths.items():
        about[name] = described(path)
        reason = bad.get(name, "a series of one shape" if SERIES.match(name) else None)
        if not about[name]["licences"] or about[name]["licences"] - PUBLIC_DOMAIN:
            reason = "another licence or none"
        left_out[reason] += 1
        kept += [] if reason else [name]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        could = list(pool.map(lambda name: render(paths[name], rendered / f"{name}.png"), kept))
    kept = [name for name, done in zip(kept, could, strict=True) if done]
    left_out["cannot be drawn"] = len(could) - len(kept)
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        drawn = dict(zip(kept, pool.map(picture, [rendered / f"{n}.png" for n in kept], chunksize=50), strict=True))
    kept = [name for name in kept if drawn[name] is not None]
    left_out["blank, faint or too small"] = len(drawn) - len(kept)
    apart = distances([drawn[name] for name in kept])
    single: list[int] = []
    for i in range(len(kept)):
        if not (apart[i, single] < EQUAL).any():
            single.append(i)
    left_out["nearly equal to another"] = len(kept) - len(single)
    kept, apart = [kept[i] for i in single], apart[np.ix_(single, single)]
    named = titles(kept, [about[name] for name in kept])
    family = families(kept, named, apart)
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    table = pa.table({
        "name": kept,
        "title": named,
        "keywords": [about[name]["keywords"] for name in kept],
        "category": [name.rpartition("/")[0] for name in kept],
        "split": splits(kept, family),
        "image": pa.array([{"bytes": jpeg(drawn[n]), "path": f"{n}.jpg"} for n in kept], kind),
    })  # fmt: skip
    features = datasets.Features.from_arrow_schema(table.schema) | {"image": datasets.Image()}
    info = {"info": {"features": datasets.Features(features).to_dict()}}  # so that 🤗 Datasets decodes the pictures
    path = HERE / "clipart.parquet"
    table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
    pq.write_table(table, path, compression="zstd", compression_level=19)
    (HERE / "SHA256SUMS").write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")
    largest = collections.Counter(family).most_common(3)
    print(f"{len(kept)} of {len(paths)}; {dict(left_out)}; families {len(set(family))}, largest {largest}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
