"""`MESH_LOG`: logging for a program that configures none."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from mesh_facade import MeshConfigurationError, ServerError
from mesh_facade.logs import configure_logging
from tests.support import OK, Script, response

if TYPE_CHECKING:
    from tests.conftest import Clock, Mode


@contextlib.contextmanager
def unconfigured_logging() -> Iterator[logging.Logger]:
    """Yield the package's logger, as it is in a program that has not configured logging.

    It is no fixture, because pytest adds handlers to loggers between fixtures and test.
    """
    logger = logging.getLogger("mesh_facade")
    level = logger.level
    loggers = [logger, logging.getLogger()]
    handlers = [list(each.handlers) for each in loggers]
    for each in loggers:
        each.handlers.clear()
    try:
        yield logger
    finally:
        for each, former in zip(loggers, handlers, strict=True):
            each.handlers[:] = former
        logger.setLevel(level)


@pytest.mark.parametrize("value", ["debug", "DEBUG", " Debug "])
def test_debug_prints_failed_attempts_on_stderr(
    mode: Mode,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    value: str,
) -> None:
    monkeypatch.setenv("MESH_LOG", value)

    with unconfigured_logging() as logger:
        mode.client(transport=Script(response(503, b""), OK)).read()
        assert logger.level == logging.DEBUG

    printed = capsys.readouterr()
    assert "mesh_facade DEBUG attempt 1 failed" in printed.err
    assert printed.out == ""
    assert len(clock.pauses) == 1


def test_info_prints_no_failed_attempts(
    mode: Mode,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MESH_LOG", "info")

    with unconfigured_logging() as logger:
        mode.client(transport=Script(response(503, b""), OK)).read()
        assert logger.level == logging.INFO
        assert len(logger.handlers) == 1

    assert "attempt 1 failed" not in capsys.readouterr().err
    assert len(clock.pauses) == 1


def test_two_clients_add_one_handler(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_LOG", "info")

    with unconfigured_logging() as logger:
        mode.client()
        mode.client()
        assert len(logger.handlers) == 1


@pytest.mark.parametrize("value", ["", "  "])
def test_empty_value_changes_nothing(
    mode: Mode, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("MESH_LOG", value)

    with unconfigured_logging() as logger:
        level = logger.level
        mode.client()
        assert logger.handlers == []
        assert logger.level == level


@pytest.mark.parametrize("value", ["warning", "1", "true"])
def test_unknown_value_raises_configuration_error(
    mode: Mode, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("MESH_LOG", value)

    match = f"^MESH_LOG must be debug or info, not '{value}'$"

    with unconfigured_logging() as logger:
        with pytest.raises(MeshConfigurationError, match=match):
            mode.client()
        assert logger.handlers == []


def test_logging_that_the_program_has_configured_is_left_alone(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_LOG", "debug")
    handler = logging.NullHandler()

    with unconfigured_logging() as logger:
        logger.addHandler(handler)
        level = logger.level
        mode.client()
        assert logger.handlers == [handler]
        assert logger.level == level


def test_logging_that_the_program_configures_later_prints_each_record_once(
    mode: Mode, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MESH_LOG", "debug")

    with unconfigured_logging():
        client = mode.client(transport=Script(response(500, b"")), max_attempts=1)
        logging.basicConfig(format="theirs: %(message)s")
        with pytest.raises(ServerError):
            client.read()

    lines = [line for line in capsys.readouterr().err.splitlines() if "attempt 1 failed" in line]
    assert len(lines) == 1
    assert lines[0].startswith("theirs: ")


def test_handler_that_the_program_adds_later_to_the_logger_prints_each_record_once(
    mode: Mode, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MESH_LOG", "debug")

    with unconfigured_logging() as logger:
        client = mode.client(transport=Script(response(500, b"")), max_attempts=1)
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("theirs: %(message)s"))
        logger.addHandler(handler)
        with pytest.raises(ServerError):
            client.read()

    lines = [line for line in capsys.readouterr().err.splitlines() if "attempt 1 failed" in line]
    assert len(lines) == 1
    assert lines[0].startswith("theirs: ")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_child_that_another_thread_forks_meanwhile_can_build_a_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A lock that the first thread held would stay held in the child."""

    def fork() -> None:
        child = os.fork()
        if child == 0:  # pragma: no cover — measured in the parent alone
            signal.alarm(10)  # ends a child that hangs
            configure_logging()
            os._exit(0)
        statuses.append(os.waitpid(child, 0)[1])

    def fork_in_another_thread(handler: logging.Handler) -> None:
        monkeypatch.undo()
        monkeypatch.setenv("MESH_LOG", "info")
        thread = threading.Thread(target=fork)
        thread.start()
        thread.join()
        logger.addHandler(handler)

    statuses: list[int] = []
    monkeypatch.setenv("MESH_LOG", "info")

    with unconfigured_logging() as logger:
        monkeypatch.setattr(logger, "addHandler", fork_in_another_thread)
        configure_logging()
        assert len(logger.handlers) == 1

    assert statuses == [0]


PROGRAM = """
import httpx
from mesh_facade import MeshClient, MeshError

transport = httpx.MockTransport(lambda request: httpx.Response(500))
with MeshClient("client-id", "client-secret", transport=transport, max_attempts=1) as mesh:
    try:
        mesh.get_account_balance("canary-token", "coinbase")
    except MeshError:
        pass
"""


@pytest.mark.parametrize(("value", "is_printed"), [("debug", True), ("", False)])
def test_program_without_logging_prints_failed_attempts_only_if_asked(
    value: str, *, is_printed: bool
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "MESH_LOG": value, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert ("attempt 1 failed" in done.stderr) is is_printed
    assert "canary" not in done.stderr
    assert "client-secret" not in done.stderr
