import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run_benchmark(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, BENCHMARKS / "inference.py", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def check_piece(piece):
    for contender in piece["contenders"].values():
        assert contender["largest_gap"] < 1e-4
        assert len(contender["seconds"]) == piece["rounds"]
        assert contender["milliseconds"]["min"] > 0
    medians = {n: c["milliseconds"]["median"] for n, c in piece["contenders"].items()}
    assert medians[piece["best"]] == min(medians.values())
    assert piece["regret"]["ratio"] == pytest.approx(
        medians["reslab"] / medians[piece["best"]], rel=1e-6
    )


def test_pieces_come_together_and_all_give_the_same(tmp_path):
    out = tmp_path / "found.json"
    out.write_text('{"pieces": ["of an earlier call"]}')
    done = run_benchmark(
        *("--nets", "resnet20", "--size", 8, "--batches", 2, "--rounds", 2, "--threads", 1),
        *("--contenders", "eager", "--engine", "folded", "--json", "--out", out, "--add"),
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == json.loads(out.read_text())
    before, piece = found["pieces"]
    assert before == "of an earlier call"
    assert list(piece["contenders"]) == ["eager", "reslab"]
    assert piece["contenders"]["reslab"]["facts"]["engine"] == "folded"
    check_piece(piece)
    assert {"python", "packages", "commit", "machine"} <= set(piece["environment"])
    assert piece["limits"]["gemm_tflops"]


def test_the_table_has_a_row_for_each_piece(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    inference = importlib.import_module("inference")
    piece = {
        **{"net": "resnet20", "size": 32, "batch": 8, "best": "openvino"},
        "contenders": {
            "openvino": {"milliseconds": {"median": 2.0}, "facts": {}},
            "reslab": {"milliseconds": {"median": 2.5}, "facts": {"engine": "folded"}},
        },
        "regret": {"ratio": 1.25, "interval": [1.2, 1.3]},
    }
    other = {**piece, "contenders": {"reslab": piece["contenders"]["reslab"]}, "batch": 1}
    lines = inference.format_table({"pieces": [piece, other]}).splitlines()
    assert lines[0].startswith("| net | image | batch | openvino | reslab | reslab's engine |")
    assert {line.count("|") for line in lines} == {8}
    assert lines[2] == (
        "| resnet20 | 32² | 8 | 2.00 | 2.50 | folded | 1.250 of openvino (1.200 to 1.300) |"
    )
    assert lines[3].startswith("| resnet20 | 32² | 1 |  | 2.50 |")


def test_int8_is_compared_with_its_own_kind(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    inference = importlib.import_module("inference")
    seconds = {"openvino": [3.0], "reslab": [4.0], "openvino-int8": [1.0], "reslab-int8": [2.0]}
    found = {name: {"seconds": s * 3} for name, s in seconds.items()}
    fp32 = inference.compare("reslab", {name: found[name] for name in ("openvino", "reslab")})
    assert (fp32["best"], fp32["regret"]["ratio"]) == ("openvino", pytest.approx(4 / 3))
    kind = {name: found[name] for name in ("openvino-int8", "reslab-int8")}
    int8 = inference.compare("reslab-int8", kind)
    assert (int8["best"], int8["regret"]["ratio"]) == ("openvino-int8", pytest.approx(2.0))
    piece = {
        **{"net": "resnet20", "size": 32, "batch": 8, **fp32, "int8": int8},
        "contenders": {
            name: {"milliseconds": {"median": 1.0}, "facts": {"engine": "kernels"}}
            for name in found
        },
    }
    (line,) = [
        t for t in inference.format_table({"pieces": [piece]}).splitlines() if "In int8" in t
    ]
    assert "resnet20 at batch 8: reslab-int8 / best (95 %) 2.000 of openvino-int8" in line


@pytest.mark.slow
def test_int8_is_measured_where_it_is_asked_for(tmp_path):
    out = tmp_path / "found.json"
    done = run_benchmark(
        *("--nets", "resnet20", "--size", 8, "--batches", 2, "--rounds", 1, "--threads", 1),
        *("--contenders", "openvino", "openvino-int8", "--engine", "folded", "--out", out),
    )
    assert done.returncode == 0, done.stderr
    (piece,) = json.loads(out.read_text())["pieces"]
    assert list(piece["contenders"]) == ["openvino", "openvino-int8", "reslab", "reslab-int8"]
    assert piece["best"] in ("openvino", "reslab")
    assert piece["int8"]["best"] in ("openvino-int8", "reslab-int8")
    for name in ("openvino-int8", "reslab-int8"):
        assert 1e-5 < piece["contenders"][name]["largest_gap"] < 0.2


@pytest.mark.slow
def test_all_peers_and_the_choice(tmp_path):
    out = tmp_path / "found.json"
    done = run_benchmark(
        *("--nets", "resnet20", "--size", 8, "--batches", 2, "--rounds", 1, "--threads", 1),
        *("--out", out),
    )
    assert done.returncode == 0, done.stderr
    (piece,) = json.loads(out.read_text())["pieces"]
    assert list(piece["contenders"]) == ["eager", "inductor", "onnxruntime", "openvino", "reslab"]
    check_piece(piece)
