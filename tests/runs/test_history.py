import csv
import io
import math
from dataclasses import asdict, fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reslab.errors import UserError
from reslab.runs.history import EpochRecord, format_history, parse_history

NUMBER = st.floats(allow_nan=False)
COUNT = st.integers(0, 10**9)

RECORDS = st.builds(
    EpochRecord,
    epoch=COUNT,
    step=COUNT,
    learning_rate=NUMBER,
    train_loss=NUMBER,
    train_accuracy=NUMBER,
    val_loss=st.none() | NUMBER,
    val_accuracy=st.none() | NUMBER,
    seconds=NUMBER,
    images_per_second=NUMBER,
    val_macro_f1=st.none() | NUMBER,
)

HEADER = (
    "epoch,step,learning_rate,train_loss,train_accuracy,"
    "val_loss,val_accuracy,seconds,images_per_second,val_macro_f1"
)
LINE = "1,40,0.1,2.5,0.25,,,3.5,800.0,"


@given(st.lists(RECORDS, max_size=4))
@settings(deadline=None)
def test_what_is_written_is_read_back(records):
    text = format_history(records)
    assert parse_history(text) == tuple(records)
    assert len(text.splitlines()) == 1 + len(records)
    # Any other reader of CSV finds the same.
    for row, record in zip(csv.DictReader(io.StringIO(text)), records, strict=True):
        expected = {name: "" if v is None else str(v) for name, v in asdict(record).items()}
        assert row == expected


def test_counts_stay_counts_and_the_rest_is_not():
    (record,) = parse_history(f"{HEADER}\n{LINE}\n")
    assert record == EpochRecord(
        epoch=1, step=40, learning_rate=0.1, train_loss=2.5, train_accuracy=0.25,
        val_loss=None, val_accuracy=None, seconds=3.5, images_per_second=800.0,
    )  # fmt: skip
    assert (type(record.epoch), type(record.step), type(record.seconds)) == (int, int, float)


def test_the_text_is_a_line_an_epoch_below_a_header():
    (record,) = parse_history(f"{HEADER}\n{LINE}\n")
    assert format_history([record, record]) == f"{HEADER}\n{LINE}\n{LINE}\n"
    assert format_history([]) == f"{HEADER}\n"
    assert HEADER.split(",") == [field.name for field in fields(EpochRecord)]


def test_a_table_from_before_the_last_column_is_read():
    before = HEADER.rpartition(",")[0], LINE.rpartition(",")[0]
    assert parse_history("\n".join(before)) == parse_history(f"{HEADER}\n{LINE}\n")


def test_a_table_without_lines_is_no_epochs():
    assert parse_history(f"{HEADER}\n") == ()


def test_a_loss_that_left_all_bounds_is_kept():
    (record,) = parse_history(f"{HEADER}\n{LINE.replace('2.5', 'nan')}\n")
    assert math.isnan(record.train_loss)


@pytest.mark.parametrize(
    "text",
    [
        "garbage\n1\n",
        f"{HEADER}\n1,40,0.1,2.5",
        f"{HEADER}\n{LINE}\n2,80,0.1,2",
        f"{HEADER}\nx{LINE}\n",
        f"{HEADER}\n{LINE.replace('2.5', '')}\n",
        f"{HEADER}\n{LINE.replace('40', '40.0')}\n",
        f"{HEADER}\n{LINE.replace('0.25', 'null')}\n",
        f"{HEADER.replace('step', 'stepp')}\n{LINE}\n",
        f"{HEADER}\n{LINE}\n<<<<<<<\n",
    ],
    ids=[
        "another table", "cut off", "last line cut off", "no number", "an empty cell",
        "half a step", "a word", "a column renamed", "a word for a line",
    ],
)  # fmt: skip
def test_damage_is_told(text):
    with pytest.raises(
        UserError, match=r"^history.csv cannot be read: .*; restore it from a copy$"
    ):
        parse_history(text)


@pytest.mark.parametrize(
    "text", ["", "\0\0", "garbage", HEADER[:-4]], ids=["empty", "zeros", "a word", "cut off"]
)
def test_a_damaged_header_is_told(text):
    with pytest.raises(UserError, match=r"^history.csv cannot be read"):
        parse_history(text)


def test_a_line_that_is_too_long_is_told():
    with pytest.raises(UserError, match=r"^history.csv cannot be read"):
        parse_history(f"{HEADER}\n{LINE},7\n")


@pytest.mark.parametrize(
    "text", [f"{HEADER}\n1,\r2\n", f'{HEADER}\n"{"a" * 200_000}'], ids=["a return", "no end"]
)
def test_what_csv_refuses_is_told(text):
    with pytest.raises(UserError, match=r"^history.csv cannot be read"):
        parse_history(text)
