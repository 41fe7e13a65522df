"""Which cluster, with which token, and what is said where that cannot be."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from ports import free_port

from empo_rllib.errors import ServiceError
from empo_rllib.service import client
from empo_rllib.service.client import DEFAULT_ADDRESS, connect


@contextlib.contextmanager
def server(status: int, body: bytes) -> Iterator[tuple[str, list[str | None]]]:
    """Something that answers every GET the same: its URL, and the Authorization of each."""
    seen: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers["Authorization"])
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_port}", seen
        finally:
            running.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def plain_shell(monkeypatch):
    for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def asked(monkeypatch):
    """Returns a function that connects and tells the URL and headers that were asked with."""

    def ask(address=None, token_file=None):
        calls = []

        def note(url, headers, origin):
            calls.append((url, headers))
            raise ServiceError("asked")

        monkeypatch.setattr(client, "_check_answers", note)
        with pytest.raises(ServiceError, match="asked"):
            connect(address, token_file)
        return calls[0]

    return ask


def test_the_option_wins_over_rays_variables_in_their_order(asked, monkeypatch):
    assert asked() == (DEFAULT_ADDRESS, {})
    monkeypatch.setenv("RAY_ADDRESS", "http://two:8265")
    assert asked()[0] == "http://two:8265"
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://one:8265/")
    assert asked()[0] == "http://one:8265"
    assert asked("https://option:1")[0] == "https://option:1"


@pytest.mark.parametrize("address", ["ray-head:6379", "ray://ray-head:10001", "auto", "http://"])
def test_an_address_that_is_no_url_is_refused(address, monkeypatch):
    with pytest.raises(ServiceError, match=r"--address: .* is not the URL of a Ray dashboard"):
        connect(address, None)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ServiceError, match="RAY_ADDRESS: "):
        connect(None, None)


def test_the_token_file_wins_over_rays_variables_in_their_order(asked, monkeypatch, tmp_path):
    for name in ("option", "path"):
        (tmp_path / name).write_text(f"{name}-token\n")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "path"))
    assert asked()[1] == {"Authorization": "Bearer path-token"}
    monkeypatch.setenv("RAY_AUTH_TOKEN", "plain-token")
    assert asked()[1] == {"Authorization": "Bearer plain-token"}
    assert asked(None, tmp_path / "option")[1] == {"Authorization": "Bearer option-token"}


@pytest.mark.parametrize("content", [b"", b"\n", b"two words", b"one\ntwo"])
def test_a_file_without_a_token_is_refused(content, tmp_path):
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(ServiceError, match=r"--token-file: .*token holds no token"):
        connect(None, tmp_path / "token")


def test_a_file_that_cannot_be_read_is_refused_by_where_its_name_is_from(tmp_path, monkeypatch):
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ServiceError, match=r"--token-file: .*: it is not text"):
        connect(None, tmp_path / "binary")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "nothing"))
    with pytest.raises(ServiceError, match=r"RAY_AUTH_TOKEN_PATH: .*: No such file"):
        connect(None, None)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_says_which_token_it_was(status, tmp_path):
    (tmp_path / "token").write_text("secret-word")
    with server(status, b"no") as (url, seen):
        with pytest.raises(ServiceError) as without:
            connect(url, None)
        with pytest.raises(ServiceError) as wrong:
            connect(url, tmp_path / "token")
    assert seen == [None, "Bearer secret-word"]
    assert f"{url}: the cluster asks for a token, and none was given." in str(without.value)
    assert f"refuses the token in {tmp_path / 'token'}." in str(wrong.value)
    assert "secret-word" not in str(wrong.value)


@pytest.mark.parametrize(
    ("status", "body"), [(404, b""), (500, b""), (200, b"<html>"), (200, b"[]"), (200, b"{}")]
)
def test_a_server_that_is_no_dashboard_is_told(status, body):
    with (
        server(status, body) as (url, _),
        pytest.raises(ServiceError, match=f"{url}: what answers there is no Ray dashboard"),
    ):
        connect(url, None)


def test_a_port_that_nobody_listens_on_is_told():
    with pytest.raises(ServiceError, match="no Ray cluster answers: Connection refused"):
        connect(f"http://127.0.0.1:{free_port()}", None)


def test_a_port_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr(client, "_ANSWER_S", 0.05)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        with pytest.raises(ServiceError, match="no Ray cluster answers: timed out"):
            connect(f"http://127.0.0.1:{port}", None)
