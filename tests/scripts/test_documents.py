"""The reader and the writer of YAML: text stays text for every reader, and sizes are bounded."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import import_spec
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from openapi_tools import documents
from openapi_tools.documents import dump, parse, read_document, write
from openapi_tools.json_values import SpecError
from ruamel.yaml import YAML

from tests.scripts.importing import OPERATION, SETTINGS, SPEC, Json, imported, newer_page

# Texts that one reader of YAML or another takes for something else when they are not quoted.
AMBIGUOUS = (
    *("", "~", "null", "Null", "NULL", "true", "True", "FALSE", "y", "Y", "n", "N", "yes", "no"),
    *("on", "OFF", "25921e05", "1e3", "1E3", "+1", "-1", "-0", "1_000", "0x1F", "0o17", "0b11"),
    *("010", "0777", "09", "1.", ".5", "+.5e3", "1.e3", "012e03", "12e", "1_1e1", "_1", "__"),
    *(".inf", "-.INF", ".nan", ".NaN", "2026-01-01", "2026-01-01T12:30:00Z", "12:30:00", "1:30"),
    *("190:20:30.15", "=", "<<", "-", "?", ":", "- a", "? a", "a: b", "a #b", "#a", "&a", "*a"),
    *("!a", "%a", "@a", "`a", "{a", "[a", "]", "}", ",", "|", ">", "'", '"', "---", "...", "a\n"),
    *("\n", " a", "a ", "\ta", "a\tb", "\u2028", "\x85", "\ufeff", "\x00", "\x7f", "\U0001f600"),
)

TEXTS = st.one_of(
    st.sampled_from(AMBIGUOUS),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.text(alphabet="0123456789_.:+-eExXobBinfaNAyYT~<=", max_size=8),
)


def read_with_ruamel(text: str, version: tuple[int, int]) -> Any:
    reader = YAML(typ="safe", pure=True)
    reader.version = version
    return reader.load(text)


def assert_every_reader_reads(document: Json) -> None:
    written = dump(document)
    assert parse(written) == document
    assert yaml.safe_load(written) == document
    assert yaml.load(written, yaml.CSafeLoader) == document
    assert YAML(typ="safe").load(written) == document  # as the generator reads it
    assert read_with_ruamel(written, (1, 2)) == document
    assert read_with_ruamel(written, (1, 1)) == document


@given(st.lists(TEXTS, max_size=8), st.dictionaries(TEXTS, TEXTS, max_size=8))
@example(list(AMBIGUOUS), dict.fromkeys(AMBIGUOUS, "a"))
def test_every_reader_of_yaml_reads_the_text_that_was_written(
    values: list[str], pairs: dict[str, str]
) -> None:
    assert_every_reader_reads({"values": values, "pairs": pairs})


@pytest.mark.parametrize("character", ["\x85", "\u2028", "\u2029"])
@pytest.mark.parametrize("text", ["#", "a#b", "a\n#b", "#a\nb", "a##b\nc", "a#\n\n b", "a #" * 60])
def test_line_break_of_yaml_1_1_alone_is_written_as_an_escape(text: str, character: str) -> None:
    broken = text.replace("#", character)

    assert_every_reader_reads({"value": broken, broken: "value"})
    assert character not in dump({"value": broken, broken: "value"})


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
        max_leaves=8,
    )
)
def test_every_reader_of_yaml_reads_the_values_that_were_written(value: Any) -> None:
    written = dump({"value": value})
    assert parse(written) == {"value": value}
    assert yaml.safe_load(written) == {"value": value}
    assert YAML(typ="safe").load(written) == {"value": value}


@pytest.mark.parametrize("text", AMBIGUOUS)
def test_text_in_json_is_text_in_the_spec(text: str) -> None:
    schema = {"type": "object", "properties": {"p": {"type": "string", "default": text}}}
    schema |= {"title": text, "description": text, "example": {text: text}}
    body = {"content": {"a/b": {"schema": schema}}}
    paths = {"/x": {"put": OPERATION | {"requestBody": body}}}
    spec = imported(json.dumps({"openapi": "3.0.1", "paths": paths}), "*")
    carried = spec["paths"]["/x"]["put"]["requestBody"]["content"]["a/b"]["schema"]
    assert carried == schema


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((word, None) for word in ("~", "null", "Null", "NULL", "")),
        *((word, True) for word in ("true", "True", "TRUE")),
        *((word, False) for word in ("false", "False", "FALSE")),
        *((word, word) for word in ("nULL", "tRUE", "yes", "no", "on", "y", "N")),
        *(
            (word, word)
            for word in ("010", "0x1F", "0o17", "1_000", "+1", ".5", "1.", ".inf", ".nan")
        ),
        *((word, word) for word in ("2026-01-01", "12:30:00", "=", "<<", "3ad8c4a4")),
        *((f"'{word}'", word) for word in ("~", "null", "true", "1", "25921e05", "<<")),
        *((f"!!str {word}", word) for word in ("~", "null", "true", "1", "25921e05", "<<")),
        ("25921e05", 2592100000.0),
        ("-1.5e+3", -1500.0),
        ("!!float 3", 3),
        ("!!bool true", True),
        ("!!null ~", None),
    ],
)
def test_an_unquoted_word_is_text_unless_it_is_null_a_boolean_or_a_number_of_json(
    text: str, value: Any
) -> None:
    read = parse(f"a: {text}\n")
    assert read == {"a": value}
    assert isinstance(read, dict)
    assert type(read["a"]) is type(value)


def test_keys_are_always_text() -> None:
    text = "200: a\nnull: b\n~: c\ntrue: d\n1.5: e\n2026-01-01: f\n'<<': g\n"
    assert parse(text) == {
        "200": "a",
        "null": "b",
        "~": "c",
        "true": "d",
        "1.5": "e",
        "2026-01-01": "f",
        "<<": "g",
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: 1\n<<: {b: 2}\n", "line 2: the merge key '<<' is not supported: repeat the keys"),
        ("a: 1\n? [b]\n: 2\n", "line 2: the key of a mapping must be a word"),
        ("a:\n- !!binary aGk=\n", "line 2: the tag 'tag:yaml.org,2002:binary' is not supported"),
        ("a: !!int '3'\n", "line 1: the tag 'tag:yaml.org,2002:int' is not supported for '3'"),
        ("a: !!null b\n", "line 1: the tag 'tag:yaml.org,2002:null' is not supported for 'b'"),
        ("a: !!bool b\n", "line 1: the tag 'tag:yaml.org,2002:bool' is not supported for 'b'"),
        ("a: !!float b\n", "line 1: the tag 'tag:yaml.org,2002:float' is not supported for 'b'"),
        ("a: !!set {b, c}\n", "line 1: the tag 'tag:yaml.org,2002:set' is not supported"),
        ("a: !!omap [b: 1]\n", "line 1: the tag 'tag:yaml.org,2002:omap' is not supported"),
        ("a: !ours b\n", "line 1: the tag '!ours' is not supported for 'b'"),
        ("a: !!merge b\n", "line 1: the tag 'tag:yaml.org,2002:merge' is not supported for 'b'"),
        ("!ours a: 1\n", "line 1: the tag '!ours' is not supported for 'a'"),
        ("!!binary a: 1\n", "line 1: the tag 'tag:yaml.org,2002:binary' is not supported for 'a'"),
        ("!!bool a: 1\n", "line 1: the tag 'tag:yaml.org,2002:bool' is not supported for 'a'"),
        ("a: 1\nb: &c [*c]\n", "line 2: an anchor contains an alias of itself"),
        ("a: &c {d: {e: *c}}\n", "line 1: an anchor contains an alias of itself"),
        ("a: *b\n", "not YAML: found undefined alias"),
        ("a: 1e999\n", "the number 1e999 is too large"),
        ('{"a": 1e999}', "the number 1e999 is too large"),
        ('{"a": NaN}', "JSON has no number NaN"),
        ('{"a": -Infinity}', "JSON has no number -Infinity"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "the document is nested too deeply"),
    ],
)
def test_yaml_that_json_cannot_express_is_refused_with_its_place(text: str, reason: str) -> None:
    with pytest.raises(SpecError) as refusal:
        parse(text)
    assert str(refusal.value).startswith(reason)


@pytest.mark.parametrize("space", ["\n", " ", "\r\n\t", "\ufeff\n"])
def test_json_after_white_space_is_read_as_json(space: str) -> None:
    text = space + '{"a": "\\ud83d\\ude00", "b": 1}'
    assert parse(text.encode()) == {"a": "\U0001f600", "b": 1}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": b}', {"a": "b"}),
        ('{"a": }', {"a": None}),
        ('{"a": 1, # why\n b: [2,]}', {"a": 1, "b": [2]}),
    ],
)
def test_a_flow_mapping_of_yaml_that_begins_like_json_is_read_as_yaml(
    text: str, value: Json
) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"a": 1 "b": 2}', "not JSON: Expecting ',' delimiter: line 1 column 9"),
        (b'{"a": b, "a": c}', "the key 'a' is given twice in a mapping"),
        (b"a: [", "not YAML: while parsing a flow node did not find expected node content"),
        (b"\xff", "not UTF-8: 'utf-8' codec can't decode byte 0xff in position 0"),
        (b'{"a":' + b"[" * 100_000, "the document is nested too deeply"),
    ],
)
def test_a_refusal_names_the_form_that_the_document_does_not_have(
    content: bytes, reason: str
) -> None:
    with pytest.raises(SpecError) as refusal:
        parse(content)
    assert str(refusal.value).startswith(reason)


@pytest.mark.parametrize("step", ["write_bytes", "replace"])
def test_a_file_that_cannot_be_written_stays_and_leaves_no_other_file(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mesh.yaml"
    file.write_bytes(b"old")
    write_bytes = Path.write_bytes

    def fail(path: Path, content: Any) -> None:
        if step == "write_bytes":
            write_bytes(path, content[:1])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, step, fail)
        with pytest.raises(OSError, match="No space left"):
            write(file, b"new")

    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_the_name_of_an_unreadable_file_is_reported(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("a: 1\na: 2\n", "utf-8")
    with pytest.raises(SpecError, match=r"a\.yaml: the key 'a' is given twice in a mapping$"):
        read_document(file)


# --- aliases that multiply ------------------------------------------------------------------------


def multiplying(levels: int, times: int) -> str:
    lines = ["a0: &a0 [x]"]
    for level in range(1, levels + 1):
        aliases = ", ".join([f"*a{level - 1}"] * times)
        lines.append(f"a{level}: &a{level} [{aliases}]")
    return "\n".join(lines) + "\n"


MEASURE_IMPORT = """
import resource
import sys
import time
from pathlib import Path

import import_spec


def peak_memory_in_bytes():
    # On Linux, `ru_maxrss` is at least the memory of the process that started this one.
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if sys.platform == "darwin":
        return peak
    return peak * 1024


started = time.process_time()
exit_code = import_spec.main(sys.argv[1:])
seconds = time.process_time() - started
print(exit_code, seconds, peak_memory_in_bytes())
"""


def test_nine_levels_of_nine_aliases_are_refused_at_once_and_in_little_memory(
    tmp_path: Path,
) -> None:
    page = tmp_path / "page.md"
    page.write_text(newer_page(multiplying(9, 9)), "utf-8")
    command = [
        sys.executable,
        "-c",
        MEASURE_IMPORT,
        str(page),
        f"--output={tmp_path / 'mesh.yaml'}",
    ]
    scripts = str(Path(import_spec.__file__).parent)
    run = subprocess.run(
        command, env={"PYTHONPATH": scripts}, capture_output=True, text=True, check=True
    )
    exit_code, seconds, peak_memory = run.stdout.split()
    assert "with its aliases expanded, the document has more than 1,000,000 values" in run.stderr
    assert "line 1" in run.stderr
    assert exit_code == "1"
    assert float(seconds) < 1
    assert int(peak_memory) < 500 * 10**6


def test_a_key_that_is_given_twice_among_many_is_found_in_little_time() -> None:
    members = [f'"key {number}": 1' for number in range(100_000)]
    text = "{" + ", ".join([*members, members[-1]]) + "}"
    began_at = time.thread_time()

    with pytest.raises(SpecError, match="the key 'key 99999' is given twice"):
        parse(text)

    assert time.thread_time() - began_at < 5  # to count each key took minutes


@pytest.mark.parametrize(("limit", "is_refused"), [(35, False), (34, True)])
def test_the_limit_counts_the_values_of_expanded_aliases(
    limit: int, *, is_refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The mapping, 3 keys, and lists of 2, 1 + 3 x 2 and 1 + 3 x 7 values.
    monkeypatch.setattr(documents, "MAX_NODES", limit)
    text = multiplying(2, 3)
    if is_refused:
        with pytest.raises(SpecError, match="more than 34 values"):
            parse(text)
    else:
        assert parse(text) == {"a0": ["x"], "a1": [["x"]] * 3, "a2": [[["x"]] * 3] * 3}


def test_the_values_of_an_alias_are_not_shared() -> None:
    read: Any = parse("a: &a {b: [1]}\nc: *a\n")
    read["a"]["b"].append(2)
    assert read["c"] == {"b": [1]}


def test_yaml_is_read_with_the_types_of_json_and_without_anchors() -> None:
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


@given(st.text(st.characters(exclude_categories=["Cs"])))
@example("line\r\nline")
@example(" indented\n\n  more \n")
@example("1e3")
@example("\n\u2028\x07")
def test_a_description_reads_the_same_after_it_was_written(text: str) -> None:
    document = SPEC | {"paths": {"/x": {"get": OPERATION | {"description": text}}}}
    spec = imported(json.dumps(document), "*")
    assert spec["paths"]["/x"]["get"]["description"] == text
    text = import_spec.import_source(json.dumps(document).encode(), SETTINGS, ["*"])
    assert import_spec.import_source(text.encode(), SETTINGS, ["*"]) == text


def test_lines_are_short_and_text_of_several_lines_is_a_block() -> None:
    told = {"summary": "word " * 40 + ".", "description": "One.\n\n- Two.\n"}
    document = SPEC | {"paths": {"/x": {"get": OPERATION | told}}}
    spec = import_spec.import_source(json.dumps(document).encode(), SETTINGS, ["*"])
    assert max(map(len, spec.splitlines())) <= 100
    assert "      description: |\n        One.\n\n        - Two.\n" in spec


def test_no_anchors_are_written() -> None:
    twice = {"type": "object", "x-told": {"a": 1}}
    schema = {"properties": {"a": twice, "b": twice}}
    body = {"content": {"a/b": {"schema": schema}}}
    document = {"openapi": "3.0.1", "paths": {"/x": {"put": OPERATION | {"requestBody": body}}}}
    assert "&" not in import_spec.import_source(json.dumps(document).encode(), SETTINGS, ["*"])
    anchored = yaml.safe_dump(document)
    assert "&" in anchored
    assert "&" not in import_spec.import_source(anchored.encode(), SETTINGS, ["*"])


def test_half_of_a_surrogate_pair_is_refused_with_its_text() -> None:
    reason = r"the text 'a\\ud800' cannot be written as UTF-8: .* correct it in the source"
    with pytest.raises(SpecError, match=reason):
        dump({"enum": parse('{"a": "a\\ud800"}')})


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({"info": {"title": "a", "contact": "\ud800"}}, "$.info.contact"),
        ({"tags": ["a", ["b"], {"the name": "\ud800"}]}, '$.tags[2]["the name"]'),
        ({"paths": {"/x": {}, "/y": {"\ud800": 1}}}, '$.paths["/y"]'),
    ],
)
def test_half_of_a_surrogate_pair_is_refused_with_its_place(document: Any, place: str) -> None:
    with pytest.raises(SpecError) as refused:
        dump(document)
    assert str(refused.value).startswith(f"{place}: the text ")
