import pytest

pytest.importorskip("skimage", reason="its sample photographs are what is read")


def test_reading_is_measured(measure, tmp_path):
    found, printed = measure(
        "ingest.py",
        "--images",
        "64",
        "--rounds",
        "1",
        "--epochs",
        "2",
        "--threads",
        "1",
        "--photographs",
        tmp_path / "photographs",
        "--contenders",
        "reslab-first",
        "reslab-later",
        "torchvision-0",
    )
    assert found["failed"] == {}
    assert set(found["contenders"]) == {"reslab-first", "reslab-later", "torchvision-0"}
    assert all(c["images_per_second"]["median"] > 0 for c in found["contenders"].values())
    assert found["ratios"]["reslab-later/best"]["peer"] == "torchvision-0"
    assert len(found["growth"]["memory_bytes"]) == 2
    assert "reslab-first/best" in printed and {"commit", "machine"} <= set(found["environment"])
