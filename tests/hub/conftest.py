"""A Hub, and its clients in processes of their own, for a module of tests."""

import hashlib
from collections.abc import Iterator

import pytest

from .client import TOKEN, Client
from .server import Hub


@pytest.fixture(scope="module")
def _hub() -> Iterator[Hub]:
    with Hub() as running:
        running.tokens[TOKEN] = "me"
        yield running


@pytest.fixture
def hub(_hub) -> Iterator[Hub]:
    """Without faults, requests and uploads. In every test no token reaches the other host, which
    stores large files."""
    _hub.fault = _hub.early = None
    _hub.seen.clear()
    _hub.large.clear()
    yield _hub
    for method, path, headers in _hub.seen:
        if not headers.get("host", "").startswith("127.0.0.1"):
            assert "authorization" not in headers and "hf_" not in path, (method, path)


@pytest.fixture
def repo_id(request) -> str:
    """A repository that no other test uses: the clients' caches outlive a test."""
    return "org/" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]


@pytest.fixture(scope="module")
def new_client(_hub, tmp_path_factory):
    """Makes clients, each with a home of its own by default."""
    clients = []

    def make(home=None, **environment: str) -> Client:
        clients.append(Client(_hub.url, home or tmp_path_factory.mktemp("home"), **environment))
        return clients[-1]

    yield make
    for client in clients:
        client.kill()


@pytest.fixture(scope="module")
def client(new_client) -> Client:
    return new_client()


@pytest.fixture(scope="module")
def owner(new_client) -> Client:
    """A client that is logged in as `me`."""
    return new_client(HF_TOKEN=TOKEN)
