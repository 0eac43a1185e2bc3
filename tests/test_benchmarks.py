"""The parts of the benchmarks that decide whether their figures are fair, and come out at all."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from tests.support import Peer, Server

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def race(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("race")


@pytest.fixture
def facade(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(FOLDER)
    # Only the benchmark server runs on it, and the environment of the tests does not have it.
    monkeypatch.setitem(sys.modules, "uvloop", ModuleType("uvloop"))
    return importlib.import_module("facade")


def test_every_second_round_of_programs_runs_in_the_opposite_order(
    race: ModuleType, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    program = "with open({!r}, 'a') as log: log.write('{} ')"
    programs = {name: program.format(str(log), name) for name in ("before", "now")}

    race.race_programs(programs, rounds=2)

    # The first of the three rounds is not measured.
    assert log.read_text().split() == ["before", "now", "now", "before", "before", "now"]


def test_each_program_imports_from_its_own_checkout(race: ModuleType, tmp_path: Path) -> None:
    log = tmp_path / "log"
    checkouts = {name: tmp_path / name for name in ("before", "now")}
    for checkout in checkouts.values():
        (checkout / "mesh_facade").mkdir(parents=True)
        (checkout / "mesh_facade" / "__init__.py").touch()
    program = (
        "import mesh_facade\n"
        f"with open({str(log)!r}, 'a') as log: log.write(mesh_facade.__file__ + '\\n')"
    )

    # The tests run in this project, whose folder holds a mesh_facade too.
    race.race_programs(dict.fromkeys(checkouts, program), rounds=1, checkouts=checkouts)

    imported = [Path(line).relative_to(tmp_path).parts[0] for line in log.read_text().splitlines()]
    assert imported == ["before", "now", "now", "before"]


def test_peak_of_a_program_is_the_most_memory_of_all_rounds(
    race: ModuleType, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    program = (
        "import pathlib\n"
        f"marker = pathlib.Path({str(marker)!r})\n"
        "if not marker.exists():\n"
        "    marker.touch()\n"
        "    bytearray(b'x' * 100_000_000)\n"
    )

    _, peaks = race.race_programs({"now": program}, rounds=1)

    assert peaks["now"] > 100_000_000 / 1024


def test_contender_that_has_ended_is_named(
    race: ModuleType, capfd: pytest.CaptureFixture[str]
) -> None:
    contender = race.Contender("no_such_module.sync", {})
    contender._process.wait(30)

    with pytest.raises(SystemExit, match=r"^error: the contender no_such_module\.sync failed"):
        contender.run(1)

    contender.close()
    assert "No module named 'no_such_module'" in capfd.readouterr().err


def test_server_that_does_not_start_is_reported(
    race: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "server.py").write_text("")
    monkeypatch.setattr(race, "FOLDER", tmp_path)

    with (
        pytest.raises(SystemExit, match=r"^error: the benchmark server did not start"),
        race.running_server([0.0]),
    ):
        pass


def test_server_that_ends_while_its_speed_is_measured_is_reported(race: ModuleType) -> None:
    def answer_once(peer: Peer) -> None:
        peer.receive()
        peer.answer()
        for _ in range(100):  # unread requests would make the client see a reset
            peer.receive()

    with (
        Server(answer_once) as server,
        pytest.raises(SystemExit, match=r"^error: the benchmark server closed the connection"),
    ):
        race.measure_server_speed(server.url)


@pytest.mark.parametrize("count", [1, 19, 20, 21, 33_330])
def test_bulk_run_of_any_length_passes_the_check_of_its_outcomes(
    facade: ModuleType, count: int
) -> None:
    tally = facade.Tally(count)
    for account in facade.accounts_of_which_some_fail(count):
        error = None
        if account.auth_token.startswith("fails"):
            error = ValueError()
        tally.add(SimpleNamespace(account=account, error=error))

    tally.check()
