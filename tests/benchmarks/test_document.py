import importlib
import json
import shutil

import pytest

from reslab.errors import UserError


@pytest.fixture
def document(benchmarks):
    return importlib.import_module("document")


def test_the_page_is_what_the_results_give(document, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["document.py", "--check"])
    assert document.main() == 0, capsys.readouterr().err


def test_another_figure_is_found(document, tmp_path, monkeypatch, capsys):
    shutil.copytree(document.RESULTS, tmp_path / "results")
    path = tmp_path / "results" / "2026-11-22-memory-depth.json"
    found = json.loads(path.read_text())
    found["nets"]["resnet20"]["parameters"] += 1
    path.write_text(json.dumps(found))
    command = ["document.py", "--check", "--results", str(tmp_path / "results")]
    monkeypatch.setattr("sys.argv", command)
    assert document.main() == 1
    assert "not what the results give" in capsys.readouterr().err


def test_sections_without_results_are_left_out(document, tmp_path):
    assert "## " not in document.write_page([])
    shutil.copy(document.RESULTS / "2026-11-22-memory-depth.json", tmp_path)
    page = document.write_page(document.gather(tmp_path))
    assert page.count("\n## ") == 1 and "## Memory by depth" in page


def test_a_result_without_date_or_kind_is_refused(document, tmp_path):
    (tmp_path / "found.json").write_text("{}")
    with pytest.raises(UserError, match=r"found\.json is no name of a result"):
        document.gather(tmp_path)


def environment(commit):
    return {
        "command": ["tool.py", "--out", "x"],
        "commit": commit,
        "started": "2026-11-22T00:00:00",
        "python": "3.11.7",
        "packages": {"torch": "2.14.1"},
        "machine": {"cpu": "some CPU", "cpus": 2, "features": {"avx512": True}},
    }


def piece(batch, threads, milliseconds, commit):
    speeds = {"1": 0.1, "2": 0.2}
    return {
        **{"net": "resnet20", "size": 32, "batch": batch, "threads": threads, "best": "eager"},
        "contenders": {
            "eager": {"milliseconds": {"median": milliseconds}, "facts": {}},
            "reslab": {"milliseconds": {"median": 1.0}, "facts": {"engine": "folded"}},
        },
        "regret": {"ratio": 1.0, "interval": [0.9, 1.1]},
        "environment": environment(commit),
        "limits": {"gemm_tflops": {"fp32": {"2048": speeds}}, "copy_gb_per_s": speeds},
    }


def test_pieces_of_prediction_are_told_with_what_made_each(document, tmp_path):
    (tmp_path / "2026-11-22-inference.json").write_text(
        json.dumps({"pieces": [piece(1, 2, 3.25, "old"), piece(8, 2, 4.5, "old")]})
    )
    (tmp_path / "2026-11-23-inference.json").write_text(
        json.dumps({"pieces": [piece(1, 2, 2.75, "new"), piece(1, 1, 9.5, "new")]})
    )
    page = document.write_page(document.gather(tmp_path))
    both, one = page.split("With 1 thread:")
    assert "With 2 threads:" in both
    assert "| 2.75 |" in both and "| 4.50 |" in both and "3.25" not in page
    assert "commit old" in both and "commit new" in both
    assert "| 9.50 |" in one and "commit new" in one and "commit old" not in one


def test_steps_are_told_by_machine_each_by_the_newest_result(document, tmp_path):
    newest = max(document.RESULTS.glob("*-train-step.json"))
    found = json.loads(newest.read_text())
    (name, case), *_ = found["cases"].items()
    for date, cpu, speed in (
        ("21", "One", 1.0),
        ("22", "One", 2.0),
        ("22", "Two(R) Processor", 3.0),
    ):
        case["environment"]["machine"] |= {"cpu": cpu, "capability": "AVX2"}
        case["contenders"]["plain"]["images_per_second"]["median"] = speed
        end = "" if cpu == "One" else "-other"
        path = tmp_path / f"2026-11-{date}-train-step{end}.json"
        path.write_text(json.dumps({"cases": {name: case}}))
    page = document.write_page(document.gather(tmp_path))
    assert page.count(f"### {name} on ") == 2
    plain = [
        line for line in page.splitlines() if line.startswith(f"| {name} on ") and "plain" in line
    ]
    assert ["One, AVX2" in line and " 2.0 " in line for line in plain] == [True, False]
    assert ["Two, AVX2" in line and " 3.0 " in line for line in plain] == [False, True]


def test_parts_of_the_recipe_are_told_with_their_gain(document, tmp_path):
    def training(variant, accuracy):
        about = {"seed": 0, "loss": 0.2, "seconds": 60.0, "threads": 2}
        return {
            **{"variant": variant, "accuracy": accuracy, "environment": environment("c")},
            **about,
        }

    trainings = [training("all of it", 0.94), training("without crops", 0.935)]
    found = {"data": "some", "validation": 1000, "settings": [], "trainings": trainings}
    (tmp_path / "2026-11-22-tricks.json").write_text(json.dumps(found))
    page = document.write_page(document.gather(tmp_path))
    assert "On some, judged on 1,000 of the training images" in page
    assert "| without crops | 1 | 93.50 | -0.50 |" in page
    assert page.count("commit c;") == 1
