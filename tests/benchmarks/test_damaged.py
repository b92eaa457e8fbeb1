import numpy as np
import pytest

pytest.importorskip("skimage", reason="its sample photographs are what is damaged")


def test_damaged_pictures_are_found_and_good_ones_left_in_peace(measure):
    found, printed = measure(
        "damaged.py", "--images", "40", "--damaged", "16", "--threads", "1", "--seed", "1"
    )
    assert found["accused_good"] == []
    told, whole = found["that_can_be_told"], found["all"]
    assert 8 <= told["damaged"] <= whole["damaged"] == 16 - whole["same"] - whole["another"]
    assert told["found"] == told["damaged"]
    for way in ("empty", "page", "cut"):
        assert found["by_way"][way]["share"] == 1
    assert sum(part["damaged"] for part in found["by_format"].values()) == whole["damaged"]
    assert "of 24" in printed and {"commit", "machine"} <= set(found["environment"])


def test_a_file_that_shows_a_whole_picture_is_not_damaged(benchmarks):
    import damaged  # noqa: PLC0415 - a script, whose folder the fixture names

    one, two = damaged.encode(0, "JPEG"), damaged.encode(5, "JPEG")
    assert damaged.judge(one + b"more", one, two) == "same"
    assert damaged.judge(two, one, two) == "another"
    assert damaged.judge(one[:2000], one, two) == "damaged"
    assert damaged.judge(b"", one, two) == "damaged"


def test_every_way_changes_the_file(benchmarks):
    import damaged  # noqa: PLC0415

    rng = np.random.default_rng(0)
    one, two = damaged.encode(0, "JPEG"), damaged.encode(5, "JPEG")
    assert all(way(one, two, rng) != one for way in damaged.WAYS.values())
