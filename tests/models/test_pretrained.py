import warnings

import pytest
import safetensors.torch
import timm
import torch
from torch import nn

import reslab
from reslab.errors import UserError
from reslab.models import pretrained
from reslab.models.blocks import BasicBlock
from reslab.models.create import create_model
from reslab.models.match import adapt_channels
from reslab.models.pretrained import load_weights
from reslab.models.resnet import ResNet
from reslab.models.weights import weights_to_bytes


def trained_net(name="resnet14", seed=0, **options):
    """A net that is not as it was made, its statistics included."""
    torch.manual_seed(seed)
    model = create_model(name, **options)
    model.train()(torch.randn(4, model.conv1.in_channels, 16, 16))
    return model


@pytest.fixture
def file(tmp_path):
    """Writes a net's weights and gives their path."""

    def write(model, change=lambda state: state):
        path = tmp_path / "w.safetensors"
        safetensors.torch.save_file(change(dict(model.state_dict())), path)
        return path

    return write


def state_of(model):
    return {name: t.clone() for name, t in model.state_dict().items()}


def fates(report):
    return {t.name: t.fate for t in report.tensors}


def test_everything_is_loaded_where_everything_fits(file):
    source, model = trained_net(), trained_net(seed=1)
    report = load_weights(model, file(source))
    assert set(fates(report).values()) == {"loaded"}
    assert [t.name for t in report.tensors] == list(model.state_dict())
    assert all(torch.equal(t, model.state_dict()[name]) for name, t in source.state_dict().items())
    assert report.doubts == ()


def test_a_head_for_other_classes_stays_as_it_was_initialised(file):
    source, model = trained_net(num_classes=10), trained_net(seed=1, num_classes=4)
    head = model.fc.weight.clone()
    report = load_weights(model, file(source))
    assert torch.equal(model.fc.weight, head)
    assert torch.equal(model.layer3[1].conv2.weight, source.layer3[1].conv2.weight)
    assert {n for n, fate in fates(report).items() if fate == "kept"} == {"fc.weight", "fc.bias"}
    assert "fc         kept         2  for 10 classes there, 4 here: left at initialisation" in str(
        report
    )


@pytest.mark.parametrize(
    ("old", "new", "how"),
    [
        (3, 1, "summed over 3 channels to 1"),
        (3, 5, "repeated from 3 channels to 5"),
        (1, 3, "repeated from 1 channels to 3"),
    ],
)
def test_a_stem_for_other_channels_is_adapted(file, old, new, how):
    source, model = trained_net(in_channels=old), trained_net(seed=1, in_channels=new)
    report = load_weights(model, file(source))
    told = {t.name: (t.fate, t.why) for t in report.tensors}
    assert told["conv1.weight"] == ("adapted", how)
    assert torch.equal(model.conv1.weight, adapt_channels(source.conv1.weight, new))


def test_a_grey_image_gives_what_it_gave_as_equal_channels(file):
    source, model = (
        trained_net(in_channels=3).eval(),
        create_model("resnet14", in_channels=1).eval(),
    )
    load_weights(model, file(source))
    grey = torch.randn(2, 1, 12, 12)
    torch.testing.assert_close(model(grey), source(grey.expand(-1, 3, -1, -1)))


@pytest.mark.parametrize(
    ("other", "received"),
    [
        (("resnet20", {}), r"0 of this net's tensors unfilled and 30 of the file's unused"),
        (("preact_resnet110", {}), "unused"),
        (
            ("resnet14", {"stem": "imagenet"}),
            r"conv1.weight .*shape \(16, 3, 7, 7\).*the other stem",
        ),
        (("resnet14", {"shortcut": "B"}), "layer2.0.downsample.0.weight .*no such tensor"),
        (("resnet18", {}), "unfilled"),
    ],
)
def test_another_net_is_refused_and_nothing_is_changed(file, other, received):
    model = trained_net()
    before = state_of(model)
    with pytest.raises(UserError, match=received) as info:
        load_weights(model, file(trained_net(other[0], **other[1])))
    assert "weights of another net" in str(info.value)
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


def test_without_strictness_what_fits_is_loaded_and_the_rest_told(file):
    source, model = trained_net("resnet20"), trained_net()
    report = load_weights(model, file(source), strict=False)
    assert report.count("loaded") == len(model.state_dict())
    assert report.count("left out") == 36
    assert fates(report)["layer1.2.conv1.weight"] == "left out"
    assert torch.equal(model.layer3[1].conv2.weight, source.layer3[1].conv2.weight)


def test_even_without_strictness_something_must_fit(file):
    with pytest.raises(UserError, match=r"nothing in .* fits the net; create the net"):
        load_weights(trained_net(), file(nn.Linear(2, 2)), strict=False)


def test_weights_of_before_counters_and_without_a_head_are_taken(file):
    def shortened(state):
        return {
            n: t for n, t in state.items() if "batches_tracked" not in n and not n.startswith("fc.")
        }

    report = load_weights(trained_net(seed=1), file(trained_net(), shortened))
    kept = {n for n, fate in fates(report).items() if fate == "kept"}
    assert {"fc.weight", "fc.bias", "bn1.num_batches_tracked"} <= kept
    assert report.count("kept") == 2 + 13


def test_half_precision_becomes_single(file):
    source, model = trained_net(), trained_net(seed=1)
    load_weights(model, file(source, lambda s: {n: t.bfloat16() for n, t in s.items()}))
    assert model.conv1.weight.dtype == torch.float32
    assert torch.equal(model.conv1.weight, source.conv1.weight.bfloat16().float())


def test_the_layout_of_the_net_stays(file):
    model = trained_net(seed=1).to(memory_format=torch.channels_last)
    load_weights(model, file(trained_net()))
    assert model.layer1[0].conv1.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_net_that_was_never_trained_is_doubted(file):
    report = load_weights(trained_net(), file(create_model("resnet14")))
    assert "looks untrained" in report.doubts[0]
    assert "doubtful: the net looks untrained" in str(report)
    assert load_weights(trained_net(), file(trained_net())).doubts == ()


class TestCreateModel:
    def test_it_takes_weights_without_a_word_where_all_fit(self, file):
        source = trained_net()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model = create_model("resnet14", weights=file(source))
        assert torch.equal(model.fc.weight, source.fc.weight)

    def test_it_warns_of_what_did_not_fit(self, file):
        path = file(trained_net())
        with pytest.warns(UserWarning) as told:
            create_model("resnet14", weights=path, num_classes=3, in_channels=1)
        texts = "\n".join(str(w.message) for w in told)
        assert "conv1 adapted (summed over 3 channels to 1)" in texts
        assert "fc kept (for 10 classes there, 3 here" in texts
        assert {w.filename for w in told} == {__file__}

    def test_a_run_gives_its_best_weights(self, trained):
        model = create_model(
            "resnet14", weights=trained.folder.path, num_classes=3, in_channels=1
        ).eval()
        ours = trained.model().state_dict()
        assert all(torch.equal(ours[name], t) for name, t in model.state_dict().items())

    def test_published_weights_are_found_by_the_nets_name(self, monkeypatch):
        published = trained_net("resnet18").state_dict()
        asked = []
        monkeypatch.setattr(pretrained, "fetch_published", lambda *a: asked.append(a) or published)
        model = create_model("resnet18", weights="imagenet_v1")
        assert asked == [("resnet18", "imagenet_v1")]
        assert torch.equal(model.fc.weight, published["fc.weight"])

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            ({"activation": "tanh"}, "received activation Tanh;"),
            ({"stride_in_1x1": True}, "received stride_in_1x1;"),
            (
                {"activation": "elu", "stride_in_1x1": True},
                "received stride_in_1x1 and activation ELU;",
            ),
        ],
    )
    def test_published_weights_refuse_options_that_change_what_they_mean(self, options, told):
        with pytest.raises(UserError, match=f"published weights are of nets with ReLU.*{told}"):
            create_model("resnet50", weights="imagenet", **options)

    @pytest.mark.parametrize("option", [{"zero_init_residual": True}, {"initialisation": "xavier"}])
    def test_options_that_weights_would_undo_are_refused(self, file, option):
        with pytest.raises(UserError, match="weights replace what initialisation and"):
            create_model("resnet14", weights=file(trained_net()), **option)


def test_counters_alone_are_nothing_that_fits(file):
    wide = ResNet(BasicBlock, (2, 2, 2), (17, 33, 65), num_classes=10, stem="small")
    with pytest.raises(UserError, match=r"nothing in .* fits the net"):
        load_weights(trained_net(), file(wide), strict=False)


def test_a_head_of_another_width_is_left_out_whole(file):
    model = trained_net(seed=1)
    bias = model.fc.bias.clone()
    wide = trained_net(seed=2)
    wide.fc = nn.Linear(70, 10)
    report = load_weights(model, file(wide))
    told = {t.name: (t.fate, t.why) for t in report.tensors}
    assert told["fc.weight"] == ("kept", "shape (10, 70) there, (10, 64) here")
    assert told["fc.bias"] == ("kept", "the rest of the head does not fit")
    assert torch.equal(model.fc.bias, bias)


def test_a_net_that_computes_otherwise_is_doubted_where_the_file_tells(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(weights_to_bytes(trained_net("plain14")))
    report = load_weights(trained_net(), path)
    assert set(fates(report).values()) == {"loaded"}
    assert report.doubts == ("the weights are of plain14 with shortcut none there, A here",)
    path.write_bytes(weights_to_bytes(trained_net(activation="tanh")))
    with pytest.warns(UserWarning, match="are of resnet14 with activation tanh there, relu here"):
        create_model("resnet14", weights=path)


def test_what_is_no_place_for_weights_is_refused():
    with pytest.raises(UserError, match=r"go into a net: .*received str; reslab.create_model"):
        load_weights("resnet14", "imagenet")
    with pytest.raises(UserError, match=r"come from a file, a run or by name: .*received 5"):
        load_weights(trained_net(), 5)
    with pytest.raises(UserError, match="which net's published weights"):
        load_weights(trained_net(), "imagenet")
    with torch.device("meta"):
        model = create_model("resnet14")
    with pytest.raises(UserError, match="on the meta device"):
        load_weights(model, "w.pth")


def test_it_is_public():
    assert reslab.load_weights is load_weights


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"])
def test_the_state_dicts_of_timm_load_strictly(name, file):
    torch.manual_seed(0)
    theirs = timm.create_model(name, num_classes=5).eval()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    ours = create_model(name, num_classes=5).eval()
    report = load_weights(ours, file(theirs))
    assert {t.fate for t in report.tensors} == {"loaded"}
    x = torch.randn(1, 3, 40, 56)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)
