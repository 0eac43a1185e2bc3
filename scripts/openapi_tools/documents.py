"""Reads and writes documents in YAML and JSON: one reader and one writer for all commands.

Text stays text on the way: a string that was read is written so that every reader of YAML, of
version 1.1 or 1.2, takes it for a string.
"""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from openapi_tools.json_values import JSON, JSONObject, SpecError
from openapi_tools.objects import json_path

MAX_NODES = 1_000_000
"""How many values a YAML document may have once its aliases are expanded.

GitHub's, one of the largest OpenAPI documents that are published, has 480,000.
"""

_NULL = "tag:yaml.org,2002:null"
_BOOLEAN = "tag:yaml.org,2002:bool"
_NUMBER = "tag:yaml.org,2002:float"
_STRING = "tag:yaml.org,2002:str"
_SEQUENCE = "tag:yaml.org,2002:seq"
_MAPPING = "tag:yaml.org,2002:map"
_MERGE = "tag:yaml.org,2002:merge"

# What an unquoted scalar means. All versions of YAML agree on these; a word on which they do not
# agree (`no`, `010`, `1_000`, `12:30`, a date) is a string.
_PLAIN_NULL = re.compile(r"(?:~|null|Null|NULL|)\Z")
_PLAIN_BOOLEAN = re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")
_PLAIN_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?\Z")

# Strings that some reader of YAML takes for a number when they are not quoted. PyYAML's writer
# quotes what YAML 1.1 reads as one, but not what only YAML 1.2 or a lenient reader does.
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
# The short spellings of a boolean in YAML 1.1, which PyYAML does not know.
_LOOKS_LIKE_A_BOOLEAN = re.compile(r"[yYnN]\Z")


# --- reading ------------------------------------------------------------------------------------


def read_document(path: Path) -> JSON:
    """Return the content of a YAML or JSON file."""
    try:
        return parse(path.read_bytes(), "not YAML")
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from None


def parse(text: str | bytes, refusal: str) -> JSON:
    """Return the content of a YAML or JSON text.

    Raise SpecError, with `refusal` before the reason, if the text cannot be read.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        # YAML's reader is slow, and does not know JSON's escapes of surrogate pairs.
        if re.match(r'\{\s*"', text):
            return _parse_json(text)
        return _parse_yaml(text)
    except RecursionError:
        raise SpecError(f"{refusal}: it is nested too deeply") from None
    except (ValueError, yaml.YAMLError) as error:
        reason = str(error).replace('in "<unicode string>", ', "at ")
        raise SpecError(f"{refusal}: {reason}") from None


def _parse_json(text: str) -> JSON:
    value: JSON = json.loads(
        text,
        object_pairs_hook=_unique_keys,
        parse_constant=_refuse_constant,
        parse_float=_finite_number,
    )
    return value


def _refuse_constant(word: str) -> float:
    raise SpecError(f"{word} is no number in JSON")


def _finite_number(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise SpecError(f"the number {digits:.60} is too large")
    return number


def _unique_keys(pairs: list[tuple[str, JSON]]) -> JSONObject:
    mapping: JSONObject = {}
    for key, value in pairs:
        if key in mapping:
            raise SpecError(f"the key '{key}' is given twice in a mapping")
        mapping[key] = value
    return mapping


class _Loader(yaml.CBaseLoader):
    """YAML with the types of JSON: the tag of a node tells which."""


_Loader.add_implicit_resolver(_NULL, _PLAIN_NULL, ["~", "n", "N", ""])
_Loader.add_implicit_resolver(_BOOLEAN, _PLAIN_BOOLEAN, list("tTfF"))
_Loader.add_implicit_resolver(_NUMBER, _PLAIN_NUMBER, list("-0123456789"))
_Loader.add_implicit_resolver(_MERGE, re.compile(r"<<\Z"), ["<"])


def _parse_yaml(text: str) -> JSON:
    root = yaml.compose(text, _Loader)
    if root is None:
        return None
    _check_size(root)
    return _read_node(root)


def _check_size(root: yaml.Node) -> None:
    """Refuse a document with too many values, before any alias is expanded."""
    sizes: dict[int, int] = {}  # by the identity of a node: an alias is the node that it names
    unfinished: set[int] = set()
    stack = [root]
    while stack:
        node = stack[-1]
        identity = id(node)
        if identity in sizes:
            stack.pop()
            continue
        children = list(_children(node))
        if identity not in unfinished:
            unfinished.add(identity)
            for child in children:
                if id(child) in unfinished:
                    raise SpecError(f"{_line(child)}: an anchor contains an alias of itself")
                if id(child) not in sizes:
                    stack.append(child)
            continue
        stack.pop()
        unfinished.remove(identity)
        sizes[identity] = 1 + sum(sizes[id(child)] for child in children)
        if sizes[identity] > MAX_NODES:
            raise SpecError(
                f"{_line(node)}: with its aliases expanded, the document has more than"
                f" {MAX_NODES:,} values"
            )


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _read_node(node: yaml.Node) -> JSON:
    """Return the value of a node. What an alias repeats becomes a value of its own each time."""
    if isinstance(node, yaml.MappingNode) and node.tag == _MAPPING:
        return _unique_keys([(_read_key(key), _read_node(value)) for key, value in node.value])
    if isinstance(node, yaml.SequenceNode) and node.tag == _SEQUENCE:
        return [_read_node(item) for item in node.value]
    if isinstance(node, yaml.ScalarNode):
        return _read_scalar(node)
    raise SpecError(f"{_line(node)}: the tag '{node.tag}' is not supported")


def _read_scalar(node: yaml.ScalarNode) -> JSON:
    word: str = node.value
    if node.tag in {_STRING, _MERGE}:
        return word
    if node.tag == _NULL and _PLAIN_NULL.match(word):
        return None
    if node.tag == _BOOLEAN and _PLAIN_BOOLEAN.match(word):
        return word.lower() == "true"
    if node.tag == _NUMBER and _PLAIN_NUMBER.match(word):
        number: int | float = json.loads(word, parse_float=_finite_number)
        return number
    raise SpecError(f"{_line(node)}: the tag '{node.tag}' is not supported for '{word:.60}'")


def _read_key(node: yaml.Node) -> str:
    """Return a key, which is always a string: `200`, `null` and `true` too."""
    if not isinstance(node, yaml.ScalarNode):
        raise SpecError(f"{_line(node)}: the key of a mapping must be a word")
    if node.tag == _MERGE:
        raise SpecError(f"{_line(node)}: the merge key '<<' is not supported: repeat the keys")
    return str(node.value)


def _line(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}"


# --- writing ------------------------------------------------------------------------------------


class _Dumper(yaml.CSafeDumper):
    """YAML that is pleasant to read, without anchors, and read alike by every reader."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 — PyYAML names the parameter
        return True


def _represent_string(dumper: yaml.CSafeDumper, string: str) -> yaml.ScalarNode:
    style = None
    if "\n" in string and "\r" not in string:
        style = "|"
    if _must_be_quoted(string):
        style = "'"
    return dumper.represent_scalar(_STRING, string, style)


def _must_be_quoted(string: str) -> bool:
    """Return True if some reader of YAML takes the unquoted string for something else.

    PyYAML's writer quotes more than that, among it all that YAML 1.1 takes for something else.
    """
    if _PLAIN_NULL.match(string) or _PLAIN_BOOLEAN.match(string):
        return True
    if _LOOKS_LIKE_A_BOOLEAN.match(string):
        return True
    return _LOOKS_LIKE_A_NUMBER.match(string) is not None


_Dumper.add_representer(str, _represent_string)


def dump(document: JSONObject, *, sort_keys: bool = True) -> str:
    """Return a document as YAML; raise SpecError for text that no UTF-8 file can hold."""
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
    """Return the JSONPath of a text, or of the mapping in which it is a key, or None."""
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
    """Write a file as a whole, or leave it as it was."""
    draft = path.with_name(f".{path.name}.new")
    draft.write_bytes(content)
    draft.replace(path)
