def test_a_deep_net_takes_less_memory_in_segments(measure):
    found, printed = measure(
        "memory_depth.py",
        "--nets",
        "resnet110",
        "--batch-size",
        "32",
        "--rounds",
        "1",
        "--steps",
        "1",
        "--threads",
        "1",
    )
    row = found["nets"]["resnet110"]
    peaks = {way: w["peak_bytes"]["median"] for way, w in row["ways"].items()}
    # Measured and computed apart from each other: keeping all takes what was computed, and
    # room to work in.
    assert 0.9 * row["activation_bytes"] < peaks["keep"] < 2 * row["activation_bytes"]
    assert peaks["reslab"] < 0.6 * peaks["keep"]
    assert row["ways"]["reslab"]["seconds_per_step"]["median"] > 0
    assert "resnet110" in printed
    assert {"commit", "machine"} <= set(found["environment"])
