from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from reslab.runs.folder import RunFolder
from reslab.runs.new_folder import check_free, run_name


def test_check_free_makes_nothing(tmp_path):
    check_free(tmp_path / "a" / "run")
    check_free(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_taken_gets_a_number(tmp_path):
    name = run_name("digits", "resnet14", datetime(2026, 2, 3, 4, 5, 6))
    assert name == "digits-resnet14-20260203-040506"
    for data in ("folder:digits", "wds:digits", "hf:digits"):
        assert run_name(data, "resnet14", datetime(2026, 2, 3, 4, 5, 6)) == name
    found = [RunFolder.create_new(tmp_path / "runs", name, "").path.name for _ in range(4)]
    assert found == [name, f"{name}-2", f"{name}-3", f"{name}-4"]


def test_runs_that_start_at_the_same_moment_get_a_folder_each(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: RunFolder.create_new(tmp_path, "run", "").path, range(8)))
    assert len(set(made)) == 8


def test_a_name_stays_below_its_parent(tmp_path):
    made = RunFolder.create_new(tmp_path / "runs", "../../x/y z", "").path
    assert made.parent == tmp_path / "runs"
