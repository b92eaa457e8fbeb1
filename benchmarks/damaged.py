"""How many damaged pictures does `reslab data check` find, and does it accuse good ones?

    python benchmarks/damaged.py --out FILE.json

Photographs are made in a temporary folder, in the formats and sizes that folders of pictures have,
and some of them damaged in the ways of disks, networks and programs that were stopped. Pillow says
what is damage: where it shows the same pixels as before, or those of another whole picture whose
end was put on, nothing is wrong with the file, and it is counted apart.

Not all damage can be told by anyone. A BMP has no checksum, and any bytes are pixels of it; a few
changed bytes among the codes of a JPEG, GIF or WebP may give other codes for as many pixels. These
pairs of way and format (``SILENT``) are counted too, and told apart from what can be told.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from measure import describe_machine
from photographs import photograph
from race import say
from reslab.data.checks.check import check_pictures
from reslab.data.pictures.listing import list_folder
from reslab.engine.machine import inspect_machine
from tables import table

SIZES = ((500, 375), (320, 240), (240, 320), (224, 224), (160, 120))

# How each is saved: Pillow's format and options, and how many of twenty.
FORMATS: dict[str, tuple[str, dict[str, Any], int]] = {
    "JPEG": ("jpg", {"quality": 90}, 9),
    "progressive JPEG": ("jpg", {"quality": 85, "progressive": True}, 2),
    "PNG": ("png", {}, 4),
    "WebP": ("webp", {"quality": 85}, 2),
    "lossless WebP": ("webp", {"lossless": True}, 1),
    "GIF": ("gif", {}, 1),
    "BMP": ("bmp", {}, 1),
}
SHARES = [name for name, (_, _, share) in FORMATS.items() for _ in range(share)]

# What is said of a picture that is damaged.
ACCUSED = ("empty", "not_a_picture", "undecodable", "damaged", "too_large", "unreadable")

# Bytes that a disk or a network reads and writes at once.
SECTOR = 512

PAGE = b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head></html>\n"

Rng = np.random.Generator
Way = Callable[[bytes, bytes, Rng], bytes]


def cut(content: bytes, other: bytes, rng: Rng) -> bytes:
    """The end is missing from a random place on."""
    return content[: rng.integers(1, len(content))]


def zeroed(content: bytes, other: bytes, rng: Rng) -> bytes:
    """Zeros from a random place on, as of a file that was reserved and not written."""
    place = int(rng.integers(1, len(content)))
    return content[:place] + bytes(len(content) - place)


def scattered(content: bytes, other: bytes, rng: Rng) -> bytes:
    """A few bytes here and there are others."""
    changed = bytearray(content)
    for place in rng.integers(0, len(content), rng.integers(1, 65)):
        changed[place] = rng.integers(256)
    return bytes(changed)


def half(content: bytes, other: bytes, rng: Rng) -> bytes:
    """The second half is overwritten by anything."""
    place = len(content) // 2
    return content[:place] + rng.bytes(len(content) - place)


def gap(content: bytes, other: bytes, rng: Rng) -> bytes:
    """A sector is missing."""
    place = int(rng.integers(0, max(1, len(content) - SECTOR)))
    return content[:place] + content[place + SECTOR :]


def empty(content: bytes, other: bytes, rng: Rng) -> bytes:
    """Nothing was written."""
    return b""


def page(content: bytes, other: bytes, rng: Rng) -> bytes:
    """A server's complaint was saved in place of the picture."""
    return PAGE


def spliced(content: bytes, other: bytes, rng: Rng) -> bytes:
    """From a random place on it is another picture's file."""
    place = int(rng.integers(1, min(len(content), len(other))))
    return content[:place] + other[place:]


WAYS: dict[str, Way] = {
    way.__name__: way for way in (cut, zeroed, scattered, half, gap, empty, page, spliced)
}

# Ways that leave a valid file of some formats, or may.
SILENT = {
    *(("BMP", way) for way in ("zeroed", "scattered", "half", "spliced")),
    *((name, "scattered") for name in FORMATS if name not in ("PNG", "BMP")),
}


def main() -> int:
    """Damage, check, write, print."""
    options = parse()
    environment = describe_machine()
    with tempfile.TemporaryDirectory() as made:
        found = measure(Path(made), options)
    found = {"benchmark": "damaged", "environment": environment, **found}
    if options.out is not None:
        options.out.write_text(json.dumps(found, indent=1) + "\n")
    print(format_table(found))
    return 0


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """What became of every file."""
    say(f"{options.images:,} photographs …")
    rng = np.random.default_rng(options.seed)
    chosen = set(rng.choice(options.images, options.damaged, replace=False).tolist())
    names = list(WAYS)
    fates: dict[str, tuple[str, str, str]] = {}
    for number in range(options.images):
        name = SHARES[number % len(SHARES)]
        content = encode(number, name)
        way = "none"
        fate = "good"
        if number in chosen:
            way = names[len(fates) % len(names)]
            # Of the same size, as pictures of one camera are.
            other = encode(number + len(SIZES), name)
            damaged = WAYS[way](content, other, rng)
            fate = judge(damaged, content, other)
            content = damaged
        path = folder / "ab"[number % 2] / f"{number:05}.{FORMATS[name][0]}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        if way != "none":
            fates[path.relative_to(folder).as_posix()] = (name, way, fate)
    say("check …")
    checked = check_pictures(
        list_folder(folder), SIZES[-1][1], workers=options.threads or inspect_machine().cpus
    )
    accused = {
        file
        for finding in checked.findings
        if finding.kind.name in ACCUSED
        for file in finding.files
    }
    return {
        "work": {
            "images": options.images,
            "damaged": options.damaged,
            "seed": options.seed,
            "sizes": SIZES,
        },
        **summarise(fates, accused),
    }


def summarise(fates: dict[str, tuple[str, str, str]], accused: set[str]) -> dict[str, Any]:
    """How many there are of each format and way, and how many of them were found."""
    cells: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    missed = []
    for file, (name, way, fate) in fates.items():
        if fate == "damaged":
            kind = "found" if file in accused else "missed"
            cells[name, way][kind] += 1
            if kind == "missed" and (name, way) not in SILENT:
                missed.append({"file": file, "format": name, "way": way})
        else:
            cells[name, way][fate] += 1
    rows = [
        {"format": name, "way": way, "silent": (name, way) in SILENT, **dict(cell)}
        for (name, way), cell in sorted(cells.items())
    ]
    return {
        "accused_good": sorted(accused - fates.keys()),
        "all": share_of(rows),
        "that_can_be_told": share_of([row for row in rows if not row["silent"]]),
        "missed_that_can_be_told": missed,
        "by_format": {name: share_of([r for r in rows if r["format"] == name]) for name in FORMATS},
        "by_way": {way: share_of([r for r in rows if r["way"] == way]) for way in WAYS},
        "rows": rows,
    }


def share_of(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What was found of some damaged files.

    >>> share_of([{"found": 3, "missed": 1}, {"same": 2}])
    {'damaged': 4, 'found': 3, 'share': 0.75, 'same': 2, 'another': 0}
    """
    count = {
        kind: sum(row.get(kind, 0) for row in rows)
        for kind in ("found", "missed", "same", "another")
    }
    damaged = count["found"] + count["missed"]
    return {
        "damaged": damaged,
        "found": count["found"],
        "share": count["found"] / damaged if damaged else None,
        "same": count["same"],
        "another": count["another"],
    }


def encode(number: int, name: str) -> bytes:
    """A photograph as a file of that format."""
    image = photograph(number).resize(SIZES[number % len(SIZES)], Image.Resampling.BICUBIC)
    suffix, options, _ = FORMATS[name]
    stream = BytesIO()
    (image.quantize() if suffix == "gif" else image).save(
        stream, "JPEG" if suffix == "jpg" else suffix.upper(), **options
    )
    return stream.getvalue()


def judge(damaged: bytes, content: bytes, other: bytes) -> str:
    """``damaged``, or ``same`` or ``another`` where it shows one of two whole pictures."""
    shown = pixels_of(damaged)
    if shown is None:
        return "damaged"
    for fate, file in (("same", content), ("another", other)):
        whole = pixels_of(file)
        assert whole is not None
        if np.array_equal(shown, whole):
            return fate
    return "damaged"


def pixels_of(content: bytes) -> npt.NDArray[np.uint8] | None:
    """What Pillow shows; None: nothing."""
    try:
        with Image.open(BytesIO(content)) as image:
            return np.asarray(image.convert("RGB"))
    except Exception:  # noqa: BLE001 - decoders fail in any way they like
        return None


def format_table(found: dict[str, Any]) -> str:
    """What was found, as Markdown."""
    parts = [
        ("all", found["all"]),
        ("that can be told", found["that_can_be_told"]),
        *found["by_format"].items(),
        *found["by_way"].items(),
    ]
    rows = [
        [
            name,
            "-" if part["share"] is None else f"{part['share']:.1%}",
            f"{part['found']:,}",
            f"{part['damaged']:,}",
            f"{part['same'] + part['another']:,}",
        ]
        for name, part in parts
    ]
    good = found["work"]["images"] - found["work"]["damaged"]
    return "\n".join(
        [
            table(["what", "share found", "found", "damaged", "whole all the same"], rows),
            f"- good pictures that were accused: {len(found['accused_good'])} of {good:,}",
        ]
    )


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--damaged", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="default: all CPUs")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
