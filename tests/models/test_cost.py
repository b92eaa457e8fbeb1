import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from reslab.catalog.nets import NETS
from reslab.errors import UserError
from reslab.models.blocks import BasicBlock
from reslab.models.cost import StageCost, measure_cost
from reslab.models.create import create_model
from reslab.models.resnet import ResNet


def test_a_small_net_by_hand():
    cost = measure_cost(
        lambda: ResNet(BasicBlock, (1, 1), (4, 8), num_classes=3, in_channels=1, stem="small"),
        in_channels=1,
        image_size=5,
    )
    # 5x5 pixels until the second stage, whose stride leaves 3x3.
    stem = 25 * 4 * (1 * 9)
    first = 2 * 25 * 4 * (4 * 9)
    second = 9 * 8 * (4 * 9) + 9 * 8 * (8 * 9) + 9 * 8 * 4
    by_name = {stage.name: stage for stage in cost.stages}
    assert by_name["conv1"].macs == stem
    assert by_name["layer1"] == StageCost(
        name="layer1",
        layers="1 x [3x3, 4; 3x3, 4]",
        output=(4, 5, 5),
        parameters=2 * 144 + 2 * 8,
        macs=first,
        # Each convolution's output for its norm, each ReLU's for what follows.
        activation_bytes=4 * 25 * 4 * 4,
    )
    assert by_name["layer2"] == StageCost(
        name="layer2",
        layers="1 x [3x3, 8; 3x3, 8], stride 2 in the first 3x3",
        output=(8, 3, 3),
        parameters=288 + 576 + 32 + 3 * 16,
        macs=second,
        # And the projection's output.
        activation_bytes=5 * 9 * 8 * 4,
    )
    assert by_name["fc"] == StageCost(
        name="fc",
        layers="fully connected, 3",
        output=(3,),
        parameters=27,
        macs=24,
        activation_bytes=8 * 4,
    )
    assert by_name["conv1"].activation_bytes == 25 * 4
    assert cost.activation_bytes == 100 + 2 * 400 + 1600 + 1440 + 32
    assert cost.macs == stem + first + second + 24
    assert cost.parameters == 36 + 8 + 304 + 944 + 27


def test_stages_stand_in_the_order_of_the_forward_pass_and_sum_to_the_whole():
    cost = measure_cost(lambda: create_model("resnet14"), 3, 32)
    names = [stage.name for stage in cost.stages if stage.parameters]
    assert names == [
        "conv1",
        "bn1",
        "layer1",
        "layer2",
        "layer3",
        "fc",
    ]
    assert sum(stage.macs for stage in cost.stages) == cost.macs
    assert sum(stage.parameters for stage in cost.stages) == cost.parameters


def test_resnet18_at_224_pixels():
    assert measure_cost(lambda: create_model("resnet18"), 3, 224).macs == 1_814_073_344


@pytest.mark.parametrize("net", NETS, ids=lambda net: net.name)
def test_torch_counts_the_same_multiply_adds(net):
    with torch.device("meta"):
        model = create_model(net.name, in_channels=2).eval()
        image = torch.empty(1, 2, 40, 40)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(image)
    cost = measure_cost(lambda: create_model(net.name, in_channels=2), 2, 40)
    assert cost.macs == counter.get_total_flops() / 2
    assert cost.parameters == sum(p.numel() for p in model.parameters())


def test_torch_counts_the_same_on_a_real_tensor():
    model = create_model("resnet14", in_channels=1, shortcut="conv3x3").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 1, 9, 9))
    cost = measure_cost(lambda: create_model("resnet14", in_channels=1, shortcut="conv3x3"), 1, 9)
    assert cost.macs == counter.get_total_flops() / 2


def test_groups_cost_only_their_own_channels():
    cost = measure_cost(lambda: nn.Conv2d(8, 8, 3, padding=1, groups=4), 8, 6)
    assert cost.macs == 36 * 8 * (2 * 9)


def test_nothing_of_the_net_is_real_and_the_default_device_is_left_alone():
    built = []

    def build():
        built.append(create_model("resnet14"))
        return built[-1]

    measure_cost(build, 3, 32)
    assert {p.device.type for p in built[0].parameters()} == {"meta"}
    assert torch.empty(1).device.type == "cpu"


def test_one_image_that_shrinks_to_one_pixel_is_counted():
    """In training mode batch norm would refuse it."""
    stages = measure_cost(lambda: create_model("resnet14"), 3, 4).stages
    assert next(stage for stage in stages if stage.name == "layer3").output == (64, 1, 1)


@pytest.mark.parametrize("options", [{}, {"norm": "group"}, {"dropout": 0.5}, {"shortcut": "A"}])
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "preact_resnet34", "plain18"])
def test_a_real_training_step_keeps_the_same_activations(name, options):
    """Counted apart: what autograd packs of a real forward, less what is there anyway."""
    if name == "plain18":
        options = {k: v for k, v in options.items() if k != "shortcut"}
    model = create_model(name, in_channels=1, stem="small", num_classes=5, **options).train()

    def kept(images):
        sizes = {}
        own = {t.data_ptr() for t in [*model.parameters(), *model.buffers()]}

        def pack(tensor):
            if tensor.data_ptr() not in own:
                sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            logits = model(torch.rand(images, 1, 16, 16))
        del logits
        return sum(sizes.values())

    cost = measure_cost(
        lambda: create_model(name, in_channels=1, stem="small", num_classes=5, **options),
        1,
        16,
    )
    assert kept(4) - kept(2) == 2 * cost.activation_bytes


def test_no_weight_is_drawn_on_the_meta_device():
    state = torch.get_rng_state()
    measure_cost(lambda: create_model("resnet14"), 3, 32)
    assert torch.equal(state, torch.get_rng_state())


def test_an_image_that_the_net_cannot_take_is_refused():
    with pytest.raises(UserError, match=r"cannot take images of 4 pixels: received"):
        measure_cost(lambda: nn.Sequential(nn.Conv2d(1, 2, 5)), 1, 4)
    with pytest.raises(UserError, match=r"images of this shape: expected \(N, 3, H, W\)"):
        measure_cost(lambda: create_model("resnet14", in_channels=3), 1, 32)


@pytest.mark.parametrize(
    ("net", "options", "counts"),
    [
        ("resnet18", {}, True),
        ("plain18", {}, True),
        ("preact_resnet18", {}, False),
        ("resnet18", {"norm": "group"}, False),
        ("resnet18", {"activation": "gelu"}, False),
        ("resnet20", {}, False),
    ],
)
def test_scratch_is_counted_where_the_kernels_would_hold_any(net, options, counts):
    cost = measure_cost(lambda: create_model(net, stem="small", **options), 3, 32)
    assert bool(cost.scratch) is counts
