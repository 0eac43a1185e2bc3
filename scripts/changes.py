"""Tells what changes for callers from one spec to another, on the wire and in Python.

`make changes` runs it, and `make update` puts its report into its own.

Exit code 0: nothing that was compared breaks callers, 1: something does, 2: the specs could not be
compared. If only a part could be compared, the first line of the report says so.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NotRequired, TypedDict

from attrs import asdict, astuple, frozen
from generate import FACADE, OVERLAY, PACKAGE, ROOT, SPEC, generate
from openapi_tools.command_line import command
from openapi_tools.json_values import SpecError
from openapi_tools.python_api import compare_packages

REDOCLY = Path(sys.prefix, "node_modules/@redocly/cli/bin/cli.js")

_KINDS = ("breaking", "additive", "cosmetic")
_TEXT_KEYWORDS = {"description", "summary", "title", "externalDocs"}


class _Verdict(TypedDict):
    """The verdict of one of redocly's rules on a change."""

    message: str


class _WireChange(TypedDict):
    """A change as redocly reports it."""

    path: str  # a JSON Pointer in a URI fragment
    kind: str  # added, removed or modified
    impact: str  # major, minor or patch
    property: NotRequired[str]
    verdicts: list[_Verdict]


@frozen
class Finding:
    """What changes at one place, in a sentence that a caller understands."""

    kind: str  # one of _KINDS
    view: str  # wire, python or overlay
    place: str
    sentence: str


@frozen
class Report:
    """The findings, the reason why a view was left out, if one was, and the facade's version."""

    findings: list[Finding]
    skipped: str
    version: str

    @property
    def code(self) -> int:
        """The exit code."""
        breaks = any(finding.kind == "breaking" for finding in self.findings)
        return 1 if breaks else 0

    def render(self, form: str, heading: str = "") -> str:
        """Return the report as text, markdown or json. JSON has no heading."""
        if form == "json":
            fields = {"code": self.code, "skipped": self.skipped, "verdict": self._verdict()}
            findings = [asdict(finding) for finding in self.findings]
            return json.dumps({**fields, "findings": findings}, indent=2)
        rows = self._render_table() if form == "markdown" else self._render_lines()
        notice = f"Not everything was compared. {self.skipped}" if self.skipped else ""
        parts = [notice, heading, "\n".join(rows), self._verdict()]
        return "\n\n".join(part for part in parts if part)

    def _render_lines(self) -> list[str]:
        return [
            f"{each.kind:8}  {each.view:6}  {each.place}: {each.sentence}" for each in self.findings
        ]

    def _render_table(self) -> list[str]:
        if not self.findings:
            return []
        table = ["| class | view | where | what |", "| --- | --- | --- | --- |"]
        for finding in self.findings:
            cells = [cell.replace("|", r"\|") for cell in astuple(finding)]
            table.append(f"| {' | '.join(cells)} |")
        return table

    def _verdict(self) -> str:
        if self.code:
            return f"This breaks callers: {_describe_release(self.version)}"
        if self.skipped:
            return "Nothing that was compared breaks callers."
        return "Nothing breaks."


def _describe_release(version: str) -> str:
    """Return what the changelog's promise asks of a release that breaks callers."""
    entry = "say in CHANGELOG.md how they move, and release"
    major, minor = (int(number) for number in re.findall(r"\d+", version)[:2])
    if major == 0:
        release = f"a minor version, 0.{minor + 1}.0 or later"
        return f"{entry} {release} (this is {version}; before 1.0.0, a minor version may break)."
    return f"{entry} a major version, {major + 1}.0.0 or later (this is {version})."


def read_version() -> str:
    """Return the version of the facade in the working tree."""
    path = ROOT / FACADE / "_version.py"
    match = re.search(r'^__version__ = "(\d+\.\d+[^"]*)"$', path.read_text(), re.MULTILINE)
    if not match:
        raise SpecError(f'{path}: expected a line such as: __version__ = "1.2.3"')
    return match[1]


def compare(old: Path, new: Path, checkout: Path | None = None) -> Report:
    """Compare two specs.

    With `checkout`, the folder of an older version of the project, compare its overlay and its
    facade with those of the working tree as well.
    """
    old_overlay = checkout / "openapi" / OVERLAY.name if checkout else OVERLAY
    findings: list[Finding] = []
    with TemporaryDirectory() as scratch:
        before = Path(scratch, "old")
        after = Path(scratch, "new")
        try:
            generate(old, old_overlay, before)
            generate(new, OVERLAY, after)
        except SpecError as error:
            generate(old, None, before)
            generate(new, None, after)
            sentence = f"does not fit, so the rest of this report goes without it: {error}"
            findings.append(Finding("breaking", "overlay", str(OVERLAY), sentence))
        findings += _python_changes(before, after, PACKAGE)
        if checkout:
            findings += _python_changes(checkout, ROOT, FACADE)
        wire, skipped = wire_changes(
            before / PACKAGE / "openapi.yaml", after / PACKAGE / "openapi.yaml"
        )
        findings += wire
    findings.sort(key=lambda finding: _KINDS.index(finding.kind))
    return Report(findings, skipped, read_version())


def compare_with(ref: str) -> Report:
    """Compare the working tree, the facade included, with a git ref."""
    with TemporaryDirectory() as scratch:
        archive = Path(scratch, "archive.zip")
        git = ["git", "archive", f"--output={archive}", ref, "openapi", FACADE]
        run = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=False)
        if run.returncode:
            advice = "A shallow clone lacks most refs; to get one: `git fetch --depth=1 origin REF`"
            raise SpecError(f"{ref}: {run.stderr.strip().rstrip('.')}. {advice}")
        shutil.unpack_archive(archive, scratch)
        return compare(Path(scratch, "openapi", SPEC.name), SPEC, Path(scratch))


def _python_changes(old: Path, new: Path, package: str) -> list[Finding]:
    return [
        Finding(change.kind, "python", change.place, change.sentence)
        for change in compare_packages(old, new, package)
    ]


def wire_changes(old: Path, new: Path) -> tuple[list[Finding], str]:
    """Compare two OpenAPI documents with redocly; return the findings, or why there are none."""
    if old.read_bytes() == new.read_bytes():
        return [], ""
    missing = _describe_missing_tools()
    if missing:
        return [], missing
    redocly = ["node", str(REDOCLY), "diff", str(old), str(new), "--format=json"]
    quiet = os.environ | {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}
    run = subprocess.run(redocly, env=quiet, capture_output=True, text=True, check=False)
    try:
        changes: list[_WireChange] = json.loads(run.stdout)["changes"]
    except ValueError:
        reason = " ".join(run.stderr.split())
        return [], f"The wire view was left out, because redocly failed: {reason}"
    return [_wire_finding(change) for change in changes], ""


def _describe_missing_tools() -> str:
    """Return what the wire view lacks and how to get it, or the empty string."""
    if shutil.which("node") and REDOCLY.exists():
        return ""
    if shutil.which("node") and shutil.which("npm"):
        return "The wire view was left out, because it needs redocly: run `make redocly`."
    return (
        "The wire view was left out, because it needs Node.js and redocly:"
        " install Node.js 20 or newer with npm, then run `make redocly`."
    )


def _wire_finding(change: _WireChange) -> Finding:
    """Return one of redocly's changes as a finding."""
    pointer = change["path"].split("/")[1:]
    parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer]
    subject = change.get("property") or parts[-1]
    messages = [verdict["message"].rstrip(".") for verdict in change["verdicts"]]
    sentence = "; ".join(messages) or f"`{subject}` was {change['kind']}"
    is_text = change["kind"] != "modified" or subject in _TEXT_KEYWORDS
    kind = {"major": "breaking", "minor": "additive", "patch": "additive"}[change["impact"]]
    if change["impact"] == "patch" and is_text:
        kind = "cosmetic"
    return Finding(kind, "wire", " > ".join(parts), sentence)


@partial(command, failure=2)
def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Tell what changes for callers.")
    parser.add_argument("old", help="a spec or, if it is alone, a git ref")
    parser.add_argument("new", type=Path, nargs="?", help="a spec; if none, the working tree")
    parser.add_argument("--format", choices=["text", "markdown", "json"], default="text")
    options = parser.parse_args(argv)
    report = compare(Path(options.old), options.new) if options.new else compare_with(options.old)
    print(report.render(options.format))
    return report.code


if __name__ == "__main__":
    sys.exit(main())
