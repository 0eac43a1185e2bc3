"""Which certificates a client trusts, when it sees new ones, and what is said of a wrong set-up."""

from __future__ import annotations

import errno
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import certifi
import pytest
import trustme

from mesh_facade import MeshConfigurationError, MeshTLSError
from mesh_facade.engine import tls
from tests.conftest import Mode, Serve


@pytest.fixture(autouse=True)
def _no_contexts_of_other_tests() -> Iterator[None]:
    tls._make_context.cache_clear()
    yield
    tls._make_context.cache_clear()


def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def overwrite(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def replace(path: Path, content: bytes) -> None:
    """Put another file in its place, as programs that rotate certificates do."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.replace(path)


def replace_with_the_same_times(path: Path, content: bytes) -> None:
    """Put another file in its place that was written at the same moment."""
    status = path.stat()
    replace(path, content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


Change = Callable[[Path, bytes], None]


@pytest.mark.parametrize("change", [overwrite, replace, replace_with_the_same_times])
def test_client_built_after_the_file_was_replaced_trusts_the_new_authority(
    mode: Mode, serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: Change
) -> None:
    old = trustme.CA()
    new = trustme.CA()
    server = serve(tls=server_context(new))
    file = tmp_path / "authorities.pem"
    file.write_bytes(old.cert_pem.bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    before = mode.client(base_url=server.url)
    with pytest.raises(MeshTLSError):
        before.read()

    change(file, new.cert_pem.bytes())

    assert mode.client(base_url=server.url).read()
    with pytest.raises(MeshTLSError):
        before.read()


def test_client_built_after_certifi_s_file_was_replaced_trusts_the_new_authority(
    mode: Mode, serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    old = trustme.CA()
    new = trustme.CA()
    server = serve(tls=server_context(new))
    file = tmp_path / "cacert.pem"
    file.write_bytes(old.cert_pem.bytes())
    monkeypatch.setattr(certifi, "where", lambda: str(file))
    with pytest.raises(MeshTLSError):
        mode.client(base_url=server.url).read()

    replace(file, new.cert_pem.bytes())

    assert mode.client(base_url=server.url).read()


def add_to_folder(folder: Path, authority: trustme.CA, tmp_path: Path) -> None:
    """Add an authority as OpenSSL finds it in a folder: by the hash of its name."""
    pem = tmp_path / "one.pem"
    pem.write_bytes(authority.cert_pem.bytes())
    context = ssl.create_default_context(cafile=str(pem))
    assert context.get_ca_certs()
    name = subject_hash(pem)
    (folder / f"{name}.0").write_bytes(authority.cert_pem.bytes())


def subject_hash(pem: Path) -> str:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed: it names the files of a folder of certificates")
    run = subprocess.run(
        [openssl, "x509", "-noout", "-subject_hash", "-in", str(pem)],
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout.strip()


def test_client_built_after_a_folder_was_filled_trusts_the_new_authority(
    mode: Mode, serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = trustme.CA()
    server = serve(tls=server_context(authority))
    folder = tmp_path / "authorities"
    folder.mkdir()
    monkeypatch.setenv("SSL_CERT_DIR", str(folder))
    with pytest.raises(MeshTLSError):
        mode.client(base_url=server.url).read()

    add_to_folder(folder, authority, tmp_path)

    assert mode.client(base_url=server.url).read()


@pytest.mark.parametrize("change", [overwrite, replace, replace_with_the_same_times])
def test_changed_file_in_a_folder_means_another_context(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: Change
) -> None:
    file = tmp_path / "0a0a0a0a.0"
    file.write_bytes(b"one")
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    before = tls.find_ssl_context(verify=True, is_tls=True)
    assert tls.find_ssl_context(verify=True, is_tls=True) is before

    change(file, b"another")

    assert tls.find_ssl_context(verify=True, is_tls=True) is not before


def test_clients_share_a_context_while_nothing_changes() -> None:
    first = tls.find_ssl_context(verify=True, is_tls=True)

    assert tls.find_ssl_context(verify=True, is_tls=True) is first


def test_key_log_that_is_set_later_is_heeded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tls.find_ssl_context(verify=True, is_tls=True)
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys.log"))

    assert tls.find_ssl_context(verify=True, is_tls=True).keylog_filename == str(
        tmp_path / "keys.log"
    )


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"SSLKEYLOGFILE": "/nowhere/keys.log"}, "SSLKEYLOGFILE names a file that cannot be"),
        ({"SSL_CERT_FILE": "/nowhere.pem"}, "SSL_CERT_FILE names no file of certificates"),
        (
            {"SSL_CERT_FILE": "/nowhere.pem", "SSLKEYLOGFILE": "{folder}/keys.log"},
            "SSL_CERT_FILE names no file of certificates",
        ),
    ],
)
def test_wrong_variable_is_named(
    mode: Mode,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    variables: dict[str, str],
    text: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(folder=tmp_path))

    with pytest.raises(MeshConfigurationError, match=f"^{text}") as caught:
        mode.client()

    assert caught.value.__context__ is None


def test_missing_file_of_certifi_is_named(
    mode: Mode, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(certifi, "where", lambda: str(tmp_path / "cacert.pem"))

    with pytest.raises(MeshConfigurationError, match=r"^certifi's certificates cannot be read") as (
        caught
    ):
        mode.client()

    assert "SSL_CERT_FILE to a file" in str(caught.value)


def test_folder_that_cannot_be_read_is_named(
    mode: Mode, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(**_: object) -> ssl.SSLContext:
        raise PermissionError

    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    monkeypatch.setattr(ssl, "create_default_context", refuse)

    with pytest.raises(MeshConfigurationError, match=r"^SSL_CERT_DIR names no folder"):
        mode.client()


def test_lack_of_descriptors_is_not_blamed_on_certifi(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> ssl.SSLContext:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(ssl, "create_default_context", refuse)

    with pytest.raises(MeshConfigurationError, match="too many files are open") as caught:
        mode.client()

    assert caught.value.__context__ is None


PROGRAM_WITHOUT_DESCRIPTORS = """
import contextlib
import resource
from mesh_facade import MeshClient, MeshConfigurationError

resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
opened = []
with contextlib.suppress(OSError):
    while True:
        opened.append(open("/dev/null"))
try:
    MeshClient("client-id", "client-secret")
except MeshConfigurationError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_too_many_open_files_are_named_when_certificates_cannot_be_read() -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM_WITHOUT_DESCRIPTORS],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PYTHONPATH": ":".join(sys.path), "PATH": ""},
    )

    assert run.stderr == ""
    assert run.stdout.strip() == (
        "the certificates cannot be read, because too many files are open (ulimit -n: 64): raise "
        "the limit, or close files"
    )
