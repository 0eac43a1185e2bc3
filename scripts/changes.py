"""Compares two specs, and reports what changes for callers, on the wire and in Python.

`make changes` runs it. `make update` includes this report in its own.

There are two views of a change. The wire view compares the specs: redocly finds what changes in
requests and answers. The Python view compares the public names of the generated clients and, if OLD
is a git ref, those that the facade promises. Besides, the report says if the overlay no longer fits
a spec.

The exit code is 1 if a change breaks callers, 0 if none does, and 2 if the specs could not be
compared. Without redocly, the wire view is left out: the report says so in its first line, and the
exit code covers the rest alone.
"""

import argparse
import json
import os
import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import asdict, frozen
from generate import FACADE, OVERLAY, PACKAGE, ROOT, SPEC, generate
from openapi_tools.command_line import command
from openapi_tools.json_values import (
    JSONObject,
    SpecError,
    copy_objects,
    expect_object,
    expect_text,
)
from openapi_tools.processes import run_captured
from openapi_tools.python_api import Change, compare_modules, compare_packages
from openapi_tools.references import pointer_parts

REDOCLY = Path(sys.prefix, "node_modules/@redocly/cli/bin/cli.js")

_PROMISED_MODULES = (FACADE, f"{FACADE}.testing", f"{FACADE}.dask")
"""The modules of the facade whose public names CHANGELOG.md promises.

It also promises the fixtures of the pytest plugin and the command line, which are not compared.
"""

_KINDS = ("breaking", "additive", "cosmetic")
"""The kinds of findings, in the order in which a report lists them.

A breaking change makes callers adapt. An additive change lets them do or receive something new. If
the value of a keyword changes and no rule of redocly covers that, the change also counts as
additive, unless only people read the keyword (`_TEXT_KEYWORDS`). A cosmetic change has no effect on
callers.
"""

_IMPACTS = ("major", "minor", "patch")
"""redocly's ratings of a change: the part of the version number that must rise."""

_WHOLE_DOCUMENT = "the document"
"""The place of a change that concerns the document as a whole."""

_TEXT_KEYWORDS = {"description", "summary", "title", "externalDocs"}
"""The keywords whose values are only read by people."""


@frozen
class _WireChange:
    """A change as redocly reports it."""

    keys: list[str]
    """The keys that lead to what changed, from the outermost inwards; none for the document."""
    subject: str
    """The keyword or member that changed."""
    action: str  # added, removed or modified
    impact: str  # one of _IMPACTS
    messages: list[str]
    """What redocly's rules say of the change. It is empty if no rule covers the change."""


@frozen
class Finding:
    """A change at one place, in a sentence that a caller understands."""

    kind: str  # one of _KINDS
    view: str
    """wire or python; or overlay, if the finding is that an overlay does not fit its spec."""
    place: str
    sentence: str


@frozen
class Report:
    """The result of a comparison."""

    findings: list[Finding]
    skipped_reason: str
    """Why the wire view was left out, or the empty string."""
    version: str
    """The version of the facade in the working tree."""

    @property
    def is_breaking(self) -> bool:
        """Return True if a finding breaks callers."""
        return any(finding.kind == "breaking" for finding in self.findings)

    @property
    def exit_code(self) -> int:
        """Return 1 if a finding breaks callers, else 0."""
        if self.is_breaking:
            return 1
        return 0

    def render(self, form: str, heading: str = "") -> str:
        """Return the report as text, markdown or json. JSON has no heading."""
        if form == "json":
            return self._render_json()
        rows = self._render_lines()
        if form == "markdown":
            rows = self._render_table()
        notice = ""
        if self.skipped_reason:
            notice = f"Not everything was compared. {self.skipped_reason}"
        parts = [notice, heading, "\n".join(rows), self._describe_verdict()]
        return "\n\n".join(part for part in parts if part)

    def _render_json(self) -> str:
        report = {
            "code": self.exit_code,
            "skipped": self.skipped_reason,
            "verdict": self._describe_verdict(),
            "findings": [asdict(finding) for finding in self.findings],
        }
        return json.dumps(report, indent=2)

    def _render_lines(self) -> list[str]:
        lines: list[str] = []
        for finding in self.findings:
            columns = f"{finding.kind:8}  {finding.view:7}"
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

    def _describe_verdict(self) -> str:
        if self.is_breaking:
            return f"This breaks callers: {_advise_release(self.version)}"
        if self.skipped_reason:
            return "Nothing that was compared breaks callers."
        return "Nothing breaks."


def _advise_release(version: str) -> str:
    """Return what to do about a change that breaks callers.

    The next version follows from what CHANGELOG.md promises about version numbers.
    """
    advice = "tell callers in CHANGELOG.md how to adapt, and release"
    numbers = re.findall(r"\d+", version)
    major = int(numbers[0])
    minor = int(numbers[1])
    if major == 0:
        release = f"a minor version, 0.{minor + 1}.0 or later"
        return f"{advice} {release} (this is {version}; before 1.0.0, a minor version may break)."
    release = f"a major version, {major + 1}.0.0 or later"
    return f"{advice} {release} (this is {version})."


def read_version() -> str:
    """Return the version of the facade in the working tree."""
    path = ROOT / FACADE / "_version.py"
    text = path.read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "(\d+\.\d+[^"]*)"$', text, re.MULTILINE)
    if not match:
        raise SpecError(f'{path}: expected a line such as: __version__ = "1.2.3"')
    return match[1]


def compare(old: Path, new: Path, old_project: Path | None = None) -> Report:
    """Generate a client from each of two specs, and compare the specs and the clients.

    `old_project` is the folder of an older version of the project. With it, `old` is corrected by
    the overlay of that version, and the facade of that version is compared as well.

    If an overlay does not fit its spec, that is a finding, and both specs are compared without
    overlays. Raise SpecError if no client can be generated from one of the specs even so.
    """
    with TemporaryDirectory() as scratch:
        before = Path(scratch, "old")
        after = Path(scratch, "new")
        old_problem = _generate_corrected(old, before, "the old spec", old_project)
        new_problem = _generate_corrected(new, after, "the new spec")
        findings = [problem for problem in (old_problem, new_problem) if problem is not None]
        if findings:
            generate(old, None, before)
            generate(new, None, after)
        findings += _python_findings(compare_packages(before, after, PACKAGE))
        if old_project:
            findings += _python_findings(compare_modules(old_project, ROOT, _PROMISED_MODULES))
        # The client's own copies of the specs are compared, because the overlay has corrected them.
        # In these copies, the description of an operation includes those of its parameters, so a
        # changed description of a parameter is found twice. Both findings are cosmetic.
        wire_findings, skipped_reason = compare_wire(
            before / PACKAGE / "openapi.yaml", after / PACKAGE / "openapi.yaml"
        )
        findings += wire_findings
    findings.sort(key=lambda finding: _KINDS.index(finding.kind))
    return Report(findings, skipped_reason, read_version())


def _generate_corrected(
    spec: Path, output: Path, spec_name: str, old_project: Path | None = None
) -> Finding | None:
    """Generate a client from a spec that is corrected by an overlay.

    The overlay is taken from `old_project`, the folder of an older version of the project, if it is
    given; otherwise from the working tree. If no client can be generated in this way, return the
    finding that the overlay does not fit; otherwise return None.
    """
    overlay = OVERLAY
    place = str(OVERLAY)
    if old_project:
        overlay = old_project / "openapi" / OVERLAY.name
        place = f"{OVERLAY.name} of the older version"
    try:
        generate(spec, overlay, output)
    except SpecError as error:
        reason = str(error).removeprefix(f"{overlay}: ")
        sentence = (
            f"does not fit {spec_name}, so everything else was compared without overlays: {reason}"
        )
        return Finding("breaking", "overlay", place, sentence)
    return None


def compare_with_ref(ref: str) -> Report:
    """Compare the working tree, the facade included, with a git ref.

    Raise SpecError if git does not have the ref, or if one of the specs gives no client.
    """
    tree = _find_tree(ref)
    with TemporaryDirectory() as scratch:
        archive = Path(scratch, "archive.zip")
        git = ["git", "archive", f"--output={archive}", tree, "openapi", FACADE]
        run = run_captured(git, folder=ROOT)
        if run.returncode:
            raise SpecError(f"{ref}: {run.stderr.strip()}")
        shutil.unpack_archive(archive, scratch)
        return compare(Path(scratch, "openapi", SPEC.name), SPEC, Path(scratch))


def _find_tree(ref: str) -> str:
    """Return the hash of the folder tree that a git ref names; raise SpecError if there is none."""
    tree = ref + "^{tree}"
    git = ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", tree]
    run = run_captured(git, folder=ROOT)
    if not run.returncode:
        return run.stdout.strip()
    if run.stderr:
        raise SpecError(f"{ref}: {run.stderr.strip()}")
    # With --quiet, git writes nothing if it does not have the ref.
    if Path(ref).is_file():
        raise SpecError(f"{ref}: this is a file, not a git ref. To compare two specs, name both")
    raise SpecError(
        f"{ref}: git does not have this ref. A shallow clone lacks most refs: run"
        " `git fetch --depth=1 origin REF`, then compare with `FETCH_HEAD`"
    )


def _python_findings(changes: Iterable[Change]) -> list[Finding]:
    """Return changes of Python names as findings."""
    return [Finding(change.effect, "python", change.place, change.sentence) for change in changes]


def compare_wire(old: Path, new: Path) -> tuple[list[Finding], str]:
    """Compare two OpenAPI documents with redocly.

    Return the findings, and the reason why the documents could not be compared: redocly is missing,
    or it failed. The reason is empty if they were compared. Otherwise, there are no findings.
    """
    if old.read_bytes() == new.read_bytes():
        return [], ""
    missing = _describe_missing_tools()
    if missing:
        return [], missing
    redocly = ["node", str(REDOCLY), "diff", str(old.resolve()), str(new.resolve())]
    redocly.append("--format=json")
    # By default, redocly ends with the same exit code for a breaking change as for a failure. With
    # this option, only a failure has an exit code other than 0.
    redocly.append("--fail-on=none")
    environment = os.environ | {
        "REDOCLY_TELEMETRY": "off",
        "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true",
    }
    # redocly obeys a redocly.yaml in the folder that it runs in, so that folder must be empty.
    with TemporaryDirectory() as folder:
        run = run_captured(redocly, environment, Path(folder))
    failure = "The wire view was left out, because redocly failed"
    if run.returncode:
        return [], f"{failure}: {' '.join(run.stderr.split())}"
    try:
        changes = _read_wire_changes(run.stdout)
    except (ValueError, SpecError) as error:
        return [], f"{failure}: its output is not as expected: {error}"
    return [_wire_finding(change) for change in changes], ""


def _read_wire_changes(output: str) -> list[_WireChange]:
    """Return the changes in redocly's output.

    Raise ValueError if the output is not JSON, or SpecError if its shape is not as expected.
    """
    report = expect_object(json.loads(output), "report")
    changes: list[_WireChange] = []
    for index, entry in enumerate(copy_objects(report.get("changes"), "changes")):
        changes.append(_read_wire_change(entry, f"changes[{index}]"))
    return changes


def _read_wire_change(entry: JSONObject, place: str) -> _WireChange:
    """Return one of redocly's changes; raise SpecError if its shape is not as expected."""
    keys = pointer_parts(expect_text(entry.get("path"), f"{place}.path"))
    if entry.get("property"):
        subject = expect_text(entry["property"], f"{place}.property")
    elif keys:
        subject = keys[-1]
    else:
        subject = _WHOLE_DOCUMENT
    impact = expect_text(entry.get("impact"), f"{place}.impact")
    if impact not in _IMPACTS:
        raise SpecError(f"{place}.impact: expected {', '.join(_IMPACTS)}, not '{impact:.60}'")
    verdicts = copy_objects(entry.get("verdicts"), f"{place}.verdicts")
    messages = [expect_text(each.get("message"), f"{place}.verdicts.message") for each in verdicts]
    return _WireChange(
        keys=keys,
        subject=subject,
        action=expect_text(entry.get("kind"), f"{place}.kind"),
        impact=impact,
        messages=messages,
    )


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
    sentence = "; ".join(message.rstrip(".") for message in change.messages)
    if not sentence:
        sentence = f"`{change.subject}` was {change.action}"
    place = " > ".join(change.keys) or _WHOLE_DOCUMENT
    return Finding(_classify(change), "wire", place, sentence)


def _classify(change: _WireChange) -> str:
    """Return the kind of a change: breaking, additive or cosmetic (see _KINDS)."""
    if change.impact == "major":
        return "breaking"
    if change.impact == "minor":
        return "additive"
    # redocly calls everything else a patch: a change without an effect, and also one for which it
    # has no rule.
    if change.subject in _TEXT_KEYWORDS:
        return "cosmetic"
    if change.action != "modified":
        # Added or removed without an effect: a schema that no operation uses, for example.
        return "cosmetic"
    # A keyword has another value, and no rule says what that means for callers. It is not called
    # cosmetic, because it may be more than a change of words.
    return "additive"


# The exit code of a failure is 2, because 1 means that something breaks callers.
@command(failure_code=2)
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
