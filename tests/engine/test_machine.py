import os
from dataclasses import replace

import pytest
import torch

from reslab.engine.machine import (
    Machine,
    choose_device,
    choose_kernels,
    choose_memory_format,
    choose_precision,
    choose_threads,
    inspect_machine,
)
from reslab.errors import UserError
from reslab.ops.native import Found, Kernels


def machine(*, amx=False, cuda=None, cuda_bf16=False, mps=False, cpus=4):
    return Machine(
        cpu="a processor",
        cpus=cpus,
        features={"avx512": True, "avx512_bf16": True, "amx_bf16": amx},
        capability="AVX512",
        cuda=cuda,
        cuda_bf16=cuda_bf16,
        mps=mps,
    )


BARE = machine()
AMX = machine(amx=True)
CUDA = machine(cuda="Some GPU", cuda_bf16=True)
OLD_CUDA = machine(cuda="Old GPU")
APPLE = machine(mps=True)


@pytest.mark.parametrize(
    ("found", "asked", "value"),
    [
        (BARE, "auto", "cpu"),
        (CUDA, "auto", "cuda"),
        (APPLE, "auto", "mps"),
        (machine(cuda="Some GPU", mps=True), "auto", "cuda"),
        (CUDA, "cpu", "cpu"),
        (CUDA, "cuda", "cuda"),
        (APPLE, "mps", "mps"),
    ],
)
def test_device(found, asked, value):
    choice = choose_device(found, asked)
    assert (choice.setting, choice.value) == ("device", value)
    assert (choice.reason == "as asked") == (asked != "auto")


def test_the_reason_for_a_gpu_names_it():
    assert choose_device(CUDA, "auto").reason == "Some GPU"


@pytest.mark.parametrize(
    ("found", "asked", "there"),
    [(BARE, "cuda", "cpu"), (BARE, "mps", "cpu"), (CUDA, "mps", "cpu or cuda")],
)
def test_an_absent_device_is_refused_with_those_that_are_there(found, asked, there):
    with pytest.raises(UserError) as caught:
        choose_device(found, asked)
    assert str(caught.value) == (
        f"this machine has no device {asked}: expected {there}; set engine.device=auto"
    )


@pytest.mark.parametrize(
    ("found", "device", "asked", "value"),
    [
        (AMX, "cpu", "auto", "bf16"),
        (BARE, "cpu", "auto", "fp32"),
        (CUDA, "cuda", "auto", "bf16"),
        (OLD_CUDA, "cuda", "auto", "fp32"),
        (APPLE, "mps", "auto", "fp32"),
        # What the GPU can do says nothing about the CPU beside it, and the other way round.
        (CUDA, "cpu", "auto", "fp32"),
        (machine(amx=True, cuda="Old GPU"), "cuda", "auto", "fp32"),
        (machine(amx=True, mps=True), "mps", "auto", "fp32"),
        (BARE, "cpu", "bf16", "bf16"),
        (AMX, "cpu", "fp32", "fp32"),
        (CUDA, "cuda", "fp32", "fp32"),
        (OLD_CUDA, "cuda", "fp32", "fp32"),
        (CUDA, "cuda", "bf16", "bf16"),
        (APPLE, "mps", "fp32", "fp32"),
    ],
)
def test_precision(found, device, asked, value):
    choice = choose_precision(found, device, asked)
    assert (choice.setting, choice.value) == ("precision", value)
    assert (choice.reason == "as asked") == (asked != "auto")


def test_the_reason_for_a_precision_is_the_machine():
    assert "AMX" in choose_precision(AMX, "cpu", "auto").reason
    assert "no usable AMX" in choose_precision(BARE, "cpu", "auto").reason


@pytest.mark.parametrize(("found", "device"), [(APPLE, "mps"), (OLD_CUDA, "cuda")])
def test_bf16_is_refused_where_there_is_none(found, device):
    with pytest.raises(UserError, match=f"device {device} .*; set engine.precision=auto"):
        choose_precision(found, device, "bf16")


@pytest.mark.parametrize(
    ("device", "asked", "value"),
    [
        ("cpu", "auto", "channels_last"),
        ("cuda", "auto", "channels_last"),
        ("mps", "auto", "contiguous"),
        ("cpu", "contiguous", "contiguous"),
        ("mps", "channels_last", "channels_last"),
    ],
)
def test_memory_format(device, asked, value):
    choice = choose_memory_format(device, asked)
    assert (choice.setting, choice.value) == ("memory_format", value)


FITTING = {
    "device": "cpu",
    "precision": "fp32",
    "memory_format": "channels_last",
    "compiled": False,
}
MISFITS = {
    "cpu, not cuda": {"device": "cuda"},
    "fp32, not bf16": {"precision": "bf16"},
    "channels_last, not contiguous": {"memory_format": "contiguous"},
    "torch.compile": {"compiled": True},
}


@pytest.fixture
def built(monkeypatch):
    found = Found(
        Kernels(library=None, lanes=16, level="some", compiler="g++ 12"), "built for some"
    )
    monkeypatch.setattr("reslab.engine.machine.find_kernels", lambda: found)


@pytest.fixture
def unbuilt(monkeypatch):
    found = Found(None, "there is no compiler")
    monkeypatch.setattr("reslab.engine.machine.find_kernels", lambda: found)


@pytest.mark.parametrize(
    ("asked", "value"), [("auto", "reslab"), ("reslab", "reslab"), ("torch", "torch")]
)
def test_kernels_where_they_fit(built, asked, value):
    choice = choose_kernels(asked, **FITTING)
    assert (choice.setting, choice.value) == ("kernels", value)
    assert choice.reason == ("as asked" if asked == "torch" else "built for some")


@pytest.mark.parametrize(("reason", "misfit"), MISFITS.items())
def test_kernels_that_do_not_fit_are_not_chosen_and_the_reason_is_told(built, reason, misfit):
    choice = choose_kernels("auto", **{**FITTING, **misfit})
    assert choice.value == "torch"
    assert reason in choice.reason
    with pytest.raises(UserError, match=reason):
        choose_kernels("reslab", **{**FITTING, **misfit})


def test_kernels_that_cannot_be_built_are_not_chosen(unbuilt):
    choice = choose_kernels("auto", **FITTING)
    assert (choice.value, choice.reason) == ("torch", "there is no compiler")
    assert choose_kernels("torch", **FITTING).value == "torch"
    with pytest.raises(UserError, match=r"there is no compiler.*engine.kernels=auto"):
        choose_kernels("reslab", **FITTING)


def test_threads_are_those_of_torch_but_no_more_than_the_cpus(monkeypatch):
    monkeypatch.setattr("reslab.engine.machine._TORCH_THREADS", 3)
    assert choose_threads(machine(cpus=8), "auto").value == 3
    assert choose_threads(machine(cpus=2), "auto").value == 2
    assert choose_threads(machine(cpus=4), 4).value == 4
    assert choose_threads(machine(cpus=4), 1).value == 1


@pytest.mark.parametrize(("limit", "threads"), [(1.5, 2), (0.5, 1), (16.0, 4), (None, 4)])
def test_threads_keep_to_a_containers_limit(monkeypatch, limit, threads):
    monkeypatch.setattr("reslab.engine.machine._TORCH_THREADS", 4)
    choice = choose_threads(replace(machine(cpus=8), cpu_limit=limit), "auto")
    assert choice.value == threads
    assert ("container" in choice.reason) == (threads < 4)


def test_too_many_threads_are_refused():
    with pytest.raises(UserError, match=r"at most 4, received 5; set engine\.threads=auto"):
        choose_threads(machine(cpus=4), 5)


def test_the_machine_is_looked_at():
    found = inspect_machine()
    assert found.cpu
    assert 1 <= found.cpus <= (os.cpu_count() or 1)
    assert set(found.features) == {"avx512", "avx512_bf16", "amx_bf16"}
    assert (found.cuda is not None) == torch.cuda.is_available()
    assert choose_device(found, "cpu").value == "cpu"


CAPS_WITHOUT_AMX = [
    "SSE41",
    "AVX",
    "AVX2",
    "AVX2_VNNI",
    "AVX2_VNNI_2",
    "AVX512_CORE",
    "AVX512_CORE_VNNI",
    "AVX512_CORE_BF16",
    "AVX512_CORE_FP16",
    "avx512_core_bf16",
]


@pytest.fixture
def amx_everywhere(monkeypatch):
    """As torch reports a processor with AMX, wherever the test runs."""
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)


@pytest.mark.parametrize("cap", CAPS_WITHOUT_AMX)
def test_a_cap_below_amx_hides_it(cap, amx_everywhere):
    assert not inspect_machine({"ONEDNN_MAX_CPU_ISA": cap}).features["amx_bf16"]


@pytest.mark.parametrize("cap", CAPS_WITHOUT_AMX)
def test_a_cap_below_amx_hides_it_on_this_machine_too(cap):
    assert not inspect_machine({"ONEDNN_MAX_CPU_ISA": cap}).features["amx_bf16"]


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"ONEDNN_MAX_CPU_ISA": ""},
        {"ONEDNN_MAX_CPU_ISA": "DEFAULT"},
        {"ONEDNN_MAX_CPU_ISA": "all"},
        {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_AMX"},
        {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_AMX_FP16"},
    ],
)
def test_amx_is_seen_where_nothing_hides_it(environ, amx_everywhere):
    assert inspect_machine(environ).features["amx_bf16"]


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (torch.cpu, "_is_amx_tile_supported"),
        (torch.backends.mkldnn, "is_available"),
        (torch.ops.mkldnn, "_is_mkldnn_bf16_supported"),
    ],
)
def test_amx_needs_the_processor_and_onednn_both(amx_everywhere, monkeypatch, owner, name):
    monkeypatch.setattr(owner, name, lambda: False)
    assert not inspect_machine({}).features["amx_bf16"]
