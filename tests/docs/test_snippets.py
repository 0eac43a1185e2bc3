"""The snippets of README and docs run as they stand."""

from __future__ import annotations

import gc
import re
import sys
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


class Printed:
    """Takes the place of `print`, and records what each line of a snippet prints."""

    def __init__(self) -> None:
        self.texts: dict[int, list[str]] = {}

    def __call__(self, *values: object) -> None:
        line = sys._getframe(1).f_lineno
        text = " ".join(str(value) for value in values)
        self.texts.setdefault(line, []).append(text)

    def find_differences(self, block: str) -> list[str]:
        """Return each line that did not print what the comment behind it shows, each time it ran.

        A comment that ends with ` …` shows the beginning.
        """
        differing: list[str] = []
        for number, line in enumerate(block.splitlines(), start=1):
            comment = re.search(r"print\(.*\)  # (.+)$", line)
            if comment is None:
                continue
            expected = comment[1].removesuffix(" …")
            printed = self.texts.get(number, [])
            if expected != comment[1]:
                printed = [text[: len(expected)] for text in printed]
            if set(printed) != {expected}:
                differing.append(f"{line.strip()} (printed: {printed})")
        return differing


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
def test_snippets_of_a_page_run_one_after_the_other(page: Path, mock_server: MockServer) -> None:
    printed = Printed()
    namespace: dict[str, Any] = {"print": printed}
    differing: list[str] = []
    for block in blocks(page, "python"):
        printed.texts.clear()
        exec(compile(block, name_of(page), "exec"), namespace)  # noqa: S102 — it is our own
        differing += printed.find_differences(block)

    namespace.clear()
    gc.collect()
    assert differing == []
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
