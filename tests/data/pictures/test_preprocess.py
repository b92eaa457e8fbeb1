import contextlib
import io
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from reslab.data.pictures import preprocess
from reslab.data.pictures.preprocess import FORMATS, SUFFIXES, Fit, decode_image
from reslab.data.pictures.reading import MAX_PIXELS
from reslab.data.pictures.room import Room
from reslab.errors import UserError

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def bytes_of(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def save(folder, image, name="image.png", **options):
    path = folder / name
    image.save(path, **options)
    return path


def encode(image, file_format, **options):
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def solid(colour, size=(8, 8), mode="RGB"):
    return Image.new(mode, size, colour)


def declared_png(width, height):
    """A PNG whose header promises a size that its few bytes do not hold."""

    def chunk(kind, data):
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


# Pictures that are what they seem.


def test_grey_pixels_of_the_right_size_pass_untouched(tmp_path):
    pixels = bytes_of(28, 28)
    out = decode_image(save(tmp_path, Image.fromarray(pixels)), Fit(channels=1, size=28))
    assert np.array_equal(out, pixels[None])
    assert out.dtype == np.uint8
    assert out.flags.c_contiguous


@pytest.mark.parametrize("name", ["image.png", "image.bmp", "image.webp"])
def test_colour_pixels_of_the_right_size_pass_untouched(name, tmp_path):
    pixels = bytes_of(16, 16, 3)
    options = {"lossless": True} if name.endswith("webp") else {}
    path = save(tmp_path, Image.fromarray(pixels), name, **options)
    out = decode_image(path, Fit(channels=3, size=16))
    assert np.array_equal(out, pixels.transpose(2, 0, 1))
    assert out.flags.c_contiguous


def test_a_jpeg_is_what_it_shows(tmp_path):
    path = save(tmp_path, solid((10, 100, 200)), "image.jpg", quality=95)
    out = decode_image(path, Fit(channels=3, size=8)).astype(int)
    assert np.abs(out - np.array([10, 100, 200])[:, None, None]).max() <= 3


def test_the_content_counts_and_not_the_name(tmp_path):
    path = tmp_path / "image.txt"
    pixels = bytes_of(6, 6)
    path.write_bytes(encode(Image.fromarray(pixels), "PNG"))
    assert np.array_equal(decode_image(path, Fit(channels=1, size=6))[0], pixels)


def test_grey_becomes_three_equal_channels(tmp_path):
    pixels = bytes_of(9, 9)
    out = decode_image(save(tmp_path, Image.fromarray(pixels)), Fit(channels=3, size=9))
    assert np.array_equal(out, np.stack([pixels] * 3))


def test_colour_becomes_its_luma(tmp_path):
    pixels = bytes_of(9, 9, 3)
    out = decode_image(save(tmp_path, Image.fromarray(pixels)), Fit(channels=1, size=9))
    luma = pixels @ np.array([0.299, 0.587, 0.114])
    assert np.abs(out[0] - luma).max() <= 1


def test_a_palette_is_looked_up(tmp_path):
    image = Image.fromarray(bytes_of(8, 8, 3)).quantize(16)
    palette = np.array(image.getpalette()).reshape(-1, 3)
    out = decode_image(save(tmp_path, image), Fit(channels=3, size=8))
    assert np.array_equal(out, palette[np.asarray(image)].transpose(2, 0, 1))


def test_black_and_white_is_0_and_255(tmp_path):
    bits = bytes_of(8, 8) > 127
    out = decode_image(save(tmp_path, Image.fromarray(bits)), Fit(channels=1, size=8))
    assert np.array_equal(out[0], np.where(bits, 255, 0))


def test_16_bits_are_scaled_and_not_clipped(tmp_path):
    levels = bytes_of(8, 8)
    image = Image.fromarray(levels.astype(np.uint16) * 257)
    assert image.mode == "I;16"
    out = decode_image(save(tmp_path, image), Fit(channels=1, size=8))
    assert np.array_equal(out[0], levels)


def test_cmyk_is_turned_to_rgb(tmp_path):
    path = save(tmp_path, solid((0, 255, 255, 0), mode="CMYK"), "image.jpg", quality=95)
    out = decode_image(path, Fit(channels=3, size=8)).astype(int)
    assert np.abs(out - np.array(RED)[:, None, None]).max() <= 4
    assert decode_image(path, Fit(channels=1, size=8)).shape == (1, 8, 8)


BACKGROUNDS = {"black": 0, "grey": 128, "white": 255}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("name", "level"), BACKGROUNDS.items())
def test_what_is_transparent_lies_on_the_background(channels, name, level, tmp_path):
    colours = np.full((4, 4, 4), 200, np.uint8)
    colours[:, :, 3] = np.array([0, 64, 128, 255])[:, None]
    fit = Fit(channels=channels, size=4, background=name)
    out = decode_image(save(tmp_path, Image.fromarray(colours)), fit)
    share = np.array([0, 64, 128, 255]) / 255
    expected = 200 * share + level * (1 - share)
    assert np.abs(out - expected[None, :, None]).max() <= 1
    assert np.all(out[:, 0] == level)
    assert np.all(out[:, 3] == 200)


def test_grey_with_transparency_lies_on_it_too(tmp_path):
    pixels = np.array([[[200, 0], [200, 255]], [[200, 255], [200, 255]]], np.uint8)
    image = Image.fromarray(pixels)
    assert image.mode == "LA"
    out = decode_image(save(tmp_path, image), Fit(channels=1, size=2))
    assert out[0].tolist() == [[128, 200], [200, 200]]


def test_a_transparent_colour_of_a_palette_lies_on_it_too(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8)).convert("P")
    image.putpalette([255, 255, 255, 10, 20, 30])
    path = save(tmp_path, image, transparency=0)
    out = decode_image(path, Fit(channels=3, size=2, background="black"))
    assert out.transpose(1, 2, 0).tolist() == [
        [[0, 0, 0], [10, 20, 30]],
        [[10, 20, 30], [0, 0, 0]],
    ]


@pytest.mark.parametrize(
    ("policy", "rows"),
    [
        # The upper half is white, the lower one black, and the picture twice as wide as high.
        ("crop", [255, 255, 0, 0]),
        ("pad", [128, 255, 0, 128]),
        ("squash", [255, 255, 0, 0]),
    ],
)
def test_policies_of_fitting(policy, rows, tmp_path):
    pixels = np.zeros((4, 8), np.uint8)
    pixels[:2] = 255
    path = save(tmp_path, Image.fromarray(pixels).resize((80, 40), Image.Resampling.NEAREST))
    out = decode_image(path, Fit(channels=1, size=4, policy=policy)).astype(int)
    # Rows beside the edge have a little of both.
    assert np.abs(out[0] - np.array(rows)[:, None]).max() <= 40


@pytest.mark.parametrize(("policy", "shown"), [("crop", False), ("pad", True), ("squash", True)])
def test_crop_alone_hides_the_ends_of_a_long_picture(policy, shown, tmp_path):
    pixels = np.zeros((30, 90), np.uint8)
    pixels[:, :20] = 255
    path = save(tmp_path, Image.fromarray(pixels))
    out = decode_image(path, Fit(channels=1, size=30, policy=policy, background="black"))
    assert bool((out == 255).any()) == shown


def test_a_large_jpeg_is_decoded_smaller_and_looks_the_same(tmp_path):
    rows, columns = np.mgrid[0:600, 0:800]
    waves = 127 + 60 * np.sin(rows / 40) + 60 * np.cos(columns / 60)
    path = save(tmp_path, Image.fromarray(waves.astype(np.uint8)), "a.jpg", quality=95)
    fit = Fit(channels=1, size=50)
    png = save(tmp_path, Image.open(path), "a.png")
    difference = decode_image(path, fit).astype(int) - decode_image(png, fit)
    assert np.abs(difference).max() <= 4


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1"])
def test_a_large_picture_is_made_smaller_and_looks_the_same(mode, tmp_path, monkeypatch):
    rows, columns = np.mgrid[0:600, 0:800]
    waves = 127 + 60 * np.sin(rows / 40) + 60 * np.cos(columns / 60)
    image = Image.fromarray(waves.astype(np.uint8)).convert("RGB")
    path = save(tmp_path, image.quantize(64) if mode == "P" else image.convert(mode))
    fit = Fit(channels=1, size=50)
    whole = decode_image(path, fit).astype(int)
    monkeypatch.setattr(preprocess, "_LARGE", 1000)
    assert np.abs(decode_image(path, fit) - whole).max() <= (20 if mode == "1" else 2)


def test_a_large_jpeg_that_is_left_to_pillow_is_decoded_smaller_too(tmp_path, monkeypatch):
    image = Image.fromarray(bytes_of(6, 8, 3)).resize((803, 601), Image.Resampling.BICUBIC)
    path = save(tmp_path, image.convert("CMYK"), "a.jpg", quality=95)
    sizes = []
    flat_pixels = preprocess.flat_pixels

    def noted(image, *given, **options):
        sizes.append(image.size)
        return flat_pixels(image, *given, **options)

    monkeypatch.setattr(preprocess, "flat_pixels", noted)
    out = decode_image(path, Fit(channels=3, size=70)).astype(int)
    assert sizes == [(201, 151)]
    monkeypatch.setattr(preprocess, "_SPARE", 100)
    assert np.abs(out - decode_image(path, Fit(channels=3, size=70))).max() <= 12


UNITS = {
    "small.png": 0,
    "large.png": 4,
    "large.jpg": 0,
    "progressive.jpg": 4,
}


@pytest.mark.parametrize("name", UNITS)
def test_large_pictures_wait_for_each_other(name, tmp_path, monkeypatch):
    size = (2000, 2000) if name != "small.png" else (20, 20)
    options = {"progressive": name.startswith("p")} if name.endswith("jpg") else {}
    path = save(tmp_path, solid(RED, size), name, **options)
    taken = []

    class Noting(Room):
        def take(self, units):
            taken.append(units)
            return super().take(units)

    monkeypatch.setattr(preprocess, "_ROOM", Noting(100))
    decode_image(path, Fit(channels=3, size=100))
    assert taken == [UNITS[name]]


TURNED = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).T,
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", TURNED)
def test_a_picture_is_turned_as_its_exif_says(orientation, tmp_path):
    pixels = bytes_of(7, 7)
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = decode_image(save(tmp_path, Image.fromarray(pixels), exif=exif), Fit(channels=1, size=7))
    assert np.array_equal(out[0], TURNED[orientation](pixels))


XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>'


@pytest.mark.parametrize("kind", ["exif", "xmp"])
@pytest.mark.parametrize("orientation", TURNED)
def test_a_jpeg_is_turned_as_its_exif_or_xmp_says(orientation, kind, tmp_path):
    image = Image.fromarray(bytes_of(16, 16, 3)).resize((48, 48), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = orientation
    told = {"exif": exif} if kind == "exif" else {"xmp": XMP % orientation}
    upright = decode_image(save(tmp_path, image, "a.jpg"), Fit(channels=3, size=48))
    out = decode_image(save(tmp_path, image, "b.jpg", **told), Fit(channels=3, size=48))
    expected = [TURNED[orientation](channel) for channel in upright]
    assert np.array_equal(out, np.stack(expected))


def test_an_oblong_picture_is_turned_before_it_is_cut(tmp_path):
    image = solid(RED, (60, 20))
    image.paste(GREEN, (20, 0, 40, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    out = decode_image(save(tmp_path, image, exif=exif), Fit(channels=3, size=20))
    assert np.array_equal(out, np.broadcast_to(np.array(GREEN)[:, None, None], (3, 20, 20)))


def test_of_an_animation_the_first_frame_is_taken(tmp_path):
    frames = [solid(colour) for colour in (RED, GREEN, BLUE)]
    path = save(
        tmp_path, frames[0], "image.gif", save_all=True, append_images=frames[1:], duration=10
    )
    with Image.open(path) as image:
        assert image.n_frames == 3
    out = decode_image(path, Fit(channels=3, size=8))
    assert np.array_equal(out, np.broadcast_to(np.array(RED)[:, None, None], (3, 8, 8)))


# Sizes.


@pytest.mark.parametrize("upright", [False, True])
@pytest.mark.parametrize("size", [20, 10, 40])
def test_an_oblong_picture_is_cut_at_the_centre(size, upright, tmp_path):
    image = solid(RED, (20, 60) if upright else (60, 20))
    image.paste(GREEN, (0, 20, 20, 40) if upright else (20, 0, 40, 20))
    out = decode_image(save(tmp_path, image), Fit(channels=3, size=size))
    line = out[:, :, 0] if upright else out[:, 0]
    whole = np.broadcast_to(line[:, :, None] if upright else line[:, None], out.shape)
    assert np.array_equal(out, whole)
    # Green but for the outermost pixel, into which scaling blends its neighbour alike.
    assert np.all(line[:, 1:-1] == np.array(GREEN)[:, None])
    assert line[0, 0] == line[0, -1] <= 64
    assert line[0, 0] == 0 or size != 20


def test_a_smaller_picture_is_antialiased(tmp_path):
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    path = save(tmp_path, Image.fromarray(board.astype(np.uint8)))
    out = decode_image(path, Fit(channels=1, size=8)).astype(int)
    assert np.abs(out - 127).max() <= 4


def test_a_single_pixel_covers_the_square(tmp_path):
    out = decode_image(save(tmp_path, solid((1, 2, 3), (1, 1))), Fit(channels=3, size=5))
    assert np.array_equal(out, np.broadcast_to(np.array([1, 2, 3])[:, None, None], (3, 5, 5)))


def test_the_longest_strip_is_taken(tmp_path):
    out = decode_image(save(tmp_path, solid(7, (3000, 1), "L")), Fit(channels=1, size=4))
    assert np.all(out == 7)


# What cannot be used. Every text names the file and says what to do.


def refused(path, told, **options):
    options = {"channels": 3, "size": 8} | options
    with pytest.raises(UserError, match=told) as caught:
        decode_image(path, Fit(**options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_file(tmp_path):
    path = tmp_path / "none.png"
    assert str(path) in refused(path, "there is no image .*; check the path")


def test_a_folder(tmp_path):
    assert str(tmp_path) in refused(tmp_path, "is a folder, not an image file")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "received an empty file"),
        (b"only words, no image", "received a file that begins with only words, "),
        (b"\x89PNG\r\n\x1a\n", "received a file that begins with"),
        (b"\xff\xd8\xff", "received a file that begins with"),
    ],
    ids=["empty", "text", "only a PNG's signature", "only a JPEG's signature"],
)
def test_a_file_that_is_no_image(content, told, tmp_path):
    path = tmp_path / "image.png"
    path.write_bytes(content)
    text = refused(path, told)
    assert f"{path} is not an image: expected PNG, JPEG, WebP, BMP or GIF" in text
    assert text.endswith("; convert it")


@pytest.mark.parametrize("file_format", ["TIFF", "PPM", "ICO", "PDF", "TGA", "EPS"])
def test_formats_that_are_not_promised_are_refused(file_format, tmp_path):
    path = tmp_path / "image.png"
    path.write_bytes(encode(solid(RED, (16, 16)), file_format))
    refused(path, "is not an image: expected PNG, JPEG, WebP, BMP or GIF, .*; convert it")


@pytest.mark.parametrize("file_format", FORMATS)
def test_half_a_file_is_told(file_format, tmp_path):
    path = tmp_path / "image"
    whole = encode(Image.fromarray(bytes_of(32, 32, 3)), file_format)
    path.write_bytes(whole)
    assert decode_image(path, Fit(channels=3, size=8)).shape == (3, 8, 8)
    path.write_bytes(whole[: len(whole) // 2])
    refused(path, f"{re.escape(str(path))} .*(cannot be decoded.*; save it anew|convert it)$")


@pytest.mark.parametrize("file_format", FORMATS)
def test_damage_anywhere_is_a_user_error_or_none(file_format, tmp_path):
    path = tmp_path / "image"
    whole = encode(Image.fromarray(bytes_of(6, 6, 3)), file_format)
    rng = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(whole[: rng.integers(len(whole))] if rng.random() < 0.3 else whole)
        for place in rng.integers(0, max(len(damaged), 1), rng.integers(0, 4)):
            damaged[place : place + 1] = rng.bytes(1)
        path.write_bytes(damaged)
        with contextlib.suppress(UserError):
            assert decode_image(path, Fit(channels=3, size=4)).shape == (3, 4, 4)


@pytest.mark.parametrize("kind", ["struct.error", "TypeError"])
def test_damaged_exif_does_no_harm(kind, tmp_path):
    # Orientation 6, then a tag whose type is text where a number belongs.
    tag = 0x0100 if kind == "struct.error" else 0x011A
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack(
        "<HHHIHxxHHI4sI", 2, 0x0112, 3, 1, 6, tag, 2, 4, b"abc\0", 0
    )
    pixels = bytes_of(7, 7)
    path = save(tmp_path, Image.fromarray(pixels), exif=exif)
    assert np.array_equal(decode_image(path, Fit(channels=1, size=7))[0], np.rot90(pixels, -1))


def test_exif_that_is_none_is_a_user_error_or_none(tmp_path):
    pixels = bytes_of(7, 7)
    path = save(tmp_path, Image.fromarray(pixels), exif=b"Exif\0\0no TIFF at all")
    with contextlib.suppress(UserError):
        assert np.array_equal(decode_image(path, Fit(channels=1, size=7))[0], pixels)


@pytest.mark.parametrize(
    ("width", "height"), [(50_000, 50_000), (MAX_PIXELS + 1, 1), (10_001, 10_000)]
)
def test_a_bomb_is_refused_by_its_header(width, height, tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(declared_png(width, height))
    text = refused(path, "is too large: expected at most 100,000,000 pixels.*; scale it down")
    assert str(path) in text


def test_sizes_below_the_bound_are_not_refused_for_their_size(tmp_path):
    path = tmp_path / "image.png"
    path.write_bytes(declared_png(3, 3))
    refused(path, "cannot be decoded")


def test_unpacked_text_beyond_measure_is_refused(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_text("note", "0" * (PngImagePlugin.MAX_TEXT_CHUNK * 2), zip=True)
    refused(save(tmp_path, solid(RED), pnginfo=info), "cannot be decoded|is not an image")


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_nets_of_other_channels_take_arrays(channels, tmp_path):
    refused(save(tmp_path, solid(RED)), f"{channels} channels; call Run.predict", channels=channels)


def test_every_suffix_belongs_to_a_format():
    registered = Image.registered_extensions()
    assert {registered[suffix] for suffix in SUFFIXES} == set(FORMATS)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("exif", [False, True])
def test_jpegs_of_all_ways_are_what_pillow_makes_of_them(mode, channels, exif, tmp_path):
    rows, columns = np.mgrid[0:60, 0:80]
    waves = np.stack([127 + 100 * np.sin(rows / (5 + k) + columns / 9) for k in range(3)], axis=2)
    image = Image.fromarray(waves.astype(np.uint8)).convert(mode)
    options = {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"} if exif else {}
    path = save(tmp_path, image, "a.jpg", quality=90, **options)
    shown = Image.open(path).convert("RGB" if channels == 3 else "L")
    png = save(tmp_path, shown, "a.png")
    fit = Fit(channels=channels, size=30)
    difference = decode_image(path, fit).astype(int) - decode_image(png, fit)
    assert np.abs(difference).max() <= 4


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [40, 300])
def test_plain_jpegs_are_decoded_as_others_are(tmp_path, monkeypatch, channels, size):
    noise = np.random.default_rng(0).integers(0, 256, (180, 250, 3)).astype(np.uint8)
    fit = Fit(channels=channels, size=size)
    for number, mode in enumerate(("RGB", "L")):
        path = save(tmp_path, Image.fromarray(noise).convert(mode), f"{number}.jpg")
        found = decode_image(path, fit)
        with monkeypatch.context() as patch:
            patch.setattr(preprocess, "is_plain", lambda content: False)
            np.testing.assert_array_equal(found, decode_image(path, fit))


def exif(orientation):
    found = Image.Exif()
    found[0x0112] = orientation
    return found


@pytest.mark.parametrize(
    ("mode", "options", "is_plain"),
    [
        ("RGB", {}, True),
        ("L", {}, True),
        ("RGB", {"comment": b"a comment"}, True),
        ("RGB", {"progressive": True}, False),
        ("RGB", {"exif": exif(6)}, False),
        ("CMYK", {}, False),
    ],
)
def test_what_is_plain_is_not_asked_for(tmp_path, monkeypatch, mode, options, is_plain):
    path = save(tmp_path, Image.new(mode, (20, 10)), "a.jpg", **options)
    asked = []
    open_it = Image.open

    def watch(*arguments, **named):
        asked.append(arguments)
        return open_it(*arguments, **named)

    monkeypatch.setattr(preprocess.Image, "open", watch)
    decode_image(path, Fit(channels=3, size=8))
    assert bool(asked) != is_plain
