"""Which changes of a spec break callers: forty mutations of the project's spec, and the command.

The file redocly.json records the findings of redocly for each mutation, so these tests need no
Node. Where redocly is installed (`make redocly`), a test compares the record with it. Set the
environment variable RECORD to write the record anew.
"""

import copy
import io
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import changes
import generate
import openapi_python_client
import pytest
import yaml
from changes import Finding
from jinja2 import Environment, FileSystemBytecodeCache
from openapi_python_client.config import Config, ConfigFile, MetaType
from openapi_tools.documents import read_document
from openapi_tools.json_values import SpecError
from openapi_tools.overlay import apply_overlay
from openapi_tools.python_api import compare_packages

from mesh_facade import __version__
from tests.scripts.importing import MESH

RECORD = Path(__file__).with_name("redocly.json")
# The spec of the balance alone, whatever else is pinned: the record of redocly holds for it.
SPEC = yaml.safe_load(MESH)
PATH = "/api/v1/balance/get"

Mutation = Callable[[Any], object]


# --- the mutations ------------------------------------------------------------------------------


def operation(spec: Any) -> Any:
    return spec["paths"][PATH]["post"]


def schema(spec: Any, name: str) -> Any:
    return spec["components"]["schemas"][name]


def request(spec: Any) -> Any:
    return schema(spec, "BalanceBrokerBaseRequest")


def envelope(spec: Any) -> Any:
    return schema(spec, "B2BBrokerAccountBalanceModelApiResult")


def row(spec: Any) -> Any:
    return schema(spec, "B2BBrokerAccountBalance")


def answers(spec: Any) -> Any:
    return operation(spec)["responses"]


def body(spec: Any) -> Any:
    return operation(spec)["requestBody"]["content"]


def schemes(spec: Any) -> Any:
    return spec["components"]["securitySchemes"]


def brokers(spec: Any) -> list[list[str]]:
    return [schema(spec, "BrokerType")["enum"], request(spec)["properties"]["type"]["enum"]]


def statuses(spec: Any) -> list[list[str]]:
    envelopes = (envelope(spec), schema(spec, "ApiResult"))
    inline = [holder["properties"]["status"]["enum"] for holder in envelopes]
    return [schema(spec, "ApiResultStatus")["enum"], *inline]


def each(values: list[list[str]], change: Callable[[list[str]], object]) -> None:
    for enum in values:
        change(enum)


def rename(holder: Any, old: str, new: str) -> None:
    holder[new] = holder.pop(old)


def rename_schema(spec: Any) -> None:
    renamed = json.dumps(spec).replace('B2BBrokerAccountBalance"', 'FiatBalance"')
    spec.update(json.loads(renamed))


def add_key(spec: Any) -> None:
    schemes(spec)["Team"] = {"type": "apiKey", "in": "header", "name": "X-Team-Id"}
    spec["security"][0]["Team"] = []


def use_pascal_case(spec: Any) -> None:
    for enum in statuses(spec):
        enum[:] = [status[0].upper() + status[1:] for status in enum]


def reword(spec: Any) -> None:
    operation(spec).update(description="Other words", summary="Get fiat holdings")
    row(spec)["properties"]["cash"]["description"] = "Other words"
    answers(spec)["403"]["description"] = "Other words"


MUTATIONS: dict[str, tuple[str, Mutation]] = {
    "a broker is added": ("additive", lambda s: each(brokers(s), lambda e: e.append("new"))),
    "a broker is removed": ("breaking", lambda s: each(brokers(s), list.pop)),
    "a status is added": ("additive", lambda s: each(statuses(s), lambda e: e.append("new"))),
    "a status is removed": ("breaking", lambda s: each(statuses(s), list.pop)),
    "the statuses are spelt otherwise": ("breaking", use_pascal_case),
    "an answer has a new property": (
        "additive",
        lambda s: envelope(s)["properties"].update(teamCode={"type": "string", "nullable": True}),
    ),
    "an answer loses a property": ("breaking", lambda s: row(s)["properties"].pop("buyingPower")),
    "a property of an answer gets another type": (
        "breaking",
        lambda s: row(s)["properties"]["cash"].update(type="string"),
    ),
    "a property of an answer gets another format": (
        "breaking",
        lambda s: row(s)["properties"]["cash"].update(format="float"),
    ),
    "a property of an answer is always there": (
        "additive",
        lambda s: row(s).update(required=["cash"]),
    ),
    "a property of an answer is never null": (
        "additive",
        lambda s: row(s)["properties"]["cash"].pop("nullable"),
    ),
    "a request has a new property": (
        "additive",
        lambda s: request(s)["properties"].update(mfaCode={"type": "string"}),
    ),
    "a request has a new property that is needed": (
        "breaking",
        lambda s: (
            request(s)["properties"].update(mfaCode={"type": "string"}),
            request(s)["required"].append("mfaCode"),
        ),
    ),
    "a request's property is renamed": (
        "breaking",
        lambda s: (
            rename(request(s)["properties"], "authToken", "token"),
            request(s).update(required=["token", "type"]),
        ),
    ),
    "a request's property gets another type": (
        "breaking",
        lambda s: request(s)["properties"].update(authToken={"type": "integer"}),
    ),
    "a request's property is not needed": (
        "additive",
        lambda s: request(s)["required"].remove("type"),
    ),
    "a request's property may be null": (
        "additive",
        lambda s: request(s)["properties"]["authToken"].update(nullable=True),
    ),
    "a path is renamed": ("breaking", lambda s: rename(s["paths"], PATH, "/api/v2/balance/get")),
    "a method is changed": ("breaking", lambda s: rename(s["paths"][PATH], "post", "put")),
    "a path is added": (
        "additive",
        lambda s: s["paths"].update(
            {"/other": {"get": {"operationId": "o", "responses": {"200": {"description": "OK"}}}}}
        ),
    ),
    "an answer's status is added": (
        "additive",
        lambda s: answers(s).update({"429": {"description": "Too many requests"}}),
    ),
    "an answer's status is removed": ("breaking", lambda s: answers(s).pop("400")),
    "a media type is changed": (
        "breaking",
        lambda s: rename(body(s), "application/json", "text/json"),
    ),
    "a media type is added": (
        "additive",
        lambda s: body(s).update({"text/json": body(s)["application/json"]}),
    ),
    "a key is needed besides": ("breaking", add_key),
    "a key's header is renamed": (
        "breaking",
        lambda s: schemes(s)["Client-Id"].update(name="X-Id"),
    ),
    "the tag is changed": ("breaking", lambda s: operation(s).update(tags=["Fiat"])),
    "the operationId is changed": (
        "breaking",
        lambda s: operation(s).update(operationId="getFiatBalance"),
    ),
    "a schema is renamed": ("breaking", rename_schema),
    "a host is changed": ("breaking", lambda s: s["servers"][0].update(url="https://api.example")),
    "a host is added": ("additive", lambda s: s["servers"].append({"url": "https://eu.example"})),
    "words are changed": ("cosmetic", reword),
    "an example is changed": (
        "none",
        lambda s: body(s)["application/json"].update(example={"authToken": "a", "type": "b"}),
    ),
}  # fmt: skip

# The other way round, from what is mutated to what is published.
REVERSED = {
    "a property of an answer is always there": "breaking",
    "a property of an answer is never null": "breaking",
    "a request's property is not needed": "breaking",
    "a request's property may be null": "breaking",
    "a path is added": "breaking",
    "a media type is added": "breaking",
    "an answer's status is removed": "additive",
}
CASES = {name: expected for name, (expected, _) in MUTATIONS.items()}
CASES |= {f"not {name}": expected for name, expected in REVERSED.items()}


def pair(name: str, spec: Any = SPEC) -> list[Any]:
    """Return a spec and what it becomes."""
    mutated = copy.deepcopy(spec)
    MUTATIONS[name.removeprefix("not ")][1](mutated)
    order = [spec, mutated]
    return order[::-1] if name.startswith("not ") else order


def effective(specs: list[Any]) -> list[Any]:
    """Correct both by the overlay, or neither, as the command does."""
    corrected = copy.deepcopy(specs)
    try:
        for spec in corrected:
            apply_overlay(generate.OVERLAY, spec)
    except SpecError:
        return copy.deepcopy(specs)
    return corrected


def grow(document: Any, folder: Path) -> Path:
    """Generate from a document as `generate` does, but in this process and without formatting."""
    package = folder / generate.PACKAGE
    package.mkdir(parents=True)
    generate._merge_descriptions(document)
    generate._write_our_files(document, package)
    source = folder / "openapi.json"  # is read faster than YAML
    source.write_text(json.dumps(document))
    settings = ConfigFile(post_hooks=[], content_type_overrides={"text/json": "application/json"})
    config = Config.from_sources(
        settings, MetaType.NONE, source, "utf-8", overwrite=True, output_path=package
    )
    with redirect_stdout(io.StringIO()):
        assert not openapi_python_client.generate(config=config)
    return folder


def worst(findings: list[Finding]) -> str:
    kinds = {finding.kind for finding in findings}
    return next((kind for kind in ("breaking", "additive", "cosmetic") if kind in kinds), "none")


@pytest.fixture(autouse=True, scope="module")
def compiled_templates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let the generator compile its templates once."""
    cache = FileSystemBytecodeCache(str(tmp_path_factory.mktemp("templates")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            openapi_python_client, "Environment", partial(Environment, bytecode_cache=cache)
        )
        yield


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """Generate what is published, with the overlay and without."""
    folder = tmp_path_factory.mktemp("published")
    corrected = effective([SPEC])[0]
    return {
        True: grow(corrected, folder / "corrected"),
        False: grow(copy.deepcopy(SPEC), folder / "uncorrected"),
    }


@pytest.mark.parametrize("name", CASES)
def test_each_mutation_has_the_class_that_callers_expect(
    name: str, published: dict[bool, Path], tmp_path: Path
) -> None:
    before, after = pair(name), effective(pair(name))
    trees = [
        published[after != before] if spec is SPEC else grow(document, tmp_path)
        for spec, document in zip(before, after, strict=True)
    ]

    findings = [Finding(*finding) for finding in json.loads(RECORD.read_text())[name]]
    for effect, place, says in compare_packages(*trees, generate.PACKAGE):
        findings.append(Finding(effect, "python", place, says))

    assert worst(findings) == CASES[name]


@pytest.mark.skipif(not changes.REDOCLY.exists(), reason="redocly is not installed")
def test_record_of_redocly_is_current(tmp_path: Path) -> None:
    said: dict[str, Any] = {}
    for name in CASES:
        documents = []
        for position, document in enumerate(effective(pair(name))):
            folder = tmp_path / f"{position}"
            folder.mkdir(exist_ok=True)
            generate._merge_descriptions(document)
            generate._write_our_files(document, folder)
            documents.append(folder / "openapi.yaml")
        found, skipped = changes.compare_wire(*documents)
        assert not skipped
        said[name] = [attrs.astuple(finding) for finding in found]
    if os.environ.get("RECORD"):
        RECORD.write_text(json.dumps(said, indent=1) + "\n")

    assert json.loads(json.dumps(said)) == json.loads(RECORD.read_text())


# --- the command --------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def no_redocly(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide redocly from all tests but the one that compares the record with it."""
    if "record" not in request.node.name:
        monkeypatch.setattr(changes, "REDOCLY", Path("/nowhere"))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Generate in this process, which is faster."""

    def generate_quickly(spec: Path, overlay: Path | None, output: Path) -> None:
        document = read_document(spec)
        if overlay:
            apply_overlay(overlay, document)
        shutil.rmtree(output, ignore_errors=True)
        grow(document, output)

    monkeypatch.setattr(changes, "generate", generate_quickly)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put programs of these names on the PATH, and no others."""

    def only(*names: str) -> None:
        folder = tmp_path / "tools"
        folder.mkdir()
        for name in names:
            program = folder / name
            program.write_text("")
            program.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))

    return only


@pytest.fixture
def redocly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put a Node on the PATH that gives one answer to every command of redocly."""

    def answering(text: str, exit_code: int = 0) -> None:
        node = tmp_path / "bin" / "node"
        node.parent.mkdir()
        answer = f"cat <<'END'\n{text}\nEND\n"
        node.write_text(f"#!/bin/sh\necho it failed >&2\n{answer}exit {exit_code}\n")
        node.chmod(0o755)
        monkeypatch.setenv("PATH", f"{node.parent}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setattr(changes, "REDOCLY", node)

    return answering


def spec_file(folder: Path, name: str) -> Path:
    """Write what the project's spec becomes by a mutation."""
    path = folder / "mutated.yaml"
    path.write_text(yaml.safe_dump(pair(name, read_document(generate.SPEC))[1]))
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    code = changes.main([str(argument) for argument in arguments])
    return code, capsys.readouterr().out


@pytest.mark.usefixtures("quick")
def test_identical_specs_need_no_redocly(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, generate.SPEC, generate.SPEC) == (0, "Nothing breaks.\n")


@pytest.mark.usefixtures("quick")
def test_first_line_says_what_was_not_compared_and_the_exit_code_is_that_of_the_rest(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, tools: Callable[..., None]
) -> None:
    tools("node", "npm")

    code, text = run(capsys, generate.SPEC, spec_file(tmp_path, "a broker is added"))

    broker = "mesh_connect_client.models.broker_type.BrokerType.NEW"
    assert code == 0
    notice = (
        "Not everything was compared. The wire view was left out, because it needs redocly:"
        " run `make redocly`."
    )
    assert text.splitlines() == [
        notice,
        "",
        f"additive  python   {broker}: is new",
        "",
        "Nothing that was compared breaks callers.",
    ]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("present", [[], ["node"], ["npm"]])
def test_without_node_or_npm_the_first_line_says_what_to_install(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    tools: Callable[..., None],
    present: list[str],
) -> None:
    tools(*present)

    _, text = run(capsys, generate.SPEC, spec_file(tmp_path, "a broker is added"))

    first_line = text.splitlines()[0]
    assert first_line.startswith("Not everything was compared. The wire view was left out")
    assert first_line.endswith(": install Node.js 20 or newer with npm, then run `make redocly`.")


@pytest.mark.usefixtures("quick")
def test_breaking_change_is_found_without_redocly(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, text = run(capsys, generate.SPEC, spec_file(tmp_path, "the tag is changed"))

    assert code == 1
    assert text.splitlines()[2] == (
        "breaking  python   mesh_connect_client.api.balance: is no longer there"
    )


@pytest.mark.parametrize(
    ("version", "release"),
    [
        ("0.1.0", "a minor version, 0.2.0 or later (this is 0.1.0; before 1.0.0, a minor"),
        ("0.12.3.dev1", "a minor version, 0.13.0 or later"),
        ("1.0.0", "a major version, 2.0.0 or later (this is 1.0.0)."),
        ("3.4.5", "a major version, 4.0.0 or later"),
    ],
)
def test_breaking_change_asks_for_the_release_that_the_changelog_promises(
    version: str, release: str
) -> None:
    report = changes.Report([Finding("breaking", "wire", "paths", "It is gone")], "", version)

    verdict = report.render("text").splitlines()[-1]

    assert verdict.startswith(
        "This breaks callers: tell callers in CHANGELOG.md how to adapt, and release"
    )
    assert release in verdict


def test_version_is_that_of_the_facade() -> None:
    assert changes.read_version() == __version__


def test_version_file_without_version_is_refused(checkout: Path) -> None:
    path = checkout / "mesh_facade/_version.py"
    path.write_text("")

    with pytest.raises(SpecError, match=r"_version\.py: expected a line such as: __version__ ="):
        changes.read_version()


CHANGES = {
    "changes": [
        {
            "path": "#/paths/~1a~0b/get",
            "kind": action,
            "impact": impact,
            "property": name,
            "verdicts": [{"message": message} for message in messages],
        }
        for impact, action, name, messages in (
            ("patch", "modified", "summary", []),
            ("patch", "modified", "nullable", []),
            ("patch", "removed", "x-note", []),
            ("minor", "modified", "servers", []),
            ("major", "modified", "x|y", ["It is gone.", "For good."]),
        )
    ]
}


@pytest.mark.usefixtures("quick")
def test_markdown_report_is_a_table(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, redocly: Callable[[str], None]
) -> None:
    redocly(json.dumps(CHANGES))
    spec = spec_file(tmp_path, "words are changed")

    code, text = run(capsys, generate.SPEC, spec, "--format=markdown")

    assert code == 1
    assert text.splitlines() == [
        "| class | view | where | what |",
        "| --- | --- | --- | --- |",
        "| breaking | wire | paths > /a~b > get | It is gone; For good |",
        "| additive | wire | paths > /a~b > get | `nullable` was modified |",
        "| additive | wire | paths > /a~b > get | `servers` was modified |",
        "| cosmetic | wire | paths > /a~b > get | `summary` was modified |",
        "| cosmetic | wire | paths > /a~b > get | `x-note` was removed |",
        "",
        f"This breaks callers: {changes._advise_release(__version__)}",
    ]


@pytest.mark.usefixtures("quick")
def test_json_report_has_all_findings(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, redocly: Callable[[str], None]
) -> None:
    redocly(json.dumps({"changes": CHANGES["changes"][:1]}))
    spec = spec_file(tmp_path, "words are changed")

    code, text = run(capsys, generate.SPEC, spec, "--format=json")

    finding = {"kind": "cosmetic", "view": "wire", "place": "paths > /a~b > get"}
    finding["sentence"] = "`summary` was modified"
    assert code == 0
    assert json.loads(text) == {
        "code": 0,
        "findings": [finding],
        "skipped": "",
        "verdict": "Nothing breaks.",
    }


@pytest.mark.usefixtures("quick")
def test_failure_of_redocly_is_reported_in_the_first_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, redocly: Callable[..., None]
) -> None:
    redocly(json.dumps(CHANGES), exit_code=1)

    code, text = run(capsys, generate.SPEC, spec_file(tmp_path, "words are changed"))

    assert code == 0
    assert text.splitlines()[0] == (
        "Not everything was compared. The wire view was left out, because redocly failed: it failed"
    )


@pytest.mark.usefixtures("quick")
def test_settings_of_redocly_in_the_current_folder_are_not_read(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    redocly: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    redocly(json.dumps(CHANGES))
    node = changes.REDOCLY
    node.write_text(node.read_text().replace("\n", "\n[ ! -e redocly.yaml ] || exit 1\n", 1))
    spec = spec_file(tmp_path, "words are changed")
    (tmp_path / "redocly.yaml").write_text("{}")
    monkeypatch.chdir(tmp_path)

    _, text = run(capsys, generate.SPEC, spec.name)

    assert "redocly failed" not in text
    assert "paths > /a~b > get: It is gone; For good" in text


def reported(**changes: Any) -> str:
    """Return a report of redocly on one change, which differs from a correct one."""
    change = CHANGES["changes"][0] | changes
    return json.dumps({"changes": [change]})


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("", "Expecting value: line 2 column 1"),
        ("[]", "report: expected a mapping, not []"),
        ("{}", "changes: expected a list, not None"),
        (reported(path=1), "changes[0].path: expected a text, not 1"),
        (reported(property=1), "changes[0].property: expected a text, not 1"),
        (reported(kind=None), "changes[0].kind: expected a text, not None"),
        (reported(impact="huge"), "changes[0].impact: expected major, minor, patch, not 'huge'"),
        (reported(verdicts={}), "changes[0].verdicts: expected a list, not {}"),
        (reported(verdicts=[{}]), "changes[0].verdicts.message: expected a text, not None"),
    ],
)
def test_unexpected_output_of_redocly_is_reported_in_the_first_line(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    redocly: Callable[..., None],
    output: str,
    reason: str,
) -> None:
    redocly(output)

    code, text = run(capsys, generate.SPEC, spec_file(tmp_path, "words are changed"))

    assert code == 0
    assert text.splitlines()[0].startswith(
        "Not everything was compared. The wire view was left out, because redocly failed: its"
        f" output is not as expected: {reason}"
    )


@pytest.mark.usefixtures("quick")
def test_change_of_the_document_as_a_whole_is_reported(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, redocly: Callable[..., None]
) -> None:
    redocly(reported(path="#", property=None))

    _, text = run(capsys, generate.SPEC, spec_file(tmp_path, "words are changed"))

    assert text.splitlines()[0] == ("additive  wire     the document: `the document` was modified")


@pytest.mark.usefixtures("quick")
def test_change_without_a_property_is_that_of_the_last_key(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, redocly: Callable[..., None]
) -> None:
    redocly(reported(path="#/info/title", property=None))

    _, text = run(capsys, generate.SPEC, spec_file(tmp_path, "words are changed"))

    assert text.splitlines()[0] == "cosmetic  wire     info > title: `title` was modified"


@pytest.mark.usefixtures("quick")
def test_overlay_that_no_longer_fits_is_breaking_and_the_rest_is_compared_without_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    mutated = read_document(spec_file(tmp_path, "a request's property is renamed"))
    rename(envelope(mutated)["properties"], "content", "result")  # the overlay corrects `content`
    path = tmp_path / "no-longer-fits.yaml"
    path.write_text(yaml.safe_dump(mutated))

    code, text = run(capsys, generate.SPEC, path)

    assert code == 1
    assert f"breaking  overlay  {generate.OVERLAY}: does not fit the new spec, so" in text
    assert "matches nothing" in text
    assert "BalanceBrokerBaseRequest.auth_token: is no longer there" in text


def test_script_runs_as_a_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["changes.py", "--help"])

    with pytest.raises(SystemExit) as exit_:
        runpy.run_path(changes.__file__, run_name="__main__")

    assert exit_.value.code == 0
    assert "a git ref" in capsys.readouterr().out


def test_unreadable_spec_exits_with_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert changes.main([str(tmp_path / "nowhere.yaml"), str(generate.SPEC)]) == 2
    assert "nowhere.yaml" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["v1", "a.yaml", "b.yaml"]])
def test_command_needs_two_specs_or_a_git_ref(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        changes.main(arguments)


def test_one_spec_alone_is_refused_as_a_git_ref(capsys: pytest.CaptureFixture[str]) -> None:
    assert changes.main([str(generate.SPEC)]) == 2
    error = capsys.readouterr().err
    assert f"error: {generate.SPEC}: this is a file, not a git ref. To compare two" in error
    assert " ." not in error


def test_option_of_git_is_refused_as_a_git_ref(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "written-by-git"

    with pytest.raises(SpecError, match="git does not have this ref"):
        changes.compare_with_ref(f"--output={file}")

    assert not file.exists()
    assert capsys.readouterr().out == ""


# --- against a git ref --------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a repository of the spec and a facade, whose one commit is tagged `v1`."""
    root = tmp_path / "checkout"
    (root / "mesh_facade").mkdir(parents=True)
    (root / "mesh_facade/__init__.py").write_text("def read(token): ...\n")
    (root / "mesh_facade/_version.py").write_text('__version__ = "0.1.0"\n')
    shutil.copytree(generate.SPEC.parent, root / "openapi")
    for command in ("init -q", "add .", "commit -q -m one", "tag v1"):
        git = ["git", "-c", "user.name=T", "-c", "user.email=t@example.com", *command.split()]
        subprocess.run(git, cwd=root, check=True)
    monkeypatch.setattr(changes, "ROOT", root)
    monkeypatch.setattr(changes, "SPEC", root / "openapi/mesh.yaml")
    return root


def commit(folder: Path) -> None:
    """Commit all changes in a checkout."""
    for command in ("add .", "commit -q -m more"):
        git = ["git", "-c", "user.name=T", "-c", "user.email=t@example.com", *command.split()]
        subprocess.run(git, cwd=folder, check=True)


@pytest.mark.usefixtures("quick")
def test_working_tree_and_facade_are_compared_with_a_git_ref(
    capsys: pytest.CaptureFixture[str], checkout: Path
) -> None:
    unchanged = run(capsys, "v1")
    (checkout / "mesh_facade/__init__.py").write_text("def read(token, broker): ...\n")
    changed = run(capsys, "v1")

    assert unchanged == (0, "Nothing breaks.\n")
    assert changed[0] == 1
    assert "breaking  python   mesh_facade.read(1: broker): is new, and required" in changed[1]


@pytest.mark.usefixtures("quick")
def test_facade_is_compared_by_the_names_that_the_changelog_promises(
    capsys: pytest.CaptureFixture[str], checkout: Path
) -> None:
    facade = checkout / "mesh_facade"
    (facade / "testing").mkdir()
    for module in ("checks.py", "dask.py", "testing/__init__.py", "testing/server.py"):
        (facade / module).write_text("def read(token): ...\n")
    commit(checkout)
    for module in ("checks.py", "testing/server.py"):
        (facade / module).write_text("def read(token, broker): ...\n")
    of_other_modules = run(capsys, "HEAD")
    for module in ("__init__.py", "dask.py", "testing/__init__.py"):
        (facade / module).write_text("def read(token, broker): ...\n")

    code, text = run(capsys, "HEAD")

    assert of_other_modules == (0, "Nothing breaks.\n")
    assert code == 1
    assert text.splitlines()[:-2] == [
        f"breaking  python   {module}.read(1: broker): is new, and required"
        for module in ("mesh_facade.dask", "mesh_facade", "mesh_facade.testing")
    ]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("module", ["__init__.py", "bulk.py"])
@pytest.mark.parametrize("source", [b"def read(:\n", b"\0", b"\xff"])
def test_module_that_is_not_valid_python_exits_with_2(
    capsys: pytest.CaptureFixture[str], checkout: Path, module: str, source: bytes
) -> None:
    path = checkout / "mesh_facade" / module
    path.write_bytes(source)

    assert changes.main(["v1"]) == 2

    error = capsys.readouterr().err
    assert error.startswith(f"error: {path}: this is not valid Python: ")
    assert error.count("\n") == 1


@pytest.mark.usefixtures("checkout")
def test_missing_ref_is_refused_with_the_command_that_fetches_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert changes.main(["v2"]) == 2

    error = capsys.readouterr().err
    assert error.startswith("error: v2: git does not have this ref. A shallow clone lacks most")
    assert "`git fetch --depth=1 origin REF`" in error


@pytest.mark.usefixtures("checkout")
def test_missing_ref_alone_is_answered_with_the_advice_on_shallow_clones(
    capsys: pytest.CaptureFixture[str], checkout: Path
) -> None:
    git = ["git", "-c", "user.name=T", "-c", "user.email=t@example.com"]
    subprocess.run([*git, "rm", "-rq", "openapi"], cwd=checkout, check=True)
    subprocess.run([*git, "commit", "-qm", "two"], cwd=checkout, check=True)

    assert changes.main(["HEAD"]) == 2
    without_spec = capsys.readouterr().err
    shutil.rmtree(checkout / ".git")
    assert changes.main(["v1"]) == 2
    without_repository = capsys.readouterr().err

    assert without_spec.startswith("error: HEAD: fatal: pathspec 'openapi' did not match")
    assert without_repository.startswith("error: v1: fatal: not a git repository")
    assert "shallow" not in without_spec + without_repository


@pytest.mark.usefixtures("quick")
def test_overlay_of_the_older_version_is_named_if_it_does_not_fit(
    capsys: pytest.CaptureFixture[str], checkout: Path
) -> None:
    overlay = checkout / "openapi/overlay.yaml"
    current = overlay.read_text()
    overlay.write_text("{overlay: 1.0.0, actions: [{target: $.gone, update: {}}]}")
    git = ["git", "-c", "user.name=T", "-c", "user.email=t@example.com"]
    subprocess.run([*git, "commit", "-qam", "two"], cwd=checkout, check=True)
    overlay.write_text(current)

    code, text = run(capsys, "HEAD")

    assert code == 1
    assert text.splitlines()[0].startswith(
        "breaking  overlay  overlay.yaml of the older version: does not fit the old spec, so"
        " everything else was compared without overlays: action 1: $.gone matches nothing"
    )
    assert str(generate.OVERLAY) not in text


@pytest.mark.usefixtures("quick")
def test_shallow_clone_is_compared_with_the_branch_that_it_was_cloned_from(
    capsys: pytest.CaptureFixture[str],
    checkout: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    clone = tmp_path / "clone"
    command = ["git", "clone", "-q", "--depth=1", f"file://{checkout}", str(clone)]
    subprocess.run(command, check=True, capture_output=True)
    monkeypatch.setattr(changes, "ROOT", clone)
    monkeypatch.setattr(changes, "SPEC", clone / "openapi/mesh.yaml")
    (clone / "mesh_facade/__init__.py").write_text("def write(token): ...\n")

    code, text = run(capsys, "origin/HEAD")

    assert code == 1
    assert "breaking  python   mesh_facade.read: is no longer there" in text


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("ref", ["other-branch", "plain-tag", "annotated-tag"])
def test_advice_on_a_missing_ref_works_in_a_shallow_clone(
    capsys: pytest.CaptureFixture[str],
    checkout: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    ref: str,
) -> None:
    git = ["git", "-c", "user.name=T", "-c", "user.email=t@example.com"]
    for command in ("branch other-branch", "tag plain-tag", "tag -a -m one annotated-tag"):
        subprocess.run([*git, *command.split()], cwd=checkout, check=True)
    (checkout / "mesh_facade/__init__.py").write_text("def write(token): ...\n")
    subprocess.run([*git, "commit", "-qam", "two"], cwd=checkout, check=True)
    clone = tmp_path / "clone"
    command_line = ["git", "clone", "-q", "--depth=1", f"file://{checkout}", str(clone)]
    subprocess.run(command_line, check=True, capture_output=True)
    monkeypatch.setattr(changes, "ROOT", clone)
    monkeypatch.setattr(changes, "SPEC", clone / "openapi/mesh.yaml")

    assert changes.main([ref]) == 2
    [fetch, name] = re.findall("`([^`]+)`", capsys.readouterr().err)
    fetch_ref = fetch.replace("REF", ref).split()
    subprocess.run(fetch_ref, cwd=clone, check=True, capture_output=True)
    code, text = run(capsys, name)

    assert code == 1
    assert "breaking  python   mesh_facade.read: is no longer there" in text
