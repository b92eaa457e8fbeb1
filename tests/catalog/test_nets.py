import dataclasses
import re
import subprocess
import sys

import pytest

from reslab.catalog.nets import NETS, SHORTCUTS, STEMS
from reslab.models.create import BLOCKS


def test_no_name_is_used_twice():
    names = [net.name for net in NETS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("net", NETS, ids=lambda net: net.name)
def test_each_entry_is_complete_and_names_what_exists(net):
    assert len(net.depths) == len(net.widths)
    assert net.block in BLOCKS
    assert net.stem in STEMS
    assert net.shortcut in SHORTCUTS
    assert net.name == net.name.lower()


@pytest.mark.parametrize("net", NETS, ids=lambda net: net.name)
def test_the_name_tells_the_kind_and_the_depth(net):
    family, depth = re.fullmatch(r"(\D+?)(\d+)(?:_.*)?", net.name).groups()
    assert family in {"resnet", "plain", "preact_resnet", "wide_resnet", "resnext"}
    assert (family == "plain") == (net.shortcut == "none")
    assert (family == "preact_resnet") == net.block.startswith("preact")
    assert (family == "resnext") == (net.groups > 1)
    layers = 3 if "bottleneck" in net.block else 2
    assert int(depth) == layers * sum(net.depths) + 2 == net.convolutions + 2


@pytest.mark.parametrize("net", NETS, ids=lambda net: net.name)
def test_the_stages_are_those_of_the_paper(net):
    if net.stem == "imagenet":
        assert net.widths == (64, 128, 256, 512)
        assert net.shortcut in {"B", "none"}
        assert (net.num_classes, net.image_size) == (1000, 224)
    else:
        assert net.widths == (16, 32, 64)
        assert len(set(net.depths)) == 1
        projects = net.block == "preact_bottleneck"
        assert net.shortcut in ({"B"} if projects else {"A", "none"})
        assert (net.num_classes, net.image_size) == (10, 32)


def test_each_plain_net_has_a_residual_twin():
    by_name = {net.name: net for net in NETS}
    plain = [net for net in NETS if net.shortcut == "none"]
    assert plain
    for net in plain:
        twin = by_name[net.name.replace("plain", "resnet")]
        assert dataclasses.replace(net, name=twin.name, shortcut=twin.shortcut) == twin


def test_an_entry_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        NETS[0].depths = (1,)


def test_reading_the_table_imports_no_torch():
    code = "import sys, reslab.catalog.nets; print('torch' in sys.modules)"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, check=True, capture_output=True).stdout.strip() == b"False"
