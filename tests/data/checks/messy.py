"""Builds a folder with every kind of trouble, beside good pictures that are to be left in peace."""

from __future__ import annotations

import shutil
import struct
import zlib
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

GOOD = 12  # pictures of each good class in each split
CLASSES = ("church", "flower")


def photographs() -> dict[str, Image.Image]:
    """A photograph for each class."""
    church, flower = load_sample_images().images
    return {"church": Image.fromarray(church), "flower": Image.fromarray(flower)}


def part(photograph: Image.Image, seed: int, side: int = 160) -> Image.Image:
    """A square of a photograph, unlike those of other seeds."""
    rng = np.random.default_rng(seed)
    wide = side * 3 // 2
    left = int(rng.integers(photograph.width - wide))
    top = int(rng.integers(photograph.height - wide))
    # Turned, so that squares that overlap are not nearly equal.
    square = photograph.crop((left, top, left + wide, top + wide)).rotate(
        47 * seed % 360, Image.Resampling.BILINEAR
    )
    rest = (wide - side) // 2
    square = square.crop((rest, rest, rest + side, rest + side))
    tint = rng.uniform(0.5, 1.0, 3)
    return Image.fromarray((np.asarray(square) * tint).astype(np.uint8))


class Messy:
    """The folder, and what is wrong with which of its files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.expected: dict[str, set[str]] = defaultdict(set)
        self.good: set[str] = set()
        self._photographs = photographs()
        self._seed = 0

    def picture(self, label: str = "church") -> Image.Image:
        """One that is like no other."""
        self._seed += 1
        return part(self._photographs.get(label, self._photographs["flower"]), self._seed)

    def place(self, name: str) -> Path:
        """The path of that name, its folder made."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def save(self, name: str, image: Image.Image, *kinds: str, **options: object) -> Path:
        """Save a picture that belongs to these findings."""
        path = self.place(name)
        image.save(path, **options)
        self.note(name, *kinds)
        return path

    def note(self, name: str, *kinds: str) -> None:
        """Remember what is to be found of a file."""
        for kind in kinds:
            self.expected[kind].add(name)
        if not kinds:
            self.good.add(name)

    def write(self, name: str, content: bytes, *kinds: str) -> None:
        """Write a file that belongs to these findings."""
        self.place(name).write_bytes(content)
        self.note(name, *kinds)


def build(root: Path) -> Messy:
    """The folder with train, val and test."""
    messy = Messy(root)
    for split in ("train", "val", "test"):
        for label in CLASSES:
            for number in range(GOOD):
                suffix = ("jpg", "png", "webp", "bmp", "jpeg", "JPG")[number % 6]
                options = {"quality": 90} if suffix.lower() in ("jpg", "jpeg", "webp") else {}
                name = f"{split}/{label}/{number:02}.{suffix}"
                messy.save(name, messy.picture(label), **options)
    _classes(messy)
    _files(messy)
    _storage(messy)
    _copies(messy)
    return messy


def _classes(messy: Messy) -> None:
    messy.save("test/unknown/a.png", messy.picture("flower"))
    messy.expected["classes_differ"].add("test: unknown")
    messy.save("train/lonely/a.png", messy.picture("flower"))
    messy.expected["single_image"].add("lonely")
    messy.save("train/rose bush/a.png", messy.picture("flower"))
    messy.save("train/rose bush/b.png", messy.picture("flower"))
    messy.save("train/Rose-Bush/a.png", messy.picture("flower"))
    messy.save("train/Rose-Bush/b.png", messy.picture("flower"))
    messy.expected["similar_classes"] |= {"rose bush", "Rose-Bush"}
    messy.place("train/nothing/x").parent.mkdir(exist_ok=True)
    messy.expected["empty_class"].add("train/nothing/")
    messy.expected["imbalance"] |= {"lonely", "rose bush", "Rose-Bush"}
    for split in ("val", "test"):
        for label in ("lonely", "rose bush", "Rose-Bush"):
            messy.expected["class_missing"].add(f"{split}: {label}")
    messy.write("train/.DS_Store", b"\0\0\0\1Bud1", "hidden")
    messy.write("train/church/Thumbs.db", b"\xd0\xcf\x11\xe0", "hidden")
    messy.write("__MACOSX/._00.jpg", b"\0\5\x16\7")
    messy.expected["hidden"].add("__MACOSX/")
    messy.save("train/.ipynb_checkpoints/00-checkpoint.png", messy.picture())
    messy.good.discard("train/.ipynb_checkpoints/00-checkpoint.png")
    messy.expected["hidden"].add("train/.ipynb_checkpoints/")
    messy.good.discard("__MACOSX/._00.jpg")
    messy.write("train/church/notes.txt", b"taken in May", "no_image")
    messy.save("train/loose.png", messy.picture(), "outside")
    messy.write("readme.md", b"# pictures", "outside")
    messy.save("extra/church/a.png", messy.picture())
    messy.good.discard("extra/church/a.png")
    messy.expected["outside"].add("extra/")
    messy.place("testing/1.png").touch()
    messy.expected["unlabelled"].add("testing/")
    (messy.root / "train/church/again").symlink_to(messy.root / "train", target_is_directory=True)
    messy.expected["loop"] |= {"train/church/again/"}


def _files(messy: Messy) -> None:
    here = "train/church"
    (messy.place(f"{here}/gone.jpg")).symlink_to(messy.root / "nowhere.jpg")
    messy.note(f"{here}/gone.jpg", "missing")
    messy.write(f"{here}/empty.jpg", b"", "empty")
    messy.write(f"{here}/zeros.jpg", bytes(4096), "not_a_picture")
    messy.write(f"{here}/page.png", b"<html><body>404 Not Found</body></html>", "not_a_picture")
    tiff = messy.place("picture.tif")
    messy.picture().save(tiff)
    messy.write(f"{here}/scanned.TIF", tiff.read_bytes(), "other_format")
    messy.write(f"{here}/scan.png", tiff.read_bytes(), "not_a_picture")
    tiff.unlink()
    jpeg = messy.place("whole.jpg")
    messy.picture().save(jpeg, quality=90)
    whole = jpeg.read_bytes()
    jpeg.unlink()
    messy.write(f"{here}/half.jpg", whole[: len(whole) // 2], "undecodable")
    png = messy.place("whole.png")
    messy.picture().save(png)
    content = bytearray(png.read_bytes())
    png.unlink()
    messy.write(f"{here}/half.png", bytes(content[: len(content) // 2]), "undecodable")
    content[len(content) // 2] ^= 0xFF
    messy.write(f"{here}/flipped.png", bytes(content), "undecodable")
    overwritten = bytearray(whole)
    overwritten[len(whole) // 2 :] = np.random.default_rng(0).bytes(len(whole) - len(whole) // 2)
    messy.write(f"{here}/overwritten.jpg", bytes(overwritten), "undecodable")
    scratched = bytearray(whole)
    scratched[len(whole) // 2 : len(whole) // 2 + 40] = bytes(range(40))
    messy.write(f"{here}/scratched.jpg", bytes(scratched), "damaged")
    messy.write(f"{here}/bomb.png", declared_png(50_000, 50_000), "too_large")
    messy.save(f"{here}/really.png", messy.picture(), "wrong_suffix", format="JPEG", quality=90)
    messy.save(f"{here}/photo", messy.picture(), "unlisted", format="PNG")
    messy.save(f"{here}/black.png", Image.new("RGB", (160, 160)), "blank")
    messy.save(f"{here}/stamp.png", messy.picture().resize((20, 20)), "tiny")
    messy.save(f"{here}/strip.png", messy.picture().resize((900, 200)), "elongated")


def _storage(messy: Messy) -> None:
    here = "train/flower"
    exif = Image.Exif()
    exif[0x0112] = 6
    messy.save(f"{here}/lying.jpg", messy.picture("flower"), "rotated", exif=exif, quality=90)
    clear = messy.picture("flower").convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    messy.save(f"{here}/clear.png", clear, "transparent")
    ghost = Image.new("RGBA", (160, 160), "grey")
    ghost.putalpha(Image.linear_gradient("L").resize(ghost.size))
    messy.save(f"{here}/ghost.png", ghost, "transparent", "vanishing")
    messy.save(f"{here}/grey.png", messy.picture("flower").convert("L"), "grey")
    messy.save(f"{here}/few.png", messy.picture("flower").quantize(32), "palette")
    messy.save(f"{here}/print.jpg", messy.picture("flower").convert("CMYK"), "cmyk", quality=90)
    levels = np.asarray(messy.picture("flower").convert("L")).astype(np.uint16) * 257
    messy.save(f"{here}/deep.png", Image.fromarray(levels), "sixteen_bit", "grey")
    frames = [messy.picture("flower") for _ in range(3)]
    messy.save(
        f"{here}/moving.webp",
        frames[0],
        "animated",
        save_all=True,
        append_images=frames[1:],
        lossless=True,
    )


def _copies(messy: Messy) -> None:
    twin = messy.save("train/church/twin.png", messy.picture(), "duplicate")
    shutil.copy(twin, messy.root / "train/church/twin copy.png")
    messy.note("train/church/twin copy.png", "duplicate")
    messy.save("train/church/torn.png", one := messy.picture(), "conflict")
    messy.save("train/flower/torn.webp", one, "conflict", lossless=True)
    messy.save("train/church/leaked.png", one := messy.picture(), "leak")
    messy.save("test/church/leaked.bmp", one, "leak")
    messy.save("train/church/near.png", one := messy.picture(), "near_leak")
    smaller = one.crop((2, 2, 158, 158)).resize((200, 200), Image.Resampling.BICUBIC)
    messy.save("val/church/near.jpg", smaller, "near_leak", quality=70)


def declared_png(width: int, height: int) -> bytes:
    """A PNG whose header promises a size that its few bytes do not hold."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
