"""The import of a source: what is read, what is refused, which operations are imported."""

import io
import json
import runpy
from pathlib import Path

import import_spec
import pytest
import yaml
from openapi_tools.json_values import SpecError
from openapi_tools.sources import parse_source

from tests.scripts.importing import (
    MESH,
    OPERATION,
    PAGE,
    PINNED,
    SETTINGS,
    SETTINGS_FILE,
    SPEC,
    Json,
    Refusal,
    api,
    imported,
    newer_page,
    run_importer,
)

PLACE = "$.paths['/api/v1/balance/get'].post"
MEDIA = f"{PLACE}.requestBody.content['a/b']"


@pytest.fixture
def refusal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refusal:
    return Refusal(tmp_path, capsys)


# --- the sources -------------------------------------------------------------------------------


def test_the_command_line_writes_the_spec(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "mesh.yaml"
    assert run_importer(PAGE, output) == 0
    assert output.read_bytes() == MESH
    assert list(tmp_path.iterdir()) == [output]
    assert capsys.readouterr().out == f"{output}: imported from {PAGE}\n"


@pytest.mark.parametrize(
    "source",
    [
        json.dumps(SPEC),
        json.dumps(SPEC, indent=1).replace("\n", "\r\n"),
        "\ufeff" + json.dumps(SPEC),
        yaml.safe_dump(SPEC),
        "# A comment\n---\n" + yaml.safe_dump(SPEC, sort_keys=False),
        newer_page(yaml.safe_dump(SPEC)),
        newer_page(yaml.safe_dump(SPEC)).replace("\n", "\r\n"),
        newer_page(yaml.safe_dump(SPEC)).replace("````", "```"),
        "> Preamble\n\n" + newer_page(json.dumps(SPEC | {"openapi": "3.1.0"}, indent=1)),
        yaml.safe_dump(SPEC | {"tags": [{"name": "Money"}], "x-more": 1}),
    ],
)
def test_every_kind_of_source_gives_the_same_bytes(source: str) -> None:
    spec = import_spec.import_source(source.encode(), SETTINGS)
    assert spec == import_spec.import_source(json.dumps(SPEC).encode(), SETTINGS)


def test_the_older_page_and_the_spec_made_from_it_give_the_same_bytes() -> None:
    assert import_spec.import_source(MESH, SETTINGS).encode() == MESH


def test_json_escapes_of_surrogate_pairs_are_read() -> None:
    document = SPEC | {"paths": {"/x": {"get": OPERATION | {"summary": "\U0001f600"}}}}
    assert imported(json.dumps(document), "*")["paths"]["/x"]["get"]["summary"] == "\U0001f600"


@pytest.mark.parametrize(
    ("text", "suffix"),
    [
        ('\n{"openapi": "3.0.1"}', ".json"),
        ("openapi: 3.0.1\n", ".yaml"),
        ("{openapi: 3.0.1}", ".yaml"),
    ],
)
def test_a_source_is_kept_as_json_only_if_it_begins_like_json(text: str, suffix: str) -> None:
    assert parse_source(text.encode()).suffix == suffix


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (b"\xff", "not UTF-8: 'utf-8' codec can't decode byte 0xff in position 0"),
        ("<!doctype html>", "document: expected a mapping, not '<!doctype html>'"),
        ("", "document: expected a mapping, not None"),
        ("# Only a page\n", "document: expected a mapping, not None"),
        ("a: [", "not YAML: while parsing a flow node did not find"),
        ('{"a": ]}', "not JSON: Expecting value: line 1 column 7"),
        ('{"a": }', "this is neither a docs page nor an OpenAPI document, 3.0 or 3.1"),
        ("a: 1\nb: 2\na: 3\n", "the key 'a' is given twice in a mapping"),
        ('{"a": 1, "a": 2}', "the key 'a' is given twice in a mapping"),
        ("swagger: '2.0'\n", "this is neither a docs page nor an OpenAPI document, 3.0 or 3.1"),
        ("paths: {}\n", "this is neither a docs page nor an OpenAPI document, 3.0 or 3.1"),
        (newer_page("openapi: 2.0.0"), "this is neither a docs page nor an OpenAPI document"),
        (newer_page("paths: {}"), "page: 'components' is missing"),
        (newer_page("a: 1") * 2, "the page has more than one YAML block"),
        (
            newer_page("a: 1\nb: ["),
            (
                "not YAML: while parsing a flow node did not find expected"
                " node content at line 10, column 1"
            ),
        ),
        (
            newer_page("a: 1").replace("\n````\n", ""),
            "line 7: the code block that begins here is never closed: the page is cut short",
        ),
        (
            json.dumps(SPEC | {"paths": {}}),
            f"there is no operation '{PINNED}'; the source has none.",
        ),
        (
            json.dumps(SPEC | {"paths": {"/a": {}, "/api/v2/balance/get": {"post": OPERATION}}}),
            (
                f"there is no operation '{PINNED}'; the source has POST /api/v2/balance/get."
                " Name another with --operation, or pin another in openapi/import.yaml"
            ),
        ),
        ("a: " + "[" * 9_000 + "]" * 9_000, "not YAML: while increasing"),
        ('{"a": ' + "[" * 999_999 + "]" * 999_999 + "}", "the document is nested too deeply"),
    ],
)
def test_an_unreadable_source_is_refused_in_one_line(
    source: str | bytes, reason: str, refusal: Refusal
) -> None:
    assert refusal.of_content(source).startswith(reason)


@pytest.mark.parametrize(
    ("said", "lost", "reason"),
    [
        (
            "    BrokerType:",
            "    Other:",
            (
                "components.schemas.BalanceBrokerBaseRequest.properties.type.allOf[0].allOf[0]:"
                " there is nothing at '#/components/schemas/BrokerType': 'BrokerType' is missing"
            ),
        ),
        ("  response:", "  answers:", "paths: 'response' is missing"),
        ("# Get", "Get", "page: expected a heading above '## OpenAPI'"),
        ("## OpenAPI", "## API", "page: expected '## OpenAPI' above the YAML block"),
        (
            "\n````",
            "",
            "line 9: the code block that begins here is never closed: the page is cut short",
        ),
    ],
)
def test_a_page_that_lacks_a_part_is_refused(
    said: str, lost: str, reason: str, refusal: Refusal
) -> None:
    before, _, after = PAGE.read_text("utf-8").rpartition(said)
    assert refusal.of_content(before + lost + after).startswith(reason)


@pytest.mark.parametrize(
    ("operation", "reason"),
    [
        ({"told": 1}, f"{PLACE}: 'told' does not match"),
        (
            {"requestBody": {"content": {"a/b": {"schema": {"items": {"patterns": {}}}}}}},
            f"{MEDIA}.schema.items: 'patterns'",
        ),
        (
            {"requestBody": {"content": {"a/b": {"schema": {"type": ["string", "integer"]}}}}},
            f"{MEDIA}.schema.type: ['string',",
        ),
        ({"responses": {}}, f"{PLACE}: 'responses' is a required"),
    ],
)
def test_anything_that_openapi_3_0_cannot_express_is_refused_with_its_place(
    operation: Json, reason: str, refusal: Refusal
) -> None:
    paths = {"/api/v1/balance/get": {"post": OPERATION | operation}}
    assert refusal.of_content(json.dumps(SPEC | {"paths": paths})).startswith(reason)


@pytest.mark.parametrize("levels", [400, 600])  # too deep to validate, and too deep to translate
def test_a_document_that_is_nested_too_deeply_is_refused(levels: int, refusal: Refusal) -> None:
    nested = '{"items": ' * levels + "{}" + "}" * levels
    source = api({"requestBody": {"content": {"a/b": {"schema": "NESTED"}}}})
    assert refusal.of_content(source.replace('"NESTED"', nested), "--all") == (
        "the document is nested too deeply"
    )


def test_an_unknown_word_in_a_schema_of_openapi_3_1_is_an_extension() -> None:
    source = api({"requestBody": {"content": {"a/b": {"schema": {"embed": True}}}}})
    content = imported(source, "*")["paths"]["/x"]["get"]["requestBody"]["content"]
    assert content == {"a/b": {"schema": {"x-embed": True}}}


def test_half_a_surrogate_pair_is_refused(refusal: Refusal) -> None:
    source = api({"summary": "\ud800"})
    assert "surrogates not allowed" in refusal.of_content(source, "--all")


def test_an_undeclared_path_parameter_is_refused(refusal: Refusal) -> None:
    source = json.dumps(SPEC | {"paths": {"/x/{id}": {"get": OPERATION}}})
    assert refusal.of_content(source, "--all") == (
        "$: Path parameter 'id' for 'get' operation in '/x/{id}' was not resolved"
    )


def test_a_missing_file_is_refused(refusal: Refusal, tmp_path: Path) -> None:
    assert "No such file" in refusal.of(tmp_path / "gone.yaml")


def test_a_source_can_come_from_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(PAGE.read_bytes())))
    output = tmp_path / "mesh.yaml"
    assert run_importer("-", output) == 0
    assert output.read_bytes() == MESH


# --- wanted operations and settings --------------------------------------------------


def test_the_pinned_operation_gets_our_name_and_tag() -> None:
    spec = imported(json.dumps(SPEC))
    assert list(spec["paths"]) == ["/api/v1/balance/get"]
    operation = spec["paths"]["/api/v1/balance/get"]["post"]
    assert operation == OPERATION | {"operationId": "getAccountBalance", "tags": ["Balance"]}
    assert spec["info"] == SETTINGS["info"]


@pytest.mark.parametrize("options", [["--all"], ["--operation", "GET /things/{id}"], []])
def test_other_operations_can_be_imported_by_name(options: list[str], tmp_path: Path) -> None:
    source, output = tmp_path / "spec.json", tmp_path / "mesh.yaml"
    source.write_text(json.dumps(SPEC), "utf-8")
    assert run_importer(source, output, *options) == 0
    paths = yaml.safe_load(output.read_text("utf-8"))["paths"]
    names = [
        item.get("operationId") for operations in paths.values() for item in operations.values()
    ]
    wanted = {"--all": ["getAccountBalance", None], "--operation": [None]}
    assert names == wanted.get("".join(options[:1]), ["getAccountBalance"])


def test_asterisk_in_a_pinned_name_stands_for_itself() -> None:
    paths = {"/files/*": {"get": OPERATION}, "/files/x": {"get": OPERATION}}
    pinned = {"GET /files/*": {"operationId": "getFiles", "tag": "Files"}}

    spec = imported(json.dumps(SPEC | {"paths": paths}), operations=pinned)

    operation = OPERATION | {"operationId": "getFiles", "tags": ["Files"]}
    assert spec["paths"] == {"/files/*": {"get": operation}}


def test_pinned_name_that_matches_operations_only_as_a_pattern_is_refused() -> None:
    pinned = {"GET /things/*": {"operationId": "getThings", "tag": "Things"}}

    with pytest.raises(SpecError, match=r"^there is no operation 'GET /things/\*'; the source has"):
        imported(json.dumps(SPEC), operations=pinned)


def test_the_order_of_the_wanted_operations_does_not_matter() -> None:
    data = json.dumps(SPEC).encode()
    backwards = ["GET /things/{id}", PINNED, "GET *"]
    assert import_spec.import_source(data, SETTINGS, backwards) == import_spec.import_source(
        data, SETTINGS, ["*"]
    )


def test_spec_of_other_operations_does_not_say_that_they_are_pinned() -> None:
    spec = import_spec.import_source(PAGE.read_bytes(), SETTINGS, ["*"])

    assert spec.startswith("# Operations that Mesh publishes, in canonical form.")
    assert "pinned" not in spec.partition("\ncomponents:")[0]


def test_spec_of_other_operations_is_not_a_source(refusal: Refusal) -> None:
    spec = import_spec.import_source(PAGE.read_bytes(), SETTINGS, ["*"])

    reason = refusal.of_content(spec)

    assert reason.startswith("this is not a source, but what the importer wrote")


def test_missing_operation_is_refused_with_three_of_many_that_the_source_has(
    refusal: Refusal,
) -> None:
    paths = {f"/things/{number}": {"get": OPERATION} for number in range(5)}
    source = json.dumps(SPEC | {"paths": paths})

    reason = refusal.of_content(source, "--operation", "QUERY nothing similar")

    assert reason.startswith(
        "there is no operation 'QUERY nothing similar'; the source has GET /things/0,"
        " GET /things/1, GET /things/2 and 2 more. Name another"
    )


def test_extensions_of_the_document_and_beside_the_paths_are_left_out() -> None:
    paths = {"/x": {"get": OPERATION}, "x-note": "words"}

    spec = imported(json.dumps(SPEC | {"paths": paths, "x-more": 1}), "*")

    assert spec["paths"] == {"/x": {"get": OPERATION}}
    assert "x-more" not in spec


def test_an_operation_that_is_not_pinned_keeps_its_name_and_tags() -> None:
    spec = imported(json.dumps(SPEC), "*", operations={})
    operation = spec["paths"]["/api/v1/balance/get"]["post"]
    assert operation == OPERATION | {"operationId": "x", "tags": ["Money"]}


@pytest.mark.parametrize(
    ("said", "meant", "reason"),
    [
        ("source:", "sorce:", "'source' is missing"),
        ("schemas: {}", "schemas: {}\nmore: 1", "'more' is not known here"),
        ("schemas: {}", "schemas: Ours", "schemas: expected a mapping, not 'Ours'"),
        ("    tag: Balance", "    tags: Balance", f"operations.{PINNED}: 'tag' is missing"),
    ],
)
def test_misspelt_settings_are_refused_with_their_file(
    said: str, meant: str, reason: str, refusal: Refusal, tmp_path: Path
) -> None:
    text = SETTINGS_FILE.read_text("utf-8")
    settings = tmp_path / "import.yaml"
    settings.write_text(text.replace(said, meant), "utf-8")
    assert reason in refusal.of(PAGE, "--settings", str(settings), blamed=settings)


def test_settings_that_rename_a_schema_that_the_source_lacks_are_refused(
    refusal: Refusal, tmp_path: Path
) -> None:
    text = SETTINGS_FILE.read_text("utf-8")
    settings = tmp_path / "import.yaml"
    settings.write_text(text.replace("schemas: {}", "schemas: {Gone: Ours}"), "utf-8")
    assert "the settings rename the schema 'Gone', but the imported operations need no" in (
        refusal.of(PAGE, "--settings", str(settings))
    )


def test_other_operations_need_not_have_the_schemas_that_the_settings_rename() -> None:
    spec = imported(json.dumps(SPEC), "GET /things/{id}", schemas={"Gone": "Ours"})

    assert list(spec["paths"]) == ["/things/{id}"]


def test_schemas_that_other_operations_have_are_renamed() -> None:
    body = {"content": {"a/b": {"schema": {"$ref": "#/components/schemas/Theirs"}}}}
    components = {"schemas": {"Theirs": {"type": "string"}}}
    source = api({"requestBody": body}, components=components)

    spec = imported(source, "GET /x", schemas={"Theirs": "Ours", "Gone": "Other"})

    assert spec["components"] == {"schemas": {"Ours": {"type": "string"}}}


def test_pinned_operations_must_need_the_renamed_schemas_even_among_others() -> None:
    with pytest.raises(SpecError, match="the settings rename the schema 'Gone'"):
        imported(json.dumps(SPEC), "*", schemas={"Gone": "Ours"})


def test_only_the_star_is_special_in_the_pattern_of_an_operation() -> None:
    paths = {path: {"get": OPERATION} for path in ("/ab", "/a?", "/[a]b", "/a.b")}
    source = json.dumps(SPEC | {"paths": paths})

    assert list(imported(source, "GET /a?")["paths"]) == ["/a?"]
    assert list(imported(source, "GET /[a]b")["paths"]) == ["/[a]b"]
    assert list(imported(source, "GET /a.b")["paths"]) == ["/a.b"]
    assert list(imported(source, "* /a*")["paths"]) == ["/a.b", "/a?", "/ab"]


def test_content_that_is_not_utf_8_raises_spec_error() -> None:
    with pytest.raises(SpecError, match=r"^not UTF-8: 'utf-8' codec can't decode byte 0xff"):
        import_spec.import_source(b"\xff", SETTINGS)


def test_missing_settings_are_not_blamed_on_the_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "import.yaml"

    assert run_importer(PAGE, tmp_path / "mesh.yaml", "--settings", str(settings)) == 1

    message = capsys.readouterr().err
    assert str(settings) in message
    assert str(PAGE) not in message


def test_output_that_cannot_be_written_is_not_blamed_on_the_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "gone" / "mesh.yaml"

    assert run_importer(PAGE, output) == 1

    message = capsys.readouterr().err
    assert str(output.parent) in message
    assert str(PAGE) not in message


def test_the_script_runs_as_a_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    output = tmp_path / "mesh.yaml"
    settings = ["--settings", str(SETTINGS_FILE)]
    arguments = ["import_spec.py", str(PAGE), "--output", str(output), *settings]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(import_spec.__file__, run_name="__main__")
    assert output.exists()
