"""Reads and writes documents in YAML and JSON: one reader and one writer for all commands.

The writer quotes strings such as '12:30' and 'no', so that every reader of YAML, of version 1.1 or
1.2, reads them as strings.
"""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import yaml

from openapi_tools.json_values import JSON, JSONObject, SpecError
from openapi_tools.objects import json_path

MAX_NODES = 1_000_000
"""How many values and keys a YAML document may have once its aliases are expanded.

GitHub's, one of the largest OpenAPI documents that are published, has 480,000.
"""

_NULL = "tag:yaml.org,2002:null"
_BOOLEAN = "tag:yaml.org,2002:bool"
_NUMBER = "tag:yaml.org,2002:float"  # integers get this tag, too: JSON has one type of number
_STRING = "tag:yaml.org,2002:str"
_SEQUENCE = "tag:yaml.org,2002:seq"
_MAPPING = "tag:yaml.org,2002:map"
_MERGE = "tag:yaml.org,2002:merge"

# What an unquoted scalar means. The numbers are those of JSON, such as `12` and `1e3`. Null and the
# booleans may also be written with capitals (`True`), and null as `~` or as nothing. Any other word
# is a string: one that versions of YAML read differently (`no`, `010`, `1_000`, `12:30`, a date),
# and also `+1`, `.5` and `.inf`, although all versions read them as numbers.
_PLAIN_NULL = re.compile(r"(?:~|null|Null|NULL|)\Z")
_PLAIN_BOOLEAN = re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")
_PLAIN_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?\Z")
_PLAIN_MERGE = re.compile(r"<<\Z")
# A scalar may be written with its tag (`!!bool true`). Its word must then be one that gets this tag
# by itself; with `!!str`, any word is allowed. JSON needs no other tags, so `!!int` is refused.
_PLAIN_WORDS = {
    _NULL: _PLAIN_NULL,
    _BOOLEAN: _PLAIN_BOOLEAN,
    _NUMBER: _PLAIN_NUMBER,
    _MERGE: _PLAIN_MERGE,
}

# Strings that some reader of YAML takes for a number when they are not quoted. PyYAML's writer
# quotes those that are numbers in YAML 1.1. It does not quote those that are numbers only in YAML
# 1.2 or for a lenient reader.
_LOOKS_LIKE_A_NUMBER = re.compile(
    r"""[-+]?(?:
        [0-9_]+ (?:\.[0-9_]*)? (?:[eE][-+]?[0-9_]*)?    # 12, 1_000, 1.5, 25921e05
        | \.[0-9_]+ (?:[eE][-+]?[0-9_]*)?               # .5, .5e3
        | 0[bB][01_]* | 0[oO][0-7_]* | 0[xX][0-9a-fA-F_]*
        | [0-9_]+ (?::[0-9_]+)+ (?:\.[0-9_]*)?          # 12:30:00, which is base 60 in YAML 1.1
        | \.(?:inf|Inf|INF|nan|NaN|NAN)
    )\Z""",
    re.VERBOSE,
)
# The short spellings of a boolean in YAML 1.1. PyYAML does not know them, nor quote them.
_LOOKS_LIKE_A_BOOLEAN = re.compile(r"[yYnN]\Z")
# Characters that break a line in YAML 1.1, but not in YAML 1.2. PyYAML's writer indents the text
# after such a break, and a reader of YAML 1.2 takes these spaces for a part of the text.
_BREAK_OF_YAML_1_1 = re.compile("[\x85\u2028\u2029]")


# --- reading ------------------------------------------------------------------------------------


def read_document(path: Path) -> JSON:
    """Return the content of a YAML or JSON file.

    Raise OSError, or SpecError with the path, if it cannot be read.
    """
    try:
        return parse(path.read_bytes())
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from None


def parse(text: str | bytes) -> JSON:
    """Return the content of a YAML or JSON text, which is in UTF-8 if it is given as bytes.

    Raise SpecError if the text is neither YAML nor JSON, uses a feature of YAML that JSON cannot
    express, repeats a key, is nested too deeply, or is too large.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        if begins_like_json(text):
            return _parse_json_or_yaml(text)
        return _parse_yaml(text)
    except RecursionError:
        raise SpecError("the document is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise SpecError(f"not UTF-8: {error}") from None
    except (ValueError, yaml.YAMLError) as error:
        reason = str(error).replace('in "<unicode string>", ', "at ")
        raise SpecError(f"not YAML: {reason}") from None


def begins_like_json(text: str) -> bool:
    """Return True if a text begins like a JSON object.

    It may still be a flow mapping of YAML, such as `{"a": b}`.
    """
    return re.match(r'\s*\{\s*"', text) is not None


def _parse_json_or_yaml(text: str) -> JSON:
    """Return the content of a text that begins like JSON.

    A JSON document is also YAML, but it is read as JSON first: the reader of YAML is slow, and does
    not know how JSON escapes surrogate pairs.
    """
    try:
        return _parse_json(text)
    except ValueError as error:
        reason = str(error)
    try:
        return _parse_yaml(text)
    except (ValueError, yaml.YAMLError):
        # The author most likely meant JSON, so the reason why it is not JSON helps more.
        raise SpecError(f"not JSON: {reason}") from None


def _parse_json(text: str) -> JSON:
    value: JSON = json.loads(
        text,
        object_pairs_hook=_build_object,
        parse_constant=_refuse_constant,
        parse_float=_parse_finite_number,
    )
    return value


def _refuse_constant(word: str) -> NoReturn:
    """Raise SpecError for NaN and Infinity, which Python's reader of JSON would accept."""
    raise SpecError(f"JSON has no number {word}")


def _parse_finite_number(digits: str) -> float:
    """Return a number with a fraction or an exponent; raise SpecError if it is too large."""
    number = float(digits)
    if math.isinf(number):
        raise SpecError(f"the number {digits:.60} is too large")
    return number


def _build_object(pairs: list[tuple[str, JSON]]) -> JSONObject:
    """Return an object with these keys and values; raise SpecError if a key is repeated."""
    mapping: JSONObject = {}
    for key, value in pairs:
        if key in mapping:
            raise SpecError(f"the key '{key}' is given twice in a mapping")
        mapping[key] = value
    return mapping


class _Loader(yaml.CBaseLoader):
    """Reads a YAML document into nodes, each with a tag that names its type.

    An unquoted scalar gets the tag of a type of JSON, or that of a merge key. A tag that is written
    in the document stays, whatever it is.
    """


# The arguments are a tag, the words that get it, and the first characters of these words.
_Loader.add_implicit_resolver(_NULL, _PLAIN_NULL, ["~", "n", "N", ""])
_Loader.add_implicit_resolver(_BOOLEAN, _PLAIN_BOOLEAN, list("tTfF"))
_Loader.add_implicit_resolver(_NUMBER, _PLAIN_NUMBER, list("-0123456789"))
_Loader.add_implicit_resolver(_MERGE, _PLAIN_MERGE, ["<"])


def _parse_yaml(text: str) -> JSON:
    root = yaml.compose(text, _Loader)
    if root is None:
        return None
    # An alias is the same node as the one that it names. Nine levels of nine aliases are a few
    # hundred bytes and hundreds of millions of values, so they are counted before they are read.
    _count_values(root, counts={}, ancestors=set())
    return _read_node(root)


def _count_values(node: yaml.Node, counts: dict[int, int], ancestors: set[int]) -> int:
    """Return how many values a node has once its aliases are expanded.

    `counts` holds the counts of nodes that were counted before, and `ancestors` the nodes around
    this one, both by the identity of the node. The count of a node is computed once, and reused
    wherever an alias repeats the node.

    Raise SpecError if there are more than MAX_NODES, or if a node contains itself.
    """
    identity = id(node)
    if identity in counts:
        return counts[identity]
    if identity in ancestors:
        raise SpecError(f"{_line(node)}: an anchor contains an alias of itself")
    ancestors.add(identity)
    count = 1
    for child in _children(node):
        count += _count_values(child, counts, ancestors)
    ancestors.remove(identity)
    if count > MAX_NODES:
        raise SpecError(
            f"{_line(node)}: with its aliases expanded, the document has more than"
            f" {MAX_NODES:,} values"
        )
    counts[identity] = count
    return count


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    """Yield the keys and values of a mapping, or the items of a sequence."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _read_node(node: yaml.Node) -> JSON:
    """Return the value of a node. Each alias gives a new value, so that no two places share one.

    Raise SpecError if the node has a tag that JSON cannot express.
    """
    if isinstance(node, yaml.MappingNode) and node.tag == _MAPPING:
        return _build_object([(_read_key(key), _read_node(value)) for key, value in node.value])
    if isinstance(node, yaml.SequenceNode) and node.tag == _SEQUENCE:
        return [_read_node(item) for item in node.value]
    if isinstance(node, yaml.ScalarNode):
        return _read_scalar(node)
    raise SpecError(f"{_line(node)}: the tag '{node.tag}' is not supported")


def _read_scalar(node: yaml.ScalarNode) -> JSON:
    """Return a scalar as a value of the type that its tag names.

    Raise SpecError if JSON has no such type, or if the word is not of this type.
    """
    _check_tag(node)
    word: str = node.value
    if node.tag == _NULL:
        return None
    if node.tag == _BOOLEAN:
        return word.lower() == "true"
    if node.tag == _NUMBER:
        number: int | float = json.loads(word, parse_float=_parse_finite_number)
        return number
    return word


def _read_key(node: yaml.Node) -> str:
    """Return a key of a mapping, always as a string: `200`, `null` and `true` are strings too.

    Raise SpecError for a merge key, for a key that is a mapping or a sequence, and for a key with a
    tag that JSON cannot express.
    """
    if not isinstance(node, yaml.ScalarNode):
        raise SpecError(f"{_line(node)}: the key of a mapping must be a word")
    if node.tag == _MERGE:
        raise SpecError(f"{_line(node)}: the merge key '<<' is not supported: repeat the keys")
    _check_tag(node)
    return str(node.value)


def _check_tag(node: yaml.ScalarNode) -> None:
    """Raise SpecError if the tag of a scalar is not supported, or does not fit its word."""
    if node.tag == _STRING:
        return
    word: str = node.value
    if node.tag not in _PLAIN_WORDS or not _PLAIN_WORDS[node.tag].match(word):
        raise SpecError(f"{_line(node)}: the tag '{node.tag}' is not supported for '{word:.60}'")


def _line(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}"


# --- writing ------------------------------------------------------------------------------------


class _Dumper(yaml.CSafeDumper):
    """Writes YAML without anchors, in which every reader of YAML finds the same values."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 — PyYAML names the parameter
        return True


def _represent_string(dumper: yaml.CSafeDumper, string: str) -> yaml.ScalarNode:
    """Write a string in quotes, as a block of lines, or as PyYAML chooses."""
    style = None
    if _BREAK_OF_YAML_1_1.search(string):
        style = '"'  # only in double quotes can the break be escaped
    elif _must_be_quoted(string):
        style = "'"
    elif "\n" in string and "\r" not in string:  # a block cannot hold a carriage return
        style = "|"
    return dumper.represent_scalar(_STRING, string, style)


def _must_be_quoted(string: str) -> bool:
    """Return True if some reader of YAML takes the unquoted string for something else.

    This need not cover the strings that PyYAML's writer quotes by itself, such as dates.
    """
    if _PLAIN_NULL.match(string) or _PLAIN_BOOLEAN.match(string):
        return True
    if _LOOKS_LIKE_A_BOOLEAN.match(string):
        return True
    return _LOOKS_LIKE_A_NUMBER.match(string) is not None


_Dumper.add_representer(str, _represent_string)


def dump(document: JSONObject, *, sort_keys: bool = True) -> str:
    """Return a document as YAML.

    Raise SpecError, with the place of the text, if a text cannot be written as UTF-8.
    """
    try:
        written: str = yaml.dump(
            document, Dumper=_Dumper, allow_unicode=True, width=90, sort_keys=sort_keys
        )
    except UnicodeEncodeError as error:
        place = _find_text(document, error.object, "$")
        raise SpecError(
            f"{place}: the text {error.object!a:.60} cannot be written as UTF-8: {error.reason};"
            " correct it in the source"
        ) from None
    return written


def _find_text(value: JSON, text: str, place: str) -> str | None:
    """Return the JSONPath of a text, or of the mapping that has it as a key.

    `place` is the JSONPath of `value`. Return None if the text is not in `value`.
    """
    if value == text:
        return place
    members: dict[str, JSON] = {}
    if isinstance(value, dict):
        if text in value:
            return place
        members = {json_path(place, key): member for key, member in value.items()}
    elif isinstance(value, list):
        members = {f"{place}[{index}]": item for index, item in enumerate(value)}
    for here, member in members.items():
        found = _find_text(member, text, here)
        if found is not None:
            return found
    return None


def write(path: Path, content: bytes) -> None:
    """Write a file as a whole, or raise OSError and leave it as it was."""
    draft = path.with_name(f".{path.name}.new")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    finally:
        # It is still there only if one of the two steps failed.
        draft.unlink(missing_ok=True)
