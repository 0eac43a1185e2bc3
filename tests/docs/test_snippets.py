"""The snippets of README and docs run as they stand."""

from __future__ import annotations

import gc
import re
from pathlib import Path
from typing import Any

import pytest
import trustme

from mesh_facade.testing import FAULTS, MockServer
from tests.docs.pages import DOCS, PAGES, README, blocks, name_of

COMPILED_ONLY = "py"  # the language of blocks that need more than is installed here

pytest_plugins = ["pytester"]


def pages_with(*languages: str) -> list[Any]:
    found = [page for page in PAGES if any(blocks(page, language) for language in languages)]
    return [pytest.param(page, id=name_of(page)) for page in found]


@pytest.fixture
def mock_server(mesh: MockServer, monkeypatch: pytest.MonkeyPatch) -> MockServer:
    for name, value in mesh.environment.items():
        monkeypatch.setenv(name, value)
    return mesh


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work where the files are that the pages name."""
    authority = trustme.CA()
    client = authority.issue_cert("client.example")
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    client.cert_chain_pems[0].write_to_path(str(tmp_path / "client.pem"))
    client.private_key_pem.write_to_path(str(tmp_path / "client.key"))
    account = '{"auth_token": "a-token", "broker": "coinbase", "key": "mine"}'
    (tmp_path / "accounts-1.jsonl").write_text(account)
    monkeypatch.chdir(tmp_path)


def test_first_snippet_of_readme_reads_one_balance(
    mock_server: MockServer, capsys: pytest.CaptureFixture[str]
) -> None:
    exec(blocks(README, "python")[0], {})  # noqa: S102 — it is our own
    assert capsys.readouterr().out.split() == ["158.5", "10"]
    assert len(mock_server.calls) == 1


def test_bulk_snippet_of_readme_reads_each_account_once(
    mock_server: MockServer, capsys: pytest.CaptureFixture[str]
) -> None:
    exec(blocks(README, "python")[2], {})  # noqa: S102 — it is our own
    assert sorted(capsys.readouterr().out.splitlines()) == ["0 10", "1 10", "2 10"]
    assert len(mock_server.calls) == 3


def test_async_snippet_of_readme_reads_one_balance(
    mock_server: MockServer, capsys: pytest.CaptureFixture[str]
) -> None:
    exec(blocks(README, "python")[1], {})  # noqa: S102 — it is our own
    assert "Decimal('158.5')" in capsys.readouterr().out
    assert len(mock_server.calls) == 1


def test_error_snippet_of_readme_recognises_a_dead_token(
    mock_server: MockServer, capsys: pytest.CaptureFixture[str]
) -> None:
    mock_server.fails("unauthorized-token", "unauthorized-token")
    exec(blocks(README, "python")[3], {})  # noqa: S102 — it is our own
    assert (
        capsys.readouterr().out
        == "Refresh the token, or if that fails let the user link the account again.\n"
    )


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # of event loops that are closed
@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("page", [page for page in pages_with("python") if page.id != "README.md"])
def test_snippets_of_a_page_run_one_after_the_other(
    page: Path, mock_server: MockServer, capsys: pytest.CaptureFixture[str]
) -> None:
    namespace: dict[str, Any] = {}
    missing: list[str] = []
    for block in blocks(page, "python"):
        exec(compile(block, name_of(page), "exec"), namespace)  # noqa: S102 — it is our own
        printed = capsys.readouterr().out
        comments = re.findall(r"print\(.*\)  # (.+)$", block, re.MULTILINE)
        expected = [comment.partition(" …")[0] for comment in comments]
        missing += [text for text in expected if text not in printed]

    namespace.clear()
    gc.collect()
    assert missing == []
    assert mock_server.calls or "client" not in str(page)


def test_tests_of_the_testing_guide_pass(pytester: pytest.Pytester) -> None:
    guide = blocks(DOCS / "guides" / "testing.md", "python")
    pytester.makepyfile(guide="\n".join(guide))

    done = pytester.runpytest_subprocess("-p", "no:randomly", "-p", "no:cacheprovider", "guide.py")

    done.assert_outcomes(passed=5 + len(FAULTS))


@pytest.mark.parametrize("page", pages_with(COMPILED_ONLY))
def test_snippets_that_cannot_run_here_compile(page: Path) -> None:
    for block in blocks(page, COMPILED_ONLY):
        compile(block, name_of(page), "exec")
