"""Published weights, fetched from a server on this machine."""

import hashlib
import http.server
import io
import threading

import pytest
import torch
import torchvision

from reslab.catalog.nets import NETS
from reslab.errors import UserError
from reslab.models import published
from reslab.models.published import TAGS, download, fetch_published

STATE = {"fc.bias": torch.arange(3.0)}


def as_bytes(state):
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """Serve bytes under a name; torch.hub's cache is a new folder."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    served = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            content, promised = served[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(promised))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def at(content, *, name=None, promised=None):
        digest = hashlib.sha256(content).hexdigest()[:8]
        path = f"/{name or f'net-{digest}.pth'}"
        served[path] = (content, len(content) if promised is None else promised)
        return f"http://127.0.0.1:{server.server_port}{path}"

    yield at
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_file_whose_checksum_is_right_is_loaded_and_kept(serve, tmp_path):
    url = serve(as_bytes(STATE))
    assert torch.equal(download(url)["fc.bias"], STATE["fc.bias"])
    assert len(list((tmp_path / "hub" / "checkpoints").iterdir())) == 1


def test_a_file_with_another_checksum_is_refused_and_not_kept(serve, tmp_path):
    url = serve(as_bytes(STATE), name="net-00000000.pth")
    with pytest.raises(UserError, match=r"arrived damaged: .*; try again"):
        download(url)
    assert list((tmp_path / "hub" / "checkpoints").iterdir()) == []


def test_a_transfer_that_breaks_off_is_refused_and_not_kept(serve, tmp_path):
    whole = as_bytes(STATE)
    digest = hashlib.sha256(whole).hexdigest()[:8]
    url = serve(whole[: len(whole) // 2], name=f"net-{digest}.pth", promised=len(whole))
    with pytest.raises(UserError, match="arrived damaged"):
        download(url)
    assert list((tmp_path / "hub" / "checkpoints").iterdir()) == []


@pytest.mark.parametrize("content", [b"junk", b"", b"PK"])
def test_a_damaged_file_in_the_cache_is_told_from_a_good_one(serve, tmp_path, content):
    url = serve(as_bytes(STATE))
    download(url)
    cached = tmp_path / "hub" / "checkpoints" / url.rpartition("/")[2]
    cached.write_bytes(content)
    with pytest.raises(UserError, match=r"is damaged: .*; delete it and try again"):
        download(url)
    cached.unlink()
    assert download(url).keys() == STATE.keys()


def test_a_cache_that_cannot_be_written(serve, tmp_path):
    (tmp_path / "hub").write_text("a file where the folder should be")
    with pytest.raises(UserError, match=r"cannot be written: .*TORCH_HOME"):
        download(serve(as_bytes(STATE)))


def test_without_a_network_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    with pytest.raises(UserError, match=r"cannot be reached: .*; connect to a network, or put"):
        download("http://127.0.0.1:9/net-00000000.pth")


def test_the_address_is_torchvisions(monkeypatch):
    asked = []
    monkeypatch.setattr(published, "download", lambda url: asked.append(url) or STATE)
    for tag in TAGS:
        assert fetch_published("resnet50", tag) is STATE
    weights = torchvision.models.ResNet50_Weights
    assert asked == [
        weights.DEFAULT.url,
        weights.IMAGENET1K_V1.url,
        weights.IMAGENET1K_V2.url,
    ]


def test_every_net_of_torchvision_has_them_and_no_other(monkeypatch):
    monkeypatch.setattr(published, "download", lambda url: url)
    for net in NETS:
        if hasattr(torchvision.models, net.name):
            assert net.name in fetch_published(net.name, "imagenet")
        else:
            with pytest.raises(UserError, match=f"nobody publishes ImageNet weights of {net.name}"):
                fetch_published(net.name, "imagenet")


def test_a_recipe_that_a_net_was_not_trained_with():
    with pytest.raises(UserError, match=r"no weights imagenet_v2 of resnet18: expected one of"):
        fetch_published("resnet18", "imagenet_v2")
