"""What the scripts share: their error, and documents in YAML or JSON."""

import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]

_JSON_SCALAR = re.compile(r"(null|true|false|-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?)?")


class SpecError(Exception):
    """What cannot be read or does not fit: where it is, and why, in one line."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


def fields(
    value: Any, place: str, needed: Collection[str] = (), optional: Collection[str] = ()
) -> Json:
    """Return a copy of a mapping; refuse anything else, and keys that are missing or not known."""
    if not isinstance(value, dict):
        raise SpecError(f"{place}: a mapping is expected, not {value!r:.60}")
    known = {*needed, *optional} or value.keys()
    problems = [f"'{key}' is missing" for key in needed if key not in value]
    problems += [f"'{key}' is not known here" for key in value if key not in known]
    if problems:
        raise SpecError(f"{place}: {problems[0]}")
    return dict(value)


def items(value: Any, place: str) -> list[Json]:
    """Return copies of the mappings in a list; refuse anything else."""
    if not isinstance(value, list):
        raise SpecError(f"{place}: a list is expected, not {value!r:.60}")
    return [fields(item, place) for item in value]


def read_document(path: Path) -> Any:
    """Return what a file says."""
    return parse(path.read_bytes(), f"{path}: not YAML")


def parse(text: str | bytes, refusal: str) -> Any:
    """Return what a text says: a date is text, and what an anchor repeats becomes several nodes."""
    try:
        text = text if isinstance(text, str) else text.decode("utf-8-sig")
        if re.match(r'\{\s*"', text):  # YAML does not know JSON's escapes of surrogate pairs
            return json.loads(text, object_pairs_hook=_mapping)
        return _value(yaml.compose(text, yaml.CBaseLoader))
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        reason = str(error).replace('in "<unicode string>", ', "at ")
        raise SpecError(f"{refusal}: {reason}") from None


def _value(node: yaml.Node | None) -> Any:
    if isinstance(node, yaml.MappingNode):
        return _mapping([(str(key.value), _value(item)) for key, item in node.value])
    if isinstance(node, yaml.SequenceNode):
        return [_value(item) for item in node.value]
    if isinstance(node, yaml.ScalarNode) and not node.style and _JSON_SCALAR.fullmatch(node.value):
        return json.loads(node.value or "null")
    return node and node.value


def _mapping(pairs: list[tuple[str, Any]]) -> Json:
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        raise SpecError(f"the key '{max(keys, key=keys.count)}' is given twice in a mapping")
    return dict(pairs)


class _Dumper(yaml.CSafeDumper):
    """YAML for reading: text of several lines stands in several lines."""


def _represent(dumper: yaml.CSafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text and "\r" not in text else None
    style = "'" if _JSON_SCALAR.fullmatch(text) else style
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _represent)


def dump(document: Json) -> str:
    """Return YAML without anchors, its mappings sorted."""
    tree = json.loads(json.dumps(document))
    return yaml.dump(tree, Dumper=_Dumper, allow_unicode=True, width=90)


def write(path: Path, content: bytes) -> None:
    """Write a file as a whole, or leave it as it was."""
    draft = path.with_name(f".{path.name}.new")
    draft.write_bytes(content)
    draft.replace(path)
