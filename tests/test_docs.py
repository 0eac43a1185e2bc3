"""README and docs: every snippet runs, and every command, path and test that they name exists."""

from __future__ import annotations

import asyncio
import gc
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trustme

from mesh_facade.testing import FAULTS, MockServer
from tests.docs.pages import DOCS, PAGES, README, ROOT, blocks, name_of

PROGRAMS = {"echo", "make", "pip", "python", "mesh-balance"}
BROKEN_OFF = "py"  # the language of blocks that need more than is installed: only compiled

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


def test_the_example_reads_the_balance_it_says(
    mock_server: MockServer, capsys: pytest.CaptureFixture[str]
) -> None:
    exec(blocks(README, "python")[0], {})  # noqa: S102 — it is our own
    assert capsys.readouterr().out.split() == ["158.5", "10"]
    assert len(mock_server.calls) == 1


def test_the_example_of_many_accounts_reads_each_once(
    mock_server: MockServer, capsys: pytest.CaptureFixture[str]
) -> None:
    exec(blocks(README, "python")[2], {})  # noqa: S102 — it is our own
    assert sorted(capsys.readouterr().out.splitlines()) == ["0 10", "1 10", "2 10"]
    assert len(mock_server.calls) == 3


def test_the_async_example_reads_the_same(
    mock_server: MockServer, capsys: pytest.CaptureFixture[str]
) -> None:
    namespace: dict[str, Any] = {}
    exec(blocks(README, "python")[1], namespace)  # noqa: S102 — it is our own
    asyncio.run(namespace["read"]("some-token"))
    assert "Decimal('158.5')" in capsys.readouterr().out
    assert len(mock_server.calls) == 1


def test_the_error_example_tells_a_dead_token_from_other_failures(
    mock_server: MockServer, capsys: pytest.CaptureFixture[str]
) -> None:
    mock_server.fails("a-dead-token", "unauthorized-token")
    exec(blocks(README, "python")[3], {})  # noqa: S102 — it is our own
    assert capsys.readouterr().out == "ask the user to link again\n"


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # of event loops that are closed
@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("page", [page for page in pages_with("python") if page.id != "README.md"])
def test_the_snippets_of_a_page_run_one_after_the_other(
    page: Path, mock_server: MockServer, capsys: pytest.CaptureFixture[str]
) -> None:
    namespace: dict[str, Any] = {}
    missing: list[str] = []
    for block in blocks(page, "python"):
        exec(compile(block, name_of(page), "exec"), namespace)  # noqa: S102 — it is our own
        printed = capsys.readouterr().out
        promised = re.findall(r"print\(.*\)  # (.+)$", block, re.MULTILINE)
        beginnings = [line.partition(" …")[0] for line in promised]
        missing += [beginning for beginning in beginnings if beginning not in printed]

    namespace.clear()
    gc.collect()
    assert missing == []
    assert mock_server.calls or "client" not in str(page)


def test_the_tests_of_the_testing_guide_pass(pytester: pytest.Pytester) -> None:
    guide = blocks(DOCS / "guides" / "testing.md", "python")
    pytester.makepyfile(guide="\n".join(guide))

    done = pytester.runpytest_subprocess("-p", "no:randomly", "-p", "no:cacheprovider", "guide.py")

    done.assert_outcomes(passed=3 + len(FAULTS))


@pytest.mark.parametrize("page", pages_with(BROKEN_OFF))
def test_snippets_that_need_more_than_is_installed_compile(page: Path) -> None:
    for block in blocks(page, BROKEN_OFF):
        compile(block, name_of(page), "exec")


@pytest.mark.parametrize("page", pages_with("sh"))
def test_every_command_exists(page: Path) -> None:
    commands = re.split("[|\n]", "".join(blocks(page, "sh")).strip())
    for line in commands:
        program, *arguments = shlex.split(line.removeprefix("MESH_AUTH_TOKEN=any-token "))
        assert program in PROGRAMS, line
        if program == "make":
            plan = subprocess.run(
                ["make", "-n", *arguments], cwd=ROOT, capture_output=True, check=False
            )
            assert plan.returncode == 0, plan.stderr


@pytest.mark.parametrize("page", [pytest.param(page, id=name_of(page)) for page in PAGES])
def test_every_path_and_every_test_that_is_named_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for path, test in re.findall(r"`([a-z_.]+/[a-z_./-]*)(?:::(\w+))?`", text):
        assert (ROOT / path).exists(), path
        assert not test or f"def {test}(" in (ROOT / path).read_text(), test


def test_the_testing_guide_names_every_fault() -> None:
    text = (DOCS / "guides" / "testing.md").read_text()

    assert [name for name in FAULTS if f"`{name}`" not in text] == []


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()

    for page in PAGES[1:]:
        assert f" {page.relative_to(DOCS)}\n" in navigation, page
