"""Publishing and fetching over Xet, with its content store on disk."""

from importlib.metadata import version

import pytest

from .client import TOKEN, HubError, write_export
from .server import sha256

pytest.importorskip("hf_xet")


@pytest.mark.skipif(
    not version("hf-xet").startswith("1.8."), reason="the store's format on disk is hf_xet 1.8's"
)
def test_a_round_trip_over_xet_is_verified(hub, new_client, tmp_path):
    hub.xet = tmp_path / "store"
    hub.xet.mkdir()
    model = write_export(tmp_path / "model")
    data = (model / "model.safetensors").read_bytes()
    hub.large[sha256(data)] = data  # the store does not report its content to this Hub
    environment = {"HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "0"}
    pushed = new_client(**environment)("push", model, "me/xet")
    assert hub.count("PUT", "") == 0 and hub.count("GET", "xet-write-token") > 0
    puller = new_client(**environment)
    source = puller("fetch", "me/xet")
    assert source["files"]["model.safetensors"] == sha256(data)
    assert source["revision"] == pushed["commit"]
    assert hub.count("GET", "/large/") == 0 and hub.count("GET", "xet-read-token") > 0
    cached = puller.cached("me/xet", "model.safetensors")
    cached.write_bytes(bytes(len(data)))
    with pytest.raises(HubError, match="is damaged"):
        puller("fetch", "me/xet", offline=True)
    assert puller("fetch", "me/xet") == source
