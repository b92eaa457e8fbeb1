"""ONNX Runtime; that its outputs are the net's is told by tests/contract/test_engines.py."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn

from reslab.inference.onnxruntime import to_onnx

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")


def test_nothing_is_said_and_the_shape_is_static(capsys, caplog) -> None:
    norm = nn.BatchNorm2d(4)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), norm, nn.Flatten(), nn.Linear(16, 2)).eval()
    content = to_onnx(model, torch.zeros(5, 3, 4, 4))
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []
    graph = onnx.load_from_string(content).graph
    onnx.checker.check_model(content)
    shape = [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim]
    assert shape == [5, 3, 4, 4]
    # The norm has become a part of the convolution before the export.
    assert "BatchNormalization" not in {node.op_type for node in graph.node}
