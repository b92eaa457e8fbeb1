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
