"""The picture of a data set."""

from __future__ import annotations

from pathlib import Path

import pytest

import reslab
from reslab.catalog.data_names import name_and_root
from reslab.data.pictures.stores import Files
from reslab.errors import UserError
from reslab.workbench.preview import Preview, draw_preview
from tests.workbench.test_sources import shade


def test_augmented_differs_and_seeds_differ(tmp_path: Path) -> None:
    def draw(name: str, *, augmented: bool = False, seed: int = 0) -> bytes:
        path = tmp_path / name
        spec = reslab.recipe(seeds={"base": seed})
        assert draw_preview(spec, path, count=9, augmented=augmented) == Preview(
            images=9, of=1293, image_size=8, channels=1, warnings=()
        )
        return path.read_bytes()

    plain = draw("plain.png")
    assert draw("again.png") == plain
    assert draw("augmented.png", augmented=True) != plain
    assert draw("seed.png", seed=1) != plain


@pytest.mark.parametrize("augmented", [False, True])
def test_what_is_not_shown_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, augmented: bool
) -> None:
    root = shade(tmp_path / "shades", 20)
    seen = []

    def read(store: Files, name: str) -> bytes:
        seen.append(name)
        return (store.root / name).read_bytes()

    def build() -> None:
        raise AssertionError("kernels are built")

    monkeypatch.setattr(Files, "read", read)
    for module in ("reslab.data.pictures.ingest", "reslab.engine.machine"):
        monkeypatch.setattr(f"{module}.find_kernels", build)
    name, place = name_and_root(str(root))
    spec = reslab.recipe(data={"name": name, "root": place})
    drawn = draw_preview(spec, tmp_path / "x.png", count=5, augmented=augmented)
    assert (drawn.images, drawn.of, drawn.channels) == (5, 31, 3)
    assert len(seen) == 5


def test_what_cannot_be_decoded_is_passed_over_and_told(tmp_path: Path) -> None:
    root = shade(tmp_path / "shades", 8)
    name, place = name_and_root(str(root))
    spec = reslab.recipe(data={"name": name, "root": place, "image_size": 16})
    for path in (root / "dark").iterdir():
        path.write_bytes(b"torn")
    drawn = draw_preview(spec, tmp_path / "x.png", count=25, augmented=False)
    assert 0 < drawn.images < drawn.of
    assert drawn.warnings[-1].startswith(f"training leaves out such as this: {root}/dark")
    for path in (root / "bright").iterdir():
        path.write_bytes(b"torn")
    with pytest.raises(UserError, match="is not an image"):
        draw_preview(spec, tmp_path / "y.png", count=25, augmented=False)
    assert not (tmp_path / "y.png").exists()


def test_a_missing_folder_is_told_before_the_data_are_read(tmp_path: Path) -> None:
    spec = reslab.recipe(data={"name": "mnist", "root": "nowhere"})
    with pytest.raises(UserError, match="no folder"):
        draw_preview(spec, tmp_path / "no" / "x.png", count=9, augmented=False)
