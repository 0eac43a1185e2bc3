"""Tells what changes for callers from one spec to another, on the wire and in the Python API.

Exit code 0: nothing breaks, 1: something does, 2: that could not be told.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import asdict, astuple, frozen
from generate import OVERLAY, PACKAGE, ROOT, SPEC, generate
from openapi_tools.command_line import command
from openapi_tools.documents import SpecError
from openapi_tools.python_api import compare_packages

REDOCLY = Path(sys.prefix, "node_modules/@redocly/cli/bin/cli.js")
_TEXTS = {"description", "summary", "title", "externalDocs"}
_VERDICTS = (
    "Nothing breaks.",
    "This breaks callers: say in CHANGELOG.md what they do, and release a major version.",
    "Nothing that was looked at breaks, but not all was looked at.",
)


@frozen
class Finding:
    """What changes at one place, in a sentence that a caller understands."""

    kind: str  # breaking, additive or cosmetic
    view: str
    place: str
    sentence: str


@frozen
class Report:
    """What was found, and why a view was skipped, if one was."""

    findings: list[Finding]
    skipped: str

    @property
    def code(self) -> int:
        """The exit code."""
        breaks = any(finding.kind == "breaking" for finding in self.findings)
        return 1 if breaks else 2 if self.skipped else 0

    def render(self, form: str) -> str:
        """Write the report as text, markdown or json."""
        if form == "json":
            return json.dumps({"code": self.code, **asdict(self)}, indent=2)
        rows: list[tuple[str, ...]] = [astuple(finding) for finding in self.findings]
        if form == "markdown":
            head = [("class", "view", "where", "what"), ("---",) * 4] if rows else []
            cells = ([cell.replace("|", r"\|") for cell in row] for row in [*head, *rows])
            lines = [f"| {' | '.join(row)} |" for row in cells] + [""]
        else:
            lines = [f"{kind:8}  {view:6}  {where}: {what}" for kind, view, where, what in rows]
        return "\n".join([*lines, self.skipped, _VERDICTS[self.code]]).strip()


def compare(old: Path, new: Path, checkout: Path | None = None) -> Report:
    """Compare two specs and, given the old one's checkout, its overlay and facade with today's."""
    old_overlay = checkout / "openapi" / OVERLAY.name if checkout else OVERLAY
    findings: list[Finding] = []
    with TemporaryDirectory() as scratch:
        before, after = Path(scratch, "old"), Path(scratch, "new")
        try:
            generate(old, old_overlay, before)
            generate(new, OVERLAY, after)
        except SpecError as error:
            generate(old, None, before)
            generate(new, None, after)
            sentence = f"does not fit, and what else is told here goes without it: {error}"
            findings.append(Finding("breaking", "overlay", str(OVERLAY), sentence))
        python = [*compare_packages(before, after, PACKAGE)]
        if checkout:
            python += compare_packages(checkout, ROOT, "mesh_facade")
        findings += [Finding(kind, "python", place, sentence) for kind, place, sentence in python]
        wire, skipped = wire_changes(*(tree / PACKAGE / "openapi.yaml" for tree in (before, after)))
    order = ("breaking", "additive", "cosmetic")
    return Report(sorted(findings + wire, key=lambda finding: order.index(finding.kind)), skipped)


def compare_with(ref: str) -> Report:
    """Compare the working tree, the facade included, with a git ref."""
    with TemporaryDirectory() as scratch:
        archive = Path(scratch, "archive.zip")
        git = ["git", "archive", f"--output={archive}", ref, "openapi", "mesh_facade"]
        run = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=False)
        if run.returncode:
            raise SpecError(f"{ref}: {run.stderr}")
        shutil.unpack_archive(archive, scratch)
        return compare(Path(scratch, "openapi", SPEC.name), SPEC, Path(scratch))


def wire_changes(old: Path, new: Path) -> tuple[list[Finding], str]:
    """Compare two OpenAPI documents with redocly; where that cannot be done, tell why."""
    if old.read_bytes() == new.read_bytes():
        return [], ""
    node = shutil.which("node")
    if not node or not REDOCLY.exists():
        return [], "The wire view was skipped: it needs Node and redocly (`make redocly`)."
    redocly = [node, str(REDOCLY), "diff", str(old), str(new), "--format=json"]
    quiet = os.environ | {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}
    run = subprocess.run(redocly, env=quiet, capture_output=True, text=True, check=False)
    try:
        return [_wire_finding(change) for change in json.loads(run.stdout)["changes"]], ""
    except ValueError:
        return [], f"The wire view was skipped: redocly failed: {' '.join(run.stderr.split())}"


def _wire_finding(change: dict[str, Any]) -> Finding:
    parts = [part.replace("~1", "/").replace("~0", "~") for part in change["path"].split("/")[1:]]
    subject = change.get("property") or parts[-1]
    told = "; ".join(verdict["message"].rstrip(".") for verdict in change["verdicts"])
    patch = "cosmetic" if change["kind"] != "modified" or subject in _TEXTS else "additive"
    kind = {"major": "breaking", "minor": "additive", "patch": patch}[change["impact"]]
    return Finding(kind, "wire", " > ".join(parts), told or f"`{subject}` was {change['kind']}")


@partial(command, failure=2)
def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Tell what changes for callers.")
    parser.add_argument("old", help="a spec or, if it is alone, a git ref")
    parser.add_argument("new", type=Path, nargs="?", help="a spec; if none, the working tree")
    parser.add_argument("--format", choices=["text", "markdown", "json"], default="text")
    args = parser.parse_args(argv)
    report = compare(Path(args.old), args.new) if args.new else compare_with(args.old)
    print(report.render(args.format))
    return report.code


if __name__ == "__main__":
    sys.exit(main())
