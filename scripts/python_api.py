"""What changes in the public names of a Python package, for those who call it.

griffe reads the packages. Its own check sees neither annotations nor what is new, and knows no
constructors of attrs classes; so the names are compared here, by one rule: what callers give may
only become wider, what they get only narrower. Constructors are called with keywords.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import griffe
from attrs import field, frozen

# Whether callers give, and whether they get, what the types of a name say. For an attribute, the
# use of its class decides; what an operation may answer is for the wire to tell.
_ROLES = {
    "parameter": (True, False),
    "class": (True, False),
    "function": (False, True),
    "operation": (False, False),
}


def _members(annotation: object) -> frozenset[str]:
    return frozenset(str(annotation).split(" | "))


@frozen
class _Name:
    kind: str
    types: frozenset[str] = field(converter=_members)  # or its value, or the bases of a class
    required: bool = False

    def __str__(self) -> str:
        return " | ".join(sorted(self.types))


def compare_packages(old: Path, new: Path, package: str) -> Iterator[tuple[bool, str, str]]:
    """Compare a package as it is in two folders: what breaks callers or not, where, a sentence."""
    before, after = _read(old, package), _read(new, package)
    given = _mentioned({"parameter"}, before | after)
    gotten = _mentioned({"function", "operation"}, before | after)
    for path in sorted(before.keys() | after.keys()):
        holder = path[: max(path.rfind("."), path.rfind("("))]
        if (holder in before) == (holder in after):  # else it has come or gone with its holder
            owner = holder.rpartition(".")[2]
            roles = (owner in given or owner not in gotten, owner in gotten or owner not in given)
            for breaks, sentence in _compare(before.get(path), after.get(path), roles):
                yield breaks, path, sentence


def _compare(
    was: _Name | None, now: _Name | None, roles: tuple[bool, bool]
) -> Iterator[tuple[bool, str]]:
    if now is None:
        yield True, "is no longer there"
        return
    is_given, is_gotten = _ROLES.get(now.kind, roles)
    if was is None:
        yield is_given and now.required, "is new, and required" if now.required else "is new"
    elif was.kind != now.kind:
        yield True, f"is a {now.kind}, and was a {was.kind}"
    elif was.types != now.types and (is_given or is_gotten):
        fits = (not is_given or was.types <= now.types) and (
            not is_gotten or was.types >= now.types
        )
        yield not fits, f"is `{now}`, and was `{was}`"
    elif was.required != now.required:
        yield is_given and now.required, f"is {'now' if now.required else 'no longer'} required"


def _mentioned(kinds: set[str], names: Mapping[str, _Name]) -> set[str]:
    """Return the words in the types of names of some kinds, and of the classes that these name."""
    words: set[str] = set()
    while (
        more := {
            word
            for path, name in names.items()
            if name.kind in kinds or (name.kind == "attribute" and path.split(".")[-2] in words)
            for word in re.findall(r"\w+", str(name))
        }
        - words
    ):
        words |= more
    return words


def _read(folder: Path, package: str) -> dict[str, _Name]:
    return dict(_walk(griffe.load(package, search_paths=[folder], try_relative_path=False)))


def _walk(holder: Any) -> Iterator[tuple[str, _Name]]:
    """Yield the public names: 'package.module.function', 'package.module.function(parameter)'."""
    for member in (holder.all_members if holder.is_class else holder.members).values():
        is_inherited = holder.is_class and member.inherited
        if not member.is_public or (is_inherited and not member.target.parent.name.startswith("_")):
            continue  # what a public base passes on is told there
        if member.is_alias and not is_inherited:
            yield member.path, _Name("alias", "")
        elif member.is_attribute:
            says = member.annotation or member.value
            yield member.path, _Name("attribute", says, member.value is None)
        elif member.is_function:
            yield (
                member.path,
                _Name("operation" if ".api." in member.path else "function", member.returns),
            )
            for index, parameter in enumerate(member.parameters):
                # Where an argument may be given by its position, that is part of its name.
                place = "" if parameter.kind.value == "keyword-only" else f"{index}: "
                name = f"{member.path}({place}{parameter.name})"
                yield name, _Name("parameter", parameter.annotation, parameter.required)
        else:
            bases = " | ".join(map(str, member.bases)) if member.is_class else ""
            yield member.path, _Name(member.kind.value, bases)
            yield from _walk(member)
