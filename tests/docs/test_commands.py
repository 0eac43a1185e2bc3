"""The commands that README and docs name exist, with their options."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest

from mesh_facade.cli import main
from tests.docs.pages import PAGES, ROOT, blocks, name_of

PROGRAMS = {".venv/bin/python", "echo", "make", "pip", "python", "mesh-balance"}


def lines_of_shell_blocks(page: Path) -> list[str]:
    """Return the lines of the shell blocks of a page."""
    return "".join(blocks(page, "sh")).splitlines()


def commands_of(page: Path) -> list[str]:
    """Return the commands in the shell blocks of a page, and those within its sentences."""
    lines = lines_of_shell_blocks(page)
    inline = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", page.read_text(encoding="utf-8"))
    commands: list[str] = []
    for line in [*lines, *inline]:
        commands += [part.strip() for part in re.split(r"\\?\|", line)]
    return commands


def used_by(program: str) -> list[tuple[str, str]]:
    """Return the pages and the commands that run a program."""
    found: list[tuple[str, str]] = []
    for page in PAGES:
        for line in commands_of(page):
            command = line.removeprefix("MESH_AUTH_TOKEN=any-token ")
            if command.startswith(f"{program} "):
                found.append((name_of(page), command))
    return found


def options_of(command: click.Command) -> set[str]:
    """Return the names of a command's options, as the program sees them.

    A command takes the names of its help option from the program's context. Click keeps the option
    once it is made, so a context without the program would spoil `-h` for every later test.
    """
    program = main.make_context("mesh-balance", [], resilient_parsing=True)
    context = click.Context(command, parent=program)
    return {option for parameter in command.get_params(context) for option in parameter.opts}


PAGES_WITH_SHELL_BLOCKS = [page for page in PAGES if lines_of_shell_blocks(page)]


@pytest.mark.parametrize(
    "page", PAGES_WITH_SHELL_BLOCKS, ids=lambda page: page.relative_to(ROOT).as_posix()
)
def test_every_program_and_every_make_target_in_a_shell_block_exists(page: Path) -> None:
    commands = re.split("[|\n]", "\n".join(lines_of_shell_blocks(page)))
    for line in commands:
        program, *arguments = shlex.split(line.removeprefix("MESH_AUTH_TOKEN=any-token "))
        assert program in PROGRAMS, line
        if program == "make":
            plan = subprocess.run(
                ["make", "-n", *arguments], cwd=ROOT, capture_output=True, check=False
            )
            assert plan.returncode == 0, plan.stderr


@pytest.mark.parametrize(("page", "line"), used_by("mesh-balance"))
def test_every_command_of_mesh_balance_and_its_options_exist(page: str, line: str) -> None:
    assert isinstance(main, click.Group)
    command: click.Command = main
    _, *words = shlex.split(line)
    if not words[0].startswith("-"):
        assert words[0] in main.commands, page
        command = main.commands[words[0]]

    options = {word.partition("=")[0] for word in words if re.match("--?[a-z]", word)}

    assert options - options_of(command) == set()


def test_bulk_guide_and_command_line_guide_are_among_the_pages_with_commands() -> None:
    pages = {page for page, _ in used_by("mesh-balance")}

    assert {"README.md", "docs/guides/bulk.md", "docs/guides/command-line.md"} <= pages


@pytest.mark.parametrize(("page", "line"), used_by("pip install"))
def test_this_package_is_installed_from_the_clone(page: str, line: str) -> None:
    """It is not on PyPI yet: a bare name would install nothing, or another package."""
    packages = [word for word in shlex.split(line)[2:] if "mesh-facade" in word]

    assert [package for package in packages if not package.startswith("./")] == [], page
