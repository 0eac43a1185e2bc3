"""What changes in the public names of a Python package, for those who call it.

griffe's own check sees neither annotations nor what is new. By the rule here, what callers give
may only become wider, what they get only narrower; constructors are called with keywords.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import griffe

# Whether callers give, and whether they get, what the types of a name say. For an attribute, the
# use of its class decides; what an operation may answer is for the wire to tell.
_ROLES = {
    "parameter": (True, False),
    "class": (True, False),
    "function": (False, True),
    "operation": (False, False),
}


class _Name(NamedTuple):
    kind: str
    says: str  # its types, its value or, of a class, the bases
    required: bool = False


_ABSENT = _Name("", "")


def compare_packages(old: Path, new: Path, package: str) -> Iterator[tuple[str, str, str]]:
    """Compare a package as it is in two folders: `breaking` or `additive`, where, a sentence."""
    before, after = (
        dict(_walk(griffe.load(package, search_paths=[folder], try_relative_path=False)))
        for folder in (old, new)
    )
    given = _mentioned({"parameter"}, before | after)
    gotten = _mentioned({"function", "operation"}, before | after)
    for path in sorted(before.keys() | after.keys()):
        holder = path[: max(path.rfind("."), path.rfind("("))]
        if (holder in before) == (holder in after):  # else it has come or gone with its holder
            owner = holder.rpartition(".")[2]
            roles = (owner in given or owner not in gotten, owner in gotten or owner not in given)
            was, now = before.get(path, _ABSENT), after.get(path, _ABSENT)
            for breaks, sentence in _compare(was, now, _ROLES.get(now.kind, roles)):
                yield "breaking" if breaks else "additive", path, sentence


def _compare(was: _Name, now: _Name, roles: tuple[bool, bool]) -> list[tuple[bool, str]]:
    is_given, is_gotten = roles
    before, after = (set(name.says.split(" | ")) for name in (was, now))
    is_wider, is_narrower = not before >= after, not before <= after
    is_other = (is_wider or is_narrower) and (is_given or is_gotten)
    breaks = (is_given and is_narrower) or (is_gotten and is_wider)
    needed = is_given and now.required
    rules = [  # the first that applies is told
        (now is _ABSENT, True, "is no longer there"),
        (was is _ABSENT, needed, "is new, and required" if now.required else "is new"),
        (was.kind != now.kind, True, f"is a {now.kind}, and was a {was.kind}"),
        (is_other, breaks, f"is `{now.says}`, and was `{was.says}`"),
        (now.required > was.required, needed, "is now required"),
        (now.required < was.required, False, "is no longer required"),
    ]
    return [(breaks, sentence) for applies, breaks, sentence in rules if applies][:1]


def _mentioned(kinds: set[str], names: Mapping[str, _Name]) -> set[str]:
    """Return the words in what names of some kinds say, and in the classes that these mention."""
    words: set[str] = set()
    while (
        more := {
            word
            for path, name in names.items()
            if name.kind in kinds or (name.kind == "attribute" and path.split(".")[-2] in words)
            for word in re.findall(r"\w+", name.says)
        }
        - words
    ):
        words |= more
    return words


def _walk(holder: Any) -> Iterator[tuple[str, _Name]]:
    """Yield the public names: 'package.module.function', 'package.module.function(parameter)'."""
    for member in (holder.all_members if holder.is_class else holder.members).values():
        is_inherited = holder.is_class and member.inherited
        if not member.is_public or (is_inherited and not member.target.parent.name.startswith("_")):
            continue  # what a public base passes on is told there
        if member.is_alias and not is_inherited:
            yield member.path, _Name("alias", "")
        elif member.is_attribute:
            says = str(member.annotation or member.value)
            yield member.path, _Name("attribute", says, member.value is None)
        elif member.is_function:
            kind = "operation" if ".api." in member.path else "function"
            yield member.path, _Name(kind, str(member.returns))
            for index, parameter in enumerate(member.parameters):
                # Where an argument may be given by its position, that is part of its name.
                place = "" if parameter.kind.value == "keyword-only" else f"{index}: "
                name = f"{member.path}({place}{parameter.name})"
                yield name, _Name("parameter", str(parameter.annotation), parameter.required)
        else:
            bases = " | ".join(map(str, member.bases)) if member.is_class else ""
            yield member.path, _Name(member.kind.value, bases)
            yield from _walk(member)
