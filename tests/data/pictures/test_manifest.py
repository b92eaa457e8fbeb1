"""Manifests, good and bad."""

from __future__ import annotations

from pathlib import Path

import pytest

from reslab.data.pictures.listing import Listed
from reslab.data.pictures.manifest import read_manifest
from reslab.data.pictures.stores import Files
from reslab.errors import UserError

FOUND = (
    Listed(path="a.jpg", label="cat", split="train", group="tom"),
    Listed(path="deep/b.jpg", label="dog", split="test"),
)


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "path,label,split,group\na.jpg,cat,train,tom\ndeep/b.jpg,dog,test,\n"),
        (
            "a.csv",
            "\ufeffLabel, Path ,x,group,split\ncat,a.jpg,1,tom,Training\ndog,deep/b.jpg,2,,test\n",
        ),
        ("a.csv", "path;label;split;group\na.jpg;cat;train;tom\ndeep/b.jpg;dog;test;\n"),
        ("a.tsv", "path\tlabel\tsplit\tgroup\na.jpg\tcat\ttrain\ttom\n\ndeep/b.jpg\tdog\ttest\t\n"),
        (
            "a.jsonl",
            '{"path": "a.jpg", "label": "cat", "split": "train", "group": "tom"}\n\n'
            '{"path": "deep/b.jpg", "label": "dog", "split": "test", "group": null}\n',
        ),
    ],
)
def test_kinds_of_manifests(tmp_path: Path, name: str, text: str) -> None:
    found = read_manifest(write(tmp_path, name, text))
    assert (found.files, found.store) == (FOUND, Files(tmp_path))


def test_numbers_are_names_of_classes_too(tmp_path: Path) -> None:
    text = '{"path": "a.jpg", "label": 3}\n{"path": "b.jpg", "label": 10}\n'
    assert read_manifest(write(tmp_path, "a.jsonl", text)).classes == ("10", "3")


@pytest.mark.parametrize(
    ("name", "text", "path"),
    [
        ("a.csv", 'path,label,told\na\u2028.jpg,cat,"two\nlines"\n', "a\u2028.jpg"),
        ("a.csv", 'path,label\n"a""b.jpg",cat\n', 'a"b.jpg'),
        ("a.jsonl", '{"path": "a\u2028.jpg", "label": "cat", "score": NaN}\r\n', "a\u2028.jpg"),
        ("a.jsonl", '{"path": "a\\n.jpg", "label": "cat"}', "a\n.jpg"),
    ],
)
def test_odd_names_are_read_as_they_stand(tmp_path: Path, name: str, text: str, path: str) -> None:
    assert [file.path for file in read_manifest(write(tmp_path, name, text)).files] == [path]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.csv", "a.jpg,cat\n", "lacks columns: expected a first line with their names"),
        ("a.csv", "file;label\na.jpg;cat\n", "lacks columns.*received file, label; add the line"),
        ("a.csv", "", "lacks columns.*received nothing"),
        ("a.csv", "path,label\n", "names no pictures"),
        ("a.csv", "path,label\na.jpg,\n,cat\n", "line 2: no label; line 3: no path"),
        ("a.csv", "path,label\na.jpg,cat\n./a.jpg,dog\n", "line 3: a.jpg again, as in line 2"),
        ("a.csv", "path,label,split\na.jpg,cat,holdout\n", "the split 'holdout', which is none"),
        ("a.csv", "path,label\na.jpg,cat,more\n", "line 2: too many columns"),
        ("a.jsonl", "{\n", "line 1: no JSON"),
        ("a.jsonl", "[1]\n", "line 1: no JSON object"),
        ("a.csv", "path,label,split\na.jpg,cat,train\nb.jpg,cat,\n", "of some pictures only"),
        (
            "a.csv",
            "path,label,split,group\na,cat,train,x\nb,cat,val,x\nc,dog,test,y\nd,dog,train,y\n",
            "divides groups between splits.*received group x in train and val, and 1 more",
        ),
        ("a.csv", "path,label,split,group\na,cat,val,x\nb,cat,,x\n", "group x in none and val"),
        (
            "a.csv",
            'path,label\n"a.jpg,cat\nb.jpg,dog\n',
            "line 2: unexpected end of data",
        ),
        ("a.csv", 'path,label\n"a.jpg,cat\nb.jpg",dog\n', "line 2: path goes over several lines"),
        ("a.csv", 'path,label\na.jpg,"cat"s\n', "line 2: ',' expected after '\"'"),
        ("a.csv", '"path,label\n', "lacks columns.*received unexpected end of data"),
        ("a.csv", 'path,label\n"' + "a.jpg,cat\n" * 20_000, "line 2: field larger than"),
        ("a.csv", "path,label\na\0.jpg,cat\n", r'line 2: the path holds .*: "a\\u0000.jpg"'),
        ("a.jsonl", "[" * 100_000, "line 1: no JSON object that is read: nested too deeply"),
        ("a.jsonl", "9" * 5000, "line 1: .* a number of too many digits"),
        ("a.jsonl", '{"path": "a.jpg", "label": NaN}', "the label is neither text nor a number"),
        ("a.jsonl", '{"path": ["a.jpg"], "label": 1}', "the path is neither text nor a number"),
        ("a.jsonl", '{"path": "a.jpg", "label": true}', "the label is neither text nor a number"),
        ("a.jsonl", '{"path": "a\\ud800", "label": 1}', r'the path holds .*: "a\\ud800"'),
        ("a.csv", "path,label\n" + "a.jpg,\n" * 9, "line 6: no label, and 4 more; mend"),
    ],
)
def test_mistakes_are_told_by_line(tmp_path: Path, name: str, text: str, told: str) -> None:
    with pytest.raises(UserError, match=told) as caught:
        read_manifest(write(tmp_path, name, text))
    assert "\n" not in str(caught.value)


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xff\xfe\0")
    with pytest.raises(UserError, match="cannot be read: received no utf-8 text"):
        read_manifest(path)
