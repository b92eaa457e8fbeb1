def test_both_ways_of_decoding_are_compared(measure):
    found, printed = measure(
        "reduced_decoding.py",
        "--train",
        "200",
        "--scored",
        "100",
        "--epochs",
        "1",
        "--seeds",
        "0",
        "1",
    )
    assert found["levels_apart"]["mean"] > 0
    ways = {f"{one}/{other}" for one in ("reduced", "whole") for other in ("reduced", "whole")}
    assert {name: len(values) for name, values in found["accuracies"].items()} == dict.fromkeys(
        ways, 2
    )
    assert "levels of 255 apart" in printed
