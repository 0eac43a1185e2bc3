"""From a source to a spec: the command line, what is recognised, what is fetched and kept."""

import datetime as dt
import hashlib
import io
import json
import runpy
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import import_spec
import pytest
import trustme
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from openapi_tools.canonical_form import SpecError

Json = dict[str, Any]

OPENAPI = Path(__file__).parents[2] / "openapi"
PAGE = Path(__file__).parents[1] / "data" / "get-account-balance.md"
PINNED = "POST /api/v1/balance/get"
OPERATION: Json = {"summary": "Get", "responses": {"200": {"description": "OK"}}}
SPEC: Json = {
    "openapi": "3.0.1",
    "info": {"title": "Theirs", "version": "9"},
    "paths": {
        "/api/v1/balance/get": {"post": {"operationId": "x", "tags": ["Money"], **OPERATION}},
        "/things/{id}": {
            "get": {
                "parameters": [
                    {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
                ],
                **OPERATION,
            },
        },
    },
}
PLACE = "$.paths['/api/v1/balance/get'].post"
MEDIA = f"{PLACE}.requestBody.content['a/b']"
SETTINGS = import_spec.read_settings()
MESH = import_spec.import_source(PAGE.read_bytes(), SETTINGS).encode()

Run = Callable[..., str]


def imported(text: str | bytes, *wanted: str, **settings: Any) -> Json:
    data = text.encode() if isinstance(text, str) else text
    return yaml.safe_load(import_spec.import_source(data, SETTINGS | settings, wanted))


def newer_page(block: str) -> str:
    return (
        f"# Source: https://a.example\n\n# Get\n\n## OpenAPI\n\n````yaml post /x\n{block}\n````\n"
    )


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run the command line on what must be refused, and return the reason that it gives."""

    def run(source: str | Path, *options: str) -> str:
        output = tmp_path / "out" / "mesh.yaml"
        output.parent.mkdir()
        assert import_spec.main([str(source), "--output", str(output), *options]) == 1
        assert list(output.parent.iterdir()) == []
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err.startswith(f"error: {source}: ")
        assert told.err.count("\n") == 1
        return told.err.removeprefix(f"error: {source}: ").strip()

    return run


# --- the sources -------------------------------------------------------------------------------


def test_the_command_line_writes_what_the_page_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "mesh.yaml"
    assert import_spec.main([str(PAGE), "--output", str(output)]) == 0
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
def test_the_same_facts_give_the_same_bytes_from_whichever_source(source: str) -> None:
    spec = import_spec.import_source(source.encode(), SETTINGS)
    assert spec == import_spec.import_source(json.dumps(SPEC).encode(), SETTINGS)


def test_the_page_in_its_older_shape_and_the_spec_it_tells_give_the_same_bytes() -> None:
    assert import_spec.import_source(MESH, SETTINGS).encode() == MESH


def test_yaml_has_the_types_of_json_and_its_anchors_are_resolved() -> None:
    text = newer_page(
        "openapi: 3.0.1\npaths:\n  /api/v1/balance/get:\n    post:\n      responses:\n"
        "        200: &ok {description: no}\n        201: *ok\n"
        "      x-told: [2026-01-02, 12:30, on, 010, 1e3, -1.5, true, '1', null, ]\n"
        "      x-empty:\n"
    )
    operation = imported(text)["paths"]["/api/v1/balance/get"]["post"]
    assert operation["responses"] == {"200": {"description": "no"}, "201": {"description": "no"}}
    told = ["2026-01-02", "12:30", "on", "010", 1000.0, -1.5, True, "1", None]
    assert operation["x-told"] == told
    assert operation["x-empty"] is None


def test_json_may_have_characters_beyond_the_basic_plane_as_escapes() -> None:
    document = SPEC | {"paths": {"/x": {"get": OPERATION | {"summary": "\U0001f600"}}}}
    assert imported(json.dumps(document), "*")["paths"]["/x"]["get"]["summary"] == "\U0001f600"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (b"\xff", "'utf-8' codec can't decode byte 0xff in position 0"),
        ("<!doctype html>", "document: a mapping is expected, not '<!doctype html>'"),
        ("", "document: a mapping is expected, not None"),
        ("# Only a page\n", "document: a mapping is expected, not None"),
        ("a: [", "this is neither YAML nor JSON: while parsing a flow node did not find"),
        ('{"a": }', "this is neither YAML nor JSON: Expecting value: line 1 column 7"),
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
                "this is neither YAML nor JSON: while parsing a flow node did not find expected"
                " node content at line 10, column 1"
            ),
        ),
        (
            newer_page("a: 1").replace("\n````\n", ""),
            "this is neither YAML nor JSON: while scanning",
        ),
        (json.dumps(SPEC | {"paths": {}}), f"there is no operation '{PINNED}', but"),
        ("a: " + "[" * 9_000 + "]" * 9_000, "this is neither YAML nor JSON: while increasing"),
        ('{"a": ' + "[" * 999_999 + "]" * 999_999 + "}", "this is neither YAML nor JSON: "),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(
    source: str | bytes, reason: str, refused: Run, tmp_path: Path
) -> None:
    file = tmp_path / "source"
    file.write_bytes(source if isinstance(source, bytes) else source.encode())
    assert refused(file).startswith(reason)


@pytest.mark.parametrize(
    ("said", "lost", "reason"),
    [
        (
            "    BrokerType:",
            "    Other:",
            "#/components/schemas/BrokerType: 'BrokerType' is missing",
        ),
        ("  response:", "  answers:", "paths: 'response' is missing"),
        ("> Get", "Get", "page: a heading, a quote and '## OpenAPI' are expected above the block"),
        ("\n````", "", "this is neither YAML nor JSON: while scanning"),
    ],
)
def test_a_page_that_lacks_a_part_is_refused(
    said: str, lost: str, reason: str, refused: Run, tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    before, _, after = PAGE.read_text("utf-8").rpartition(said)
    page.write_text(before + lost + after, "utf-8")
    assert refused(page).startswith(reason)


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
def test_what_openapi_3_0_cannot_say_is_refused_with_its_place(
    operation: Json, reason: str, refused: Run, tmp_path: Path
) -> None:
    source = tmp_path / "spec.json"
    paths = {"/api/v1/balance/get": {"post": OPERATION | operation}}
    source.write_text(json.dumps(SPEC | {"paths": paths}), "utf-8")
    assert refused(source).startswith(reason)


def test_half_a_character_is_refused(refused: Run, tmp_path: Path) -> None:
    source = tmp_path / "spec.json"
    paths = {"/x": {"get": OPERATION | {"summary": "\ud800"}}}
    source.write_text(json.dumps(SPEC | {"paths": paths}), "utf-8")
    assert "surrogates not allowed" in refused(source, "--all")


def test_a_parameter_of_the_path_that_is_never_declared_is_refused(
    refused: Run, tmp_path: Path
) -> None:
    source = tmp_path / "spec.json"
    source.write_text(json.dumps(SPEC | {"paths": {"/x/{id}": {"get": OPERATION}}}), "utf-8")
    assert refused(source, "--all") == (
        "$: Path parameter 'id' for 'get' operation in '/x/{id}' was not resolved"
    )


def test_a_file_that_is_not_there_is_refused(refused: Run, tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "gone.yaml")


def test_standard_input_is_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(PAGE.read_bytes())))
    output = tmp_path / "mesh.yaml"
    assert import_spec.main(["-", "--output", str(output)]) == 0
    assert output.read_bytes() == MESH


# --- what is wanted, and what the settings say --------------------------------------------------


def test_the_pinned_operation_has_our_name_and_tag_whatever_the_source_says() -> None:
    spec = imported(json.dumps(SPEC))
    assert list(spec["paths"]) == ["/api/v1/balance/get"]
    operation = spec["paths"]["/api/v1/balance/get"]["post"]
    assert operation == OPERATION | {"operationId": "getAccountBalance", "tags": ["Balance"]}
    assert spec["info"] == SETTINGS["info"]


@pytest.mark.parametrize("options", [["--all"], ["--operation", "GET /things/{id}"], []])
def test_other_operations_are_imported_when_they_are_asked_for(
    options: list[str], tmp_path: Path
) -> None:
    source, output = tmp_path / "spec.json", tmp_path / "mesh.yaml"
    source.write_text(json.dumps(SPEC), "utf-8")
    assert import_spec.main([str(source), "--output", str(output), *options]) == 0
    paths = yaml.safe_load(output.read_text("utf-8"))["paths"]
    names = [
        item.get("operationId") for operations in paths.values() for item in operations.values()
    ]
    wanted = {"--all": ["getAccountBalance", None], "--operation": [None]}
    assert names == wanted.get("".join(options[:1]), ["getAccountBalance"])


def test_operations_are_in_one_order_however_they_are_asked_for() -> None:
    data = json.dumps(SPEC).encode()
    backwards = ["GET /things/{id}", PINNED, "GET *"]
    assert import_spec.import_source(data, SETTINGS, backwards) == import_spec.import_source(
        data, SETTINGS, ["*"]
    )


def test_an_operation_that_is_not_pinned_keeps_its_name_and_tags() -> None:
    spec = imported(json.dumps(SPEC), "*", operations={})
    operation = spec["paths"]["/api/v1/balance/get"]["post"]
    assert operation == OPERATION | {"operationId": "x", "tags": ["Money"]}


@pytest.mark.parametrize(
    ("said", "meant", "reason"),
    [
        ("source:", "sorce:", "'source' is missing"),
        ("schemas: {}", "schemas: {}\nmore: 1", "'more' is not known here"),
        ("schemas: {}", "schemas: Ours", "schemas: a mapping is expected, not 'Ours'"),
        ("    tag: Balance", "    tags: Balance", f"operations.{PINNED}: 'tag' is missing"),
        ("schemas: {}", "schemas: {Gone: Ours}", "the settings rename the schema 'Gone', which"),
    ],
)
def test_misspelt_settings_are_refused(
    said: str, meant: str, reason: str, refused: Run, tmp_path: Path
) -> None:
    text = (OPENAPI / "import.yaml").read_text("utf-8")
    settings = tmp_path / "import.yaml"
    settings.write_text(text.replace(said, meant), "utf-8")
    assert reason in refused(PAGE, "--settings", str(settings))


# --- the text of the spec -----------------------------------------------------------------------


@given(st.text(st.characters(exclude_categories=["Cs"])))
@example("line\r\nline")
@example(" indented\n\n  more \n")
@example("1e3")
@example("\n\u2028\x07")
def test_text_is_written_so_that_it_reads_the_same(text: str) -> None:
    document = SPEC | {"paths": {"/x": {"get": OPERATION | {"description": text}}}}
    spec = imported(json.dumps(document), "*")
    assert spec["paths"]["/x"]["get"]["description"] == text
    text = import_spec.import_source(json.dumps(document).encode(), SETTINGS, ["*"])
    assert import_spec.import_source(text.encode(), SETTINGS, ["*"]) == text


def test_lines_are_short_enough_to_read_and_text_of_several_lines_stands_in_several() -> None:
    told = {"summary": "word " * 40 + ".", "description": "One.\n\n- Two.\n"}
    document = SPEC | {"paths": {"/x": {"get": OPERATION | told}}}
    spec = import_spec.import_source(json.dumps(document).encode(), SETTINGS, ["*"])
    assert max(map(len, spec.splitlines())) <= 100
    assert "      description: |\n        One.\n\n        - Two.\n" in spec


def test_nothing_is_told_by_reference_to_another_part_of_the_text() -> None:
    twice = {"type": "object", "x-told": {"a": 1}}
    schema = {"properties": {"a": twice, "b": twice}}
    body = {"content": {"a/b": {"schema": schema}}}
    document = {"openapi": "3.0.1", "paths": {"/x": {"put": OPERATION | {"requestBody": body}}}}
    assert "&" not in import_spec.import_source(json.dumps(document).encode(), SETTINGS, ["*"])
    anchored = yaml.safe_dump(document)
    assert "&" in anchored
    assert "&" not in import_spec.import_source(anchored.encode(), SETTINGS, ["*"])


def test_the_script_runs_as_a_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    output = tmp_path / "mesh.yaml"
    monkeypatch.setattr("sys.argv", ["import_spec.py", str(PAGE), "--output", str(output)])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(import_spec.__file__, run_name="__main__")
    assert output.exists()


# --- addresses ----------------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:  # who has read enough hangs up
        pass


class Handler(BaseHTTPRequestHandler):
    released = threading.Event()

    def do_GET(self) -> None:
        status, length, headers = 200, len(json.dumps(SPEC)), {}
        match self.path:
            case "/moved":
                status, headers = 302, {"Location": "/spec.json"}
            case "/elsewhere":
                status, headers = 302, {"Location": "https://other.example/spec.json"}
            case "/plain":
                status, headers = 302, {"Location": "http://localhost/spec.json"}
            case "/gone":
                status = 404
            case "/cut":
                length += 1
            case "/silent":
                self.released.wait()
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(json.dumps(SPEC).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("NO_PROXY", "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    Handler.released.clear()
    with Server(("127.0.0.1", 0), Handler) as listening:
        listening.socket = context.wrap_socket(listening.socket, server_side=True)
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield f"https://localhost:{listening.server_port}"
        Handler.released.set()
        listening.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["/spec.json", "/moved"])
def test_an_address_is_a_source_also_where_its_host_sends_on(server: str, path: str) -> None:
    assert import_spec.read_source(server + path) == json.dumps(SPEC).encode()


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/elsewhere", "https://other.example/spec.json is not an https address of the host"),
        ("/plain", "http://localhost/spec.json is not an https address of the host"),
        ("/gone", "Client error '404 Not Found'"),
        ("/cut", "peer closed connection without sending complete message body"),
        ("/silent", "no whole answer within 0.2 s"),
    ],
)
def test_what_is_not_fetched_whole_and_from_there_changes_nothing(
    server: str, path: str, reason: str, refused: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    if path == "/silent":
        monkeypatch.setattr(import_spec, "FETCH_SECONDS", 0.2)
    assert refused(server + path).startswith(reason)


@pytest.mark.parametrize("spare", [-1, 0])
def test_an_answer_over_the_limit_is_refused(
    server: str, spare: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_spec, "MAX_BYTES", len(json.dumps(SPEC)) + spare)
    if spare < 0:
        with pytest.raises(SpecError, match="there are more than"):
            import_spec.read_source(f"{server}/spec.json")
    else:
        assert import_spec.read_source(f"{server}/spec.json")


@pytest.mark.parametrize("address", ["http://localhost/", "ftp://localhost/", "https://a\x00/"])
def test_an_address_that_is_not_https_is_refused(address: str, refused: Run) -> None:
    assert refused(address)


# --- the source and the spec belong together ----------------------------------------------------


@pytest.fixture
def openapi(tmp_path: Path) -> Path:
    """A folder that an import with --adopt has filled."""
    folder = tmp_path / "openapi"
    folder.mkdir()
    (folder / "import.yaml").write_bytes((OPENAPI / "import.yaml").read_bytes())
    assert adopted(folder, PAGE) == 0
    return folder


def adopted(folder: Path, source: Path | str) -> int:
    return import_spec.main([str(source), "--output", str(folder / "mesh.yaml"), "--adopt"])


def record_of(folder: Path) -> Json:
    return yaml.safe_load((folder / "source" / "provenance.yaml").read_text("utf-8"))


def test_what_is_committed_belongs_together() -> None:
    import_spec.check_source()


def test_an_adopted_source_is_kept_byte_for_byte_with_the_record_of_it(openapi: Path) -> None:
    kept = openapi / "source" / PAGE.name
    assert kept.read_bytes() == PAGE.read_bytes()
    assert record_of(openapi) == {
        "file": PAGE.name,
        "from": "https://docs.meshconnect.com/api-reference/balance/get-account-balance.md",
        "imported": dt.datetime.now(dt.UTC).date().isoformat(),
        "sha256": hashlib.sha256(PAGE.read_bytes()).hexdigest(),
    }
    import_spec.check_source(openapi)


def test_another_source_takes_the_place_of_the_last(openapi: Path, tmp_path: Path) -> None:
    source = tmp_path / "spec.json"
    source.write_text(json.dumps(SPEC), "utf-8")
    assert adopted(openapi, source) == 0
    assert sorted(path.name for path in (openapi / "source").iterdir()) == [
        "provenance.yaml",
        "spec.json",
    ]
    assert record_of(openapi)["from"] == "spec.json"
    import_spec.check_source(openapi)


def test_a_folder_that_is_not_the_projects_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "thesis.txt").write_text("work of years")
    assert adopted(tmp_path, PAGE) == 0
    assert (tmp_path / "source" / "thesis.txt").read_text() == "work of years"


def test_the_record_of_a_fetched_source_has_its_address(openapi: Path, server: str) -> None:
    assert adopted(openapi, f"{server}/spec.json?v=1") == 0
    assert record_of(openapi)["from"] == f"{server}/spec.json?v=1"
    assert record_of(openapi)["file"] == "spec.json"


def test_the_record_changes_only_when_the_source_does(openapi: Path, tmp_path: Path) -> None:
    record = openapi / "source" / "provenance.yaml"
    past = record.read_text("utf-8").replace(record_of(openapi)["imported"], "2020-01-01")
    record.write_text(past, "utf-8")
    copy = tmp_path / "copy.md"
    copy.write_bytes(PAGE.read_bytes())
    assert adopted(openapi, copy) == 0
    assert record.read_text("utf-8") == past
    assert sorted(path.name for path in record.parent.iterdir()) == [PAGE.name, record.name]
    copy.write_text(json.dumps(SPEC), "utf-8")
    assert adopted(openapi, copy) == 0
    assert record_of(openapi)["imported"] == dt.datetime.now(dt.UTC).date().isoformat()


def test_a_source_that_is_refused_is_not_adopted(openapi: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in openapi.rglob("*") if path.is_file()}
    assert adopted(openapi, tmp_path) == 1
    assert {path: path.read_bytes() for path in openapi.rglob("*") if path.is_file()} == before


def test_adopting_is_for_the_pinned_operations_alone(openapi: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        import_spec.main([str(PAGE), "--output", str(openapi / "mesh.yaml"), "--adopt", "--all"])


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        (f"source/{PAGE.name}", f"{PAGE.name} is not the file that provenance.yaml records"),
        ("mesh.yaml", f"mesh.yaml is not what importing {PAGE.name} gives"),
    ],
)
def test_a_file_that_was_edited_is_a_problem(openapi: Path, file: str, problem: str) -> None:
    with (openapi / file).open("a", encoding="utf-8") as edited:
        edited.write("\n")
    with pytest.raises(SpecError, match=f"{problem}: run `make spec`$"):
        import_spec.check_source(openapi)


@pytest.mark.parametrize(
    "file", [f"source/{PAGE.name}", "source/provenance.yaml", "mesh.yaml", "import.yaml"]
)
def test_a_file_that_is_missing_is_a_problem(openapi: Path, file: str) -> None:
    (openapi / file).unlink()
    with pytest.raises(FileNotFoundError, match=file):
        import_spec.check_source(openapi)


def test_a_record_without_a_file_is_a_problem(openapi: Path) -> None:
    (openapi / "source" / "provenance.yaml").write_text("from: here\n", "utf-8")
    with pytest.raises(SpecError, match=r"provenance\.yaml: 'file' is missing"):
        import_spec.check_source(openapi)
    assert adopted(openapi, PAGE) == 1
