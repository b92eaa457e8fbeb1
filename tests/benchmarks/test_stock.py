import importlib

import pytest
import torch

from reslab.spec.data import AugmentSpec, DataSpec
from reslab.spec.optimizers import SGD, Muon
from reslab.spec.run import EngineSpec, RunSpec, TrainingSpec
from reslab.training.schedule import learning_rate
from reslab.workbench.resolve import resolve


@pytest.fixture
def stock(benchmarks):
    return importlib.import_module("stock")


@pytest.fixture
def peers(benchmarks):
    return importlib.import_module("peers")


def prepared(**training):
    settings = {"epochs": 3, "batch_size": 32, "optimizer": SGD(), **training}
    return resolve(
        RunSpec(
            data=DataSpec(validation=0, limit=96, augment=AugmentSpec(flip=True)),
            training=TrainingSpec(**settings),
            engine=EngineSpec(device="cpu", threads=1),
        )
    )


def work(peers, ready):
    return peers.Work(run=ready.run, images=ready.train)


class Clock:
    """Time that passes only where something says so."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


def test_the_fastest_variant_is_found_and_failing_ones_are_told(stock, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(stock, "time", clock)
    monkeypatch.setattr(stock, "is_emulated", lambda dtype: False)
    cells = stock.grid()
    took = {cell: 1.0 + i for i, cell in enumerate(reversed(cells))}
    made = []

    def train(cell, steps):
        if cell == cells[-1]:
            raise RuntimeError("no compiler")
        # Compiling is slow, and must not count against a step.
        clock.now += 100.0 * cell.compile * (cell not in made) + took[cell] * steps
        made.append(cell)

    trial = stock.find_fastest(cells, train)
    assert trial.best == cells[-2]
    assert trial.first_step_seconds == 102.0
    record = {tuple(row.values())[:3]: row for row in trial.record["grid"]}
    assert len(record) == 8
    best = record[trial.best.precision, trial.best.memory_format, True]
    assert best["milliseconds_a_step"] == pytest.approx(2000)
    assert record["bf16", "channels_last", True]["failed"] == "RuntimeError: no compiler"
    # All had their turns, forwards and backwards.
    turns = made[14:]
    assert turns[:7] == list(cells[:7]) and turns[7:14] == list(cells[6::-1])


def test_emulated_bf16_is_left_out(stock, monkeypatch):
    monkeypatch.setattr(stock, "is_emulated", lambda dtype: dtype == torch.bfloat16)
    tried = set()
    trial = stock.find_fastest(stock.grid(ways=[False]), lambda cell, steps: tried.add(cell))
    assert {cell.precision for cell in tried} == {"fp32"}
    assert trial.best.precision == "fp32"
    left_out = [row for row in trial.record["grid"] if "failed" in row]
    assert [row["precision"] for row in left_out] == ["bf16", "bf16"]


def test_a_trial_leaves_nothing_behind(peers):
    ready = prepared()
    loop = peers.StockLoop(work(peers, ready), peers.grid(ways=[False]), fused=True)
    chosen = loop.prepare()
    assert len(chosen["grid"]) == 4
    fresh = peers.initial_model(ready.run).state_dict()
    for name, tensor in loop.model.state_dict().items():
        assert torch.equal(tensor, fresh[name]), name


def test_epochs_follow_the_schedule_of_the_run(peers):
    ready = prepared()
    loop = peers.plain_loop(work(peers, ready))
    loop.prepare()
    rates = []
    for epoch in (1, 2, 3):
        assert loop.run_epoch(epoch).steps == 3
        rates += [group["lr"] for group in loop._training.optimizer.param_groups[:1]]
    training = ready.run.training
    expected = [
        learning_rate(training.schedule, training.lr, step, total_steps=9, steps_per_epoch=3)
        for step in (3, 6, 8)
    ]
    assert rates == pytest.approx(expected)


def test_decay_spares_norms_and_biases_where_the_run_does(peers):
    ready = prepared(weight_decay=0.01)
    model = peers.initial_model(ready.run)
    optimizer = peers.stock_optimizer(model, ready.run.training, fused=False)
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert {name: decay[id(p)] for name, p in model.named_parameters()} == {
        name: 0.01 if p.ndim > 1 else 0.0 for name, p in model.named_parameters()
    }


def test_what_the_stock_loop_lacks_is_refused(peers):
    with pytest.raises(ValueError, match=r"no training\.optimizer\.kind=muon$"):
        peers.tuned_loop(work(peers, prepared(optimizer=Muon())))
    with pytest.raises(ValueError, match=r"no training\.mixup, training\.ema"):
        peers.tuned_loop(work(peers, prepared(mixup=0.2, ema=0.9)))


def test_batches_are_the_images_mirrored_at_most(peers):
    """Without padding a crop is the image itself, so that both can be told apart exactly."""
    ready = resolve(
        RunSpec(
            data=DataSpec(validation=0, limit=64, augment=AugmentSpec(pad=0, flip=True)),
            training=TrainingSpec(epochs=1, batch_size=32, optimizer=SGD()),
            engine=EngineSpec(device="cpu", threads=1),
        )
    )
    facts = ready.run.facts
    torch.manual_seed(0)
    wanted = (ready.train.pixels_NCHW / 255 - facts.mean[0]) / facts.sd[0]
    whole = [torch.from_numpy(image).float() for image in wanted]
    seen, mirrored = set(), 0
    for images_NCHW, labels_N in peers.StockBatches(ready.run, ready.train).draw(
        2, torch.channels_last
    ):
        assert images_NCHW.is_contiguous(memory_format=torch.channels_last)
        for image_CHW, label in zip(images_NCHW, labels_N, strict=True):
            found = [
                (i, way)
                for i, one in enumerate(whole)
                for way, same in enumerate((one, one.flip(-1)))
                if torch.allclose(image_CHW, same, atol=1e-5)
            ]
            numbers = {i for i, _ in found}
            assert len(numbers) == 1
            number = numbers.pop()
            assert label == ready.train.labels_N[number]
            seen.add(number)
            mirrored += found[0][1]
    assert seen == set(range(64))
    assert 16 < mirrored < 48
