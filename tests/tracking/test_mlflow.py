"""MLflow, read back from its SQLite store by its own client."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

import reslab
from reslab.errors import Interrupted, TrainingDiverged, UserError
from tests.tracking.conftest import LOOKS, SPEC, At, ctrl_c, train_until_killed


def only_run(client: MlflowClient, experiment: str = "tiny") -> Run:
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    (run,) = client.search_runs([found.experiment_id])
    return run


def steps(client: MlflowClient, run: Run, name: str) -> list[int]:
    return [metric.step for metric in client.get_metric_history(run.info.run_id, name)]


def test_all_is_there(mlflow_store: str, tiny_source: reslab.ArraySource, tmp_path: Path) -> None:
    tracker = reslab.tracker("mlflow")
    run = reslab.train(SPEC, data=tiny_source, out=tmp_path / "mine", observers=[tracker])
    client = MlflowClient(mlflow_store)
    found = only_run(client)
    assert found.info.run_name == "mine"
    assert found.info.status == "FINISHED"
    assert steps(client, found, "step/loss") == LOOKS
    assert steps(client, found, "val/accuracy") == steps(client, found, "epoch") == [27, 54]
    losses = [metric.value for metric in client.get_metric_history(found.info.run_id, "val/loss")]
    assert losses == [record.val_loss for record in run.history]
    assert found.data.metrics["test/last_loss"] == run.metrics["test"]["last"]["loss"]
    assert found.data.metrics["best_epoch"] == run.metrics["best_epoch"]
    assert found.data.params["training.batch_size"] == "4"
    assert found.data.params["model.name"] == run.spec.model.name
    names = {file.path for file in client.list_artifacts(found.info.run_id)}
    assert names == {"curves.png", "confusion.png"}
    assert len(list((tmp_path / "mlartifacts").rglob("curves.png"))) == 1


def test_an_interrupted_run_is_killed_and_goes_on(
    mlflow_store: str, tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    observers = [reslab.tracker("mlflow"), At(40, ctrl_c)]
    with pytest.raises(Interrupted):
        reslab.train(SPEC, data=tiny_source, out=out, observers=observers)
    client = MlflowClient(mlflow_store)
    found = only_run(client)
    assert found.info.status == "KILLED"
    assert "interrupted at step 40" in found.data.tags["reason"]

    seen = []
    watch = At(50, lambda: seen.append(only_run(client).info.status))
    reslab.resume(out, data=tiny_source, observers=[reslab.tracker("mlflow"), watch])
    found = only_run(client)
    assert (seen, found.info.status) == (["RUNNING"], "FINISHED")
    assert "reason" not in found.data.tags
    assert steps(client, found, "step/loss") == LOOKS
    assert steps(client, found, "epoch") == [27, 54]


def test_steps_of_a_killed_run_are_not_there_twice(
    mlflow_store: str, tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    train_until_killed(tiny_source, tmp_path / "run", reslab.tracker("mlflow"))
    reslab.resume(tmp_path / "run", data=tiny_source, observers=[reslab.tracker("mlflow")])
    client = MlflowClient(mlflow_store)
    found = only_run(client)
    assert steps(client, found, "step/loss") == LOOKS
    assert steps(client, found, "epoch") == [27, 54]


def test_a_run_that_the_store_no_longer_knows_is_begun_anew(
    mlflow_store: str, tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    with pytest.raises(Interrupted):
        reslab.train(SPEC, data=tiny_source, out=tmp_path / "run", observers=[At(40, ctrl_c)])
    (tmp_path / "run" / "tracking.json").write_text('{"mlflow": "of another machine"}')
    reslab.resume(tmp_path / "run", data=tiny_source, observers=[reslab.tracker("mlflow")])
    client = MlflowClient(mlflow_store)
    found = only_run(client)
    assert steps(client, found, "step/loss") == [50, 54]
    assert steps(client, found, "epoch") == [27, 54]
    assert found.info.run_id in (tmp_path / "run" / "tracking.json").read_text()


def test_a_failed_training_is_failed(
    mlflow_store: str, tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    spec = reslab.recipe(
        training={"epochs": 2, "lr": 1e30, "optimizer": "sgd", "schedule": {"kind": "constant"}}
    )
    with pytest.raises(TrainingDiverged):
        reslab.train(
            spec, data=tiny_source, out=tmp_path / "run", observers=[reslab.tracker("mlflow")]
        )
    found = only_run(MlflowClient(mlflow_store))
    assert found.info.status == "FAILED"
    assert "loss became" in found.data.tags["reason"]


def test_a_store_that_breaks_does_not_end_the_training(
    mlflow_store: str, tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    def break_it() -> None:
        with sqlite3.connect(tmp_path / "mlflow.db") as store:
            store.execute("DROP TABLE metrics")

    watch = At(10, break_it)
    run = reslab.train(
        SPEC, data=tiny_source, out=tmp_path / "run", observers=[watch, reslab.tracker("mlflow")]
    )
    assert run.metrics["status"] == "finished"
    (told,) = (text for text in watch.warnings if "mlflow" in text)
    assert told.startswith("mlflow failed, and what follows is not logged to it: ")
    with sqlite3.connect(tmp_path / "mlflow.db") as store:
        assert store.execute("SELECT status FROM runs").fetchall() == [("FINISHED",)]


def test_another_store_is_used_where_it_is_named(
    mlflow_store: str,
    tiny_source: reslab.ArraySource,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store)
    out = tmp_path / "elsewhere" / "run"
    monkeypatch.chdir(tmp_path)  # whose store has artifacts where it was used from
    spec = reslab.recipe(training={"epochs": 1, "batch_size": 20})
    reslab.train(spec, data=tiny_source, out=out, observers=[reslab.tracker("mlflow")])
    assert only_run(MlflowClient(mlflow_store)).info.status == "FINISHED"
    assert {path.name for path in out.parent.iterdir()} == {"run"}


def test_a_server_that_is_gone_is_told_before_anything_is_trained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"the MLflow store http://127\.0\.0\.1:9 cannot be used"):
        reslab.tracker("mlflow")
