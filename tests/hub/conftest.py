"""A Hub, and clients of it in processes of their own; both serve a whole module of tests."""

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
    """Without faults, with nothing seen or uploaded yet. Whatever a test does, no token reaches
    the other host that large files lie on."""
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
    """Makes clients; each with a home of its own unless it is told which."""
    made = []

    def make(home=None, **environment: str) -> Client:
        made.append(Client(_hub.url, home or tmp_path_factory.mktemp("home"), **environment))
        return made[-1]

    yield make
    for client in made:
        client.kill()


@pytest.fixture(scope="module")
def client(new_client) -> Client:
    return new_client()


@pytest.fixture(scope="module")
def owner(new_client) -> Client:
    """A client that is logged in as `me`."""
    return new_client(HF_TOKEN=TOKEN)
