"""Compares two specs, and reports what changes for callers, on the wire and in Python.

`make changes` runs it. `make update` includes this report in its own.

Exit code 0 means that nothing that was compared breaks callers, 1 that something does, 2 that the
specs could not be compared. If one view was left out, the first line of the report says so.
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

from attrs import asdict, frozen
from generate import FACADE, OVERLAY, PACKAGE, ROOT, SPEC, generate
from openapi_tools.command_line import command
from openapi_tools.json_values import SpecError
from openapi_tools.python_api import compare_packages

REDOCLY = Path(sys.prefix, "node_modules/@redocly/cli/bin/cli.js")

_KINDS = ("breaking", "additive", "cosmetic")
_KIND_OF_IMPACT = {"major": "breaking", "minor": "additive", "patch": "additive"}
_TEXT_KEYWORDS = {"description", "summary", "title", "externalDocs"}
"""The keywords whose values are only read by people."""


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
    """A change at one place, in a sentence that a caller understands."""

    kind: str  # breaking, additive or cosmetic
    view: str  # wire, python or overlay
    place: str
    sentence: str


@frozen
class Report:
    """The result of a comparison."""

    findings: list[Finding]
    skipped: str
    """Why the wire view was left out, or the empty string."""
    version: str
    """The version of the facade in the working tree."""

    @property
    def exit_code(self) -> int:
        """Return 1 if a finding breaks callers, else 0."""
        if any(finding.kind == "breaking" for finding in self.findings):
            return 1
        return 0

    def render(self, form: str, heading: str = "") -> str:
        """Return the report as text, markdown or json. JSON has no heading."""
        if form == "json":
            return self._render_json()
        rows = self._render_table() if form == "markdown" else self._render_lines()
        notice = ""
        if self.skipped:
            notice = f"Not everything was compared. {self.skipped}"
        parts = [notice, heading, "\n".join(rows), self._verdict()]
        return "\n\n".join(part for part in parts if part)

    def _render_json(self) -> str:
        report = {
            "code": self.exit_code,
            "skipped": self.skipped,
            "verdict": self._verdict(),
            "findings": [asdict(finding) for finding in self.findings],
        }
        return json.dumps(report, indent=2)

    def _render_lines(self) -> list[str]:
        lines: list[str] = []
        for finding in self.findings:
            columns = f"{finding.kind:8}  {finding.view:6}"
            lines.append(f"{columns}  {finding.place}: {finding.sentence}")
        return lines

    def _render_table(self) -> list[str]:
        if not self.findings:
            return []
        table = ["| class | view | where | what |", "| --- | --- | --- | --- |"]
        for finding in self.findings:
            cells = [finding.kind, finding.view, finding.place, finding.sentence]
            escaped = [cell.replace("|", r"\|") for cell in cells]
            table.append(f"| {' | '.join(escaped)} |")
        return table

    def _verdict(self) -> str:
        if self.exit_code:
            return f"This breaks callers: {_describe_release(self.version)}"
        if self.skipped:
            return "Nothing that was compared breaks callers."
        return "Nothing breaks."


def _describe_release(version: str) -> str:
    """Return what to do before a release that breaks callers, as CHANGELOG.md promises it."""
    entry = "tell callers in CHANGELOG.md how to adapt, and release"
    numbers = re.findall(r"\d+", version)
    major = int(numbers[0])
    minor = int(numbers[1])
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
    """Generate a client from each of two specs, and compare the specs and the clients.

    `checkout` is the folder of an older version of the project. With it, `old` is corrected by the
    overlay of that version, and the facade of that version is compared as well.

    If an overlay does not fit its spec, that is a finding, and both specs are compared without
    overlays. Raise SpecError if no client can be generated from one of the specs even so.
    """
    old_overlay = OVERLAY
    if checkout:
        old_overlay = checkout / "openapi" / OVERLAY.name
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
            sentence = f"does not fit, so everything else was compared without it: {error}"
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


def compare_with_ref(ref: str) -> Report:
    """Compare the working tree, the facade included, with a git ref.

    Raise SpecError if git does not have the ref, or if one of the specs gives no client.
    """
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
    """Compare two OpenAPI documents with redocly.

    Return the findings, and the empty string. If redocly is missing or fails, return no findings,
    and the reason.
    """
    if old.read_bytes() == new.read_bytes():
        return [], ""
    missing = _describe_missing_tools()
    if missing:
        return [], missing
    redocly = ["node", str(REDOCLY), "diff", str(old), str(new), "--format=json"]
    environment = os.environ | {
        "REDOCLY_TELEMETRY": "off",
        "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true",
    }
    run = subprocess.run(redocly, env=environment, capture_output=True, text=True, check=False)
    try:
        changes: list[_WireChange] = json.loads(run.stdout)["changes"]
    except ValueError:
        reason = " ".join(run.stderr.split())
        return [], f"The wire view was left out, because redocly failed: {reason}"
    return [_wire_finding(change) for change in changes], ""


def _describe_missing_tools() -> str:
    """Return which tools the wire view lacks and how to get them, or the empty string."""
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
    return Finding(_classify(change, subject), "wire", " > ".join(parts), sentence)


def _classify(change: _WireChange, subject: str) -> str:
    """Return breaking, additive or cosmetic; `subject` is the keyword or member that changed."""
    if change["impact"] == "patch":
        is_text = subject in _TEXT_KEYWORDS
        # Added or removed without an effect: a schema that no operation uses, for example.
        is_unused = change["kind"] != "modified"
        if is_text or is_unused:
            return "cosmetic"
    return _KIND_OF_IMPACT[change["impact"]]


# The exit code of a failure is 2, because 1 means that something breaks callers.
@partial(command, failure=2)
def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Report what changes for callers.")
    parser.add_argument("old", metavar="OLD", help="a spec, or a git ref if NEW is left out")
    parser.add_argument(
        "new",
        metavar="NEW",
        type=Path,
        nargs="?",
        help="a spec; without it, the working tree is compared with OLD",
    )
    parser.add_argument("--format", choices=["text", "markdown", "json"], default="text")
    options = parser.parse_args(argv)
    if options.new:
        report = compare(Path(options.old), options.new)
    else:
        report = compare_with_ref(options.old)
    print(report.render(options.format))
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
