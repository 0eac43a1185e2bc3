import errno
import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import import_spec
import pytest
import update
from changes import Report
from openapi_tools.json_values import SpecError

OLD = {"mesh.yaml": "old", "source/page.md": "old", "client.py": "old", "overlay.yaml": "ours"}
NEW = {"mesh.yaml": "new", "source/swagger.json": "new", "client.py": "new", "overlay.yaml": "ours"}


class KilledError(BaseException):
    """Represents a kill: nothing runs after it, not even a `finally`."""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a checkout that says `old` everywhere; an update writes `new` and takes no time."""
    root = tmp_path / "checkout"
    for path in ("openapi/source", "generated", ".venv"):
        (root / path).mkdir(parents=True)
    for path in ("openapi/mesh.yaml", "openapi/source/page.md", "generated/client.py"):
        (root / path).write_text("old")
    (root / "openapi/overlay.yaml").write_text("ours")

    def import_new(arguments: list[str]) -> int:
        source, output = arguments[0], Path(arguments[1].removeprefix("--output="))
        assert arguments[2] == "--adopt"
        if source == "broken":
            return 1
        output.write_text("new")
        (output.parent / "source/page.md").unlink()
        (output.parent / "source/swagger.json").write_text("new")
        return 0

    def generate_new(
        spec: Path, overlay: Path, output: Path, *, facade: Path, may_remove_other_files: bool
    ) -> list[str]:
        assert (spec.read_text(), overlay) == ("new", root / "openapi/overlay.yaml")
        assert facade == root / ".make/update/mesh_facade"
        assert may_remove_other_files
        (output / "client.py").write_text("new")
        return []

    def compare(old: Path, new: Path) -> Report:
        assert (old.read_text(), new.read_text()) == ("old", "new")
        return Report([], "", "0.1.0")

    for name, value in {
        "ROOT": root,
        "SPEC": root / "openapi/mesh.yaml",
        "OVERLAY": root / "openapi/overlay.yaml",
        "OUTPUT": root / "generated",
        "COPY": root / ".make/update",
        "READY": root / ".make/update.ready",
        "REPORT": root / ".make/update.md",
        "generate": generate_new,
        "compare": compare,
    }.items():
        monkeypatch.setattr(update, name, value)
    monkeypatch.setattr(import_spec, "main", import_new)
    monkeypatch.setattr(sys, "executable", shutil.which("true"))
    return root


def state(root: Path) -> dict[str, str]:
    folders = (root / "openapi", root / "generated")
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_update_replaces_spec_source_and_client_and_writes_a_report(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert update.main(["page.md"]) == 0

    assert state(checkout) == NEW
    assert {path.name for path in (checkout / ".make").iterdir()} == {"update.md"}
    report = (checkout / ".make/update.md").read_text()
    assert report == "# Mesh's spec, from page.md\n\nNothing breaks.\n\nThe tests passed.\n"
    assert report in capsys.readouterr().out


def test_report_begins_with_what_was_not_compared(
    checkout: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    report = Report([], "The wire view was left out, because of a test.", "0.1.0")
    monkeypatch.setattr(update, "compare", lambda *_: report)

    assert update.main(["page.md"]) == 0

    notice = "Not everything was compared. The wire view was left out, because of a test."
    assert (checkout / ".make/update.md").read_text().splitlines()[0] == notice
    assert capsys.readouterr().out.splitlines()[0] == notice


def test_report_has_the_messages_of_the_generation(
    checkout: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    generate_new = update.generate
    messages = [
        "overlay.yaml: action 1: $.info: the action has no effect",
        "3commas: VALUE_3COMMAS",
    ]

    def generate(*arguments: Any, **options: Any) -> list[str]:
        assert generate_new(*arguments, **options) == []
        return messages

    monkeypatch.setattr(update, "generate", generate)

    assert update.main(["page.md"]) == 0

    report = (checkout / ".make/update.md").read_text()
    assert report == (
        "# Mesh's spec, from page.md\n\nNothing breaks.\n\nWhen the client was generated:\n\n"
        "- overlay.yaml: action 1: $.info: the action has no effect\n"
        "- 3commas: VALUE_3COMMAS\n\nThe tests passed.\n"
    )
    assert report in capsys.readouterr().out


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
@pytest.mark.parametrize("arguments", [["page.md"], ["--finish"]])
def test_second_update_at_a_time_is_refused_and_leaves_the_first_alone(
    checkout: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
) -> None:
    compare = update.compare
    exit_codes: list[int] = []

    def compare_during_another_update(old: Path, new: Path) -> Report:
        (checkout / ".make/update.ready").mkdir()
        exit_codes.append(update.main(arguments))
        (checkout / ".make/update.ready").rmdir()
        return compare(old, new)

    monkeypatch.setattr(update, "compare", compare_during_another_update)

    assert update.main(["page.md"]) == 0

    assert exit_codes == [1]
    assert state(checkout) == NEW
    assert capsys.readouterr().err == (
        f"error: another `make update` is running in {checkout}, so this one did nothing: run it"
        " again when the other has ended\n"
    )


def test_update_needs_no_lock_where_the_system_has_none(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)  # as on Windows

    assert update.main(["page.md"]) == 0

    assert state(checkout) == NEW


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
def test_update_needs_no_lock_where_the_file_system_has_none(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr("fcntl.flock", refuse)

    assert update.main(["page.md"]) == 0

    assert state(checkout) == NEW


def test_update_needs_no_git_and_keeps_uncommitted_changes(checkout: Path) -> None:
    changed = checkout / "docs.md"
    changed.write_text("not committed")

    assert update.main(["page.md"]) == 0

    assert changed.read_text() == "not committed"
    assert state(checkout) == NEW


def test_default_source_comes_from_the_settings(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert update.main([]) == 0

    assert state(checkout) == NEW
    assert f"from {import_spec.read_settings()['source']}\n" in capsys.readouterr().out


@pytest.mark.parametrize(("code", "verdict"), [(0, "passed"), (1, "failed")])
def test_update_happens_only_if_the_tests_of_the_copy_pass(
    checkout: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    verdict: str,
) -> None:
    python = checkout / "python"
    python.write_text(
        "#!/bin/sh\n"
        '[ "$1 $2" = "-m pytest" ] && [ "$PYTHONPATH" = "$PWD:$PWD/generated" ] || exit 9\n'
        f'[ "$(cat generated/client.py)" = new ] && exit {code}\n'
    )
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))

    assert update.main(["page.md"]) == code

    assert state(checkout) == (OLD if code else NEW)
    output = capsys.readouterr()
    assert f"The tests {verdict}." in output.out
    assert ("nothing was updated" in output.err) == bool(code)
    assert not (checkout / ".make/update").exists()


def test_tests_that_failed_run_once_more_one_at_a_time(
    checkout: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    python = checkout / "python"
    python.write_text('#!/bin/sh\necho "$*"\n[ "$4" != -n2 ]\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))

    assert update.main(["page.md"]) == 0

    assert state(checkout) == NEW
    output = capfd.readouterr().out
    assert output.splitlines()[:3] == [
        "-m pytest -q -n2",
        "Some tests failed; they run once more, one at a time.",
        "-m pytest -q --last-failed --last-failed-no-failures=none",
    ]
    assert "The tests passed." in output


def test_failed_import_changes_nothing(checkout: Path) -> None:
    assert update.main(["broken"]) == 1

    assert state(checkout) == OLD
    assert not (checkout / ".make/update").exists()


def test_overlay_that_does_not_fit_changes_nothing(
    checkout: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise SpecError("overlay.yaml: action 1: matches nothing")

    monkeypatch.setattr(update, "generate", refuse)

    assert update.main(["page.md"]) == 1

    assert state(checkout) == OLD
    assert "error: overlay.yaml: action 1: matches nothing\n" in capsys.readouterr().err


STEPS = [
    (shutil, "copytree"),
    (import_spec, "main"),
    (update, "generate"),
    (update, "compare"),
    (Path, "write_text"),
    (Path, "rename"),
    (Path, "unlink"),
    (shutil, "rmtree"),
]


def kill_at(step: int, patch: pytest.MonkeyPatch) -> list[str]:
    """Kill the process before its nth step; return the list of steps that it reached."""
    done: list[str] = []

    def killing(function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            done.append(name)
            if len(done) >= step:
                raise KilledError
            return function(*arguments, **options)

        return run

    for holder, name in STEPS:
        patch.setattr(holder, name, killing(getattr(holder, name), name))
    return done


@pytest.mark.parametrize("step", range(1, 23))
def test_killed_update_leaves_the_old_files_or_is_finished_by_the_next_command(
    checkout: Path, capsys: pytest.CaptureFixture[str], step: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        done = kill_at(step, patch)
        with pytest.raises(KilledError):
            update.main(["page.md"])
    was_moving = (checkout / ".make/update.ready").exists()

    assert update.main(["--finish"]) == 0

    has_moved = "rename" in done[: step - 1]
    assert state(checkout) == (NEW if was_moving or has_moved else OLD)
    assert ("update were finished" in capsys.readouterr().out) == was_moving


def test_finishing_can_be_killed_and_finished_again(checkout: Path) -> None:
    for step in (16, 2, 3):
        with pytest.MonkeyPatch.context() as patch:
            kill_at(step, patch)
            with pytest.raises(KilledError):
                update.main(["page.md"])

    update.main(["--finish"])

    assert state(checkout) == NEW


def test_update_works_after_a_killed_one(checkout: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        kill_at(5, patch)
        with pytest.raises(KilledError):
            update.main(["page.md"])

    assert update.main(["page.md"]) == 0

    assert state(checkout) == NEW


def test_script_runs_as_a_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["update.py", "--help"])

    with pytest.raises(SystemExit) as exit_:
        runpy.run_path(update.__file__, run_name="__main__")

    assert exit_.value.code == 0
    assert "--finish" in capsys.readouterr().out
