"""What commands print."""

from __future__ import annotations

import json

import pytest

from reslab.cli import output


def test_json_refuses_what_is_no_json() -> None:
    with pytest.raises(ValueError, match="JSON"):
        output.print_json({"loss": float("nan")})


def test_json_is_read_back(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json({"a": [1, 2.5, "ü"]})
    assert json.loads(capsys.readouterr().out) == {"a": [1, 2.5, "ü"]}


def test_accuracy_in_words() -> None:
    metrics = {"top1": 0.98765, "top1_interval": [0.97, 0.995], "n": 1200}
    assert output.accuracy(metrics) == "98.77 % (95 % interval 97.00 to 99.50, n = 1,200)"


def test_tables_keep_long_cells_whole_where_nobody_looks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output.print_table(("run", "n"), [("r" * 120, "12"), ("[bold]", "3")])
    text = capsys.readouterr().out
    assert "r" * 120 in text
    assert "[bold]" in text
    numbers = [line.rstrip() for line in text.splitlines()[1:]]
    assert numbers[0].endswith("12")
    assert numbers[1].endswith(" 3")


def test_what_is_accepted_in_words() -> None:
    document = {
        "coverage": 0.5,
        "accepted": 1200,
        "accepted_top1": 0.99,
        "accepted_top1_interval": [0.9826, 0.9943],
    }
    assert output.known(document) == (
        "50.00 % are accepted, 99.00 % of them right (95 % interval 98.26 to 99.43, n = 1,200)"
    )
    assert output.known({**document, "accepted_top1": None}) == "no image is accepted"
