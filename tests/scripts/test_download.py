"""Downloads: what is at an https address, whole and from the host that was asked."""

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme
from openapi_tools import download
from openapi_tools.download import read_bytes
from openapi_tools.json_values import SpecError

from tests.scripts.importing import Refusal

CONTENT = b'{"openapi": "3.0.3"}'


class Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:  # a client that has read enough hangs up
        pass


class Handler(BaseHTTPRequestHandler):
    released = threading.Event()

    def do_GET(self) -> None:
        status, length, headers = 200, len(CONTENT), {}
        match self.path:
            case "/moved":
                status, headers = 302, {"Location": "/spec.json"}
            case "/elsewhere":
                status, headers = 302, {"Location": "https://other.example/spec.json"}
            case "/plain":
                status, headers = 302, {"Location": "http://localhost/spec.json"}
            case "/gone":
                status = 404
            case "/cut":
                length += 1
            case "/silent":
                self.released.wait()
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def refusal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refusal:
    return Refusal(tmp_path, capsys)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("NO_PROXY", "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    Handler.released.clear()
    with Server(("127.0.0.1", 0), Handler) as listening:
        listening.socket = context.wrap_socket(listening.socket, server_side=True)
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield f"https://localhost:{listening.server_port}"
        Handler.released.set()
        listening.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["/spec.json", "/moved"])
def test_an_https_address_is_read_also_after_a_redirection_within_its_host(
    server: str, path: str
) -> None:
    assert read_bytes(server + path) == CONTENT


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/elsewhere", "https://other.example/spec.json is not an https address of the host"),
        ("/plain", "http://localhost/spec.json is not an https address of the host"),
        ("/gone", "Client error '404 Not Found'"),
        ("/cut", "peer closed connection without sending complete message body"),
        ("/silent", "no whole answer within 0.2 s"),
    ],
)
def test_a_download_that_is_not_whole_or_not_from_the_host_changes_nothing(
    server: str, path: str, reason: str, refusal: Refusal, monkeypatch: pytest.MonkeyPatch
) -> None:
    if path == "/silent":
        monkeypatch.setattr(download, "MAX_SECONDS", 0.2)
    assert refusal.of(server + path).startswith(reason)


@pytest.mark.parametrize("spare", [-1, 0])
def test_a_download_over_the_limit_is_refused(
    server: str, spare: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "MAX_BYTES", len(CONTENT) + spare)
    if spare < 0:
        with pytest.raises(SpecError, match="there are more than"):
            read_bytes(f"{server}/spec.json")
    else:
        assert read_bytes(f"{server}/spec.json")


@pytest.mark.parametrize("address", ["http://localhost/", "ftp://localhost/", "https://a\x00/"])
def test_an_address_that_is_not_https_is_refused(address: str, refusal: Refusal) -> None:
    assert refusal.of(address)
