"""Compares the public names of two versions of a Python package, for `make changes`.

griffe's own check sees neither annotations nor new names. The rule here: a type that callers give
may only become wider, a type that they get only narrower. Constructors are called with keywords.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import griffe
from attrs import frozen


class Change(NamedTuple):
    """A change of one public name: `breaking` or `additive`, where, and a sentence."""

    kind: str
    place: str
    sentence: str


@frozen
class _Role:
    """Whether callers give a value of a type, and whether they get one."""

    is_given: bool
    is_gotten: bool


# An attribute has the role of its class. The answer of an operation is left to the wire view.
_ROLES = {
    "parameter": _Role(is_given=True, is_gotten=False),
    "class": _Role(is_given=True, is_gotten=False),
    "function": _Role(is_given=False, is_gotten=True),
    "operation": _Role(is_given=False, is_gotten=False),
}


@frozen
class _Name:
    """A public name: its kind, and its types, its value or, of a class, its bases."""

    kind: str
    types: str
    is_required: bool = False

    def alternatives(self) -> set[str]:
        """Return the members of a union, or the one type."""
        return set(self.types.split(" | "))


def compare_packages(old: Path, new: Path, package: str) -> Iterator[Change]:
    """Yield what changed in a package from the folder `old` to the folder `new`."""
    before = _load_names(old, package)
    after = _load_names(new, package)
    given = _mentioned_words({"parameter"}, before | after)
    gotten = _mentioned_words({"function", "operation"}, before | after)
    for path in sorted(before.keys() | after.keys()):
        holder = path[: max(path.rfind("."), path.rfind("("))]
        if (holder in before) != (holder in after):
            continue  # its holder has come or gone, which is reported once
        owner = holder.rpartition(".")[2]
        role = _Role(
            is_given=owner in given or owner not in gotten,
            is_gotten=owner in gotten or owner not in given,
        )
        change = _compare_names(path, before.get(path), after.get(path), role)
        if change:
            yield change


def _compare_names(path: str, was: _Name | None, now: _Name | None, role: _Role) -> Change | None:
    """Return the change of one name, or None if nothing that callers notice changed."""
    if now is None:
        return _change(path, "is no longer there", breaks=True)
    role = _ROLES.get(now.kind, role)
    if was is None:
        sentence = "is new, and required" if now.is_required else "is new"
        return _change(path, sentence, breaks=role.is_given and now.is_required)
    if was.kind != now.kind:
        sentence = f"is {_with_article(now.kind)}, and was {_with_article(was.kind)}"
        return _change(path, sentence, breaks=True)
    return _compare_types(path, was, now, role)


def _with_article(kind: str) -> str:
    if kind[0] in "aeiou":
        return f"an {kind}"
    return f"a {kind}"


def _compare_types(path: str, was: _Name, now: _Name, role: _Role) -> Change | None:
    """Return how the types of a name changed, or whether it is required, or None."""
    is_wider = not was.alternatives() >= now.alternatives()
    is_narrower = not was.alternatives() <= now.alternatives()
    if (is_wider or is_narrower) and (role.is_given or role.is_gotten):
        breaks = (role.is_given and is_narrower) or (role.is_gotten and is_wider)
        return _change(path, f"is `{now.types}`, and was `{was.types}`", breaks=breaks)
    if now.is_required and not was.is_required:
        return _change(path, "is now required", breaks=role.is_given)
    if was.is_required and not now.is_required:
        return _change(path, "is no longer required", breaks=False)
    return None


def _change(path: str, sentence: str, *, breaks: bool) -> Change:
    return Change("breaking" if breaks else "additive", path, sentence)


def _mentioned_words(kinds: set[str], names: Mapping[str, _Name]) -> set[str]:
    """Return the words in the types of some kinds of names, and of the classes named there."""
    words: set[str] = set()
    while True:
        more: set[str] = set()
        for path, name in names.items():
            is_attribute_of_mentioned = name.kind == "attribute" and path.split(".")[-2] in words
            if name.kind in kinds or is_attribute_of_mentioned:
                more.update(re.findall(r"\w+", name.types))
        if more <= words:
            return words
        words |= more


def _load_names(folder: Path, package: str) -> dict[str, _Name]:
    """Return the public names of a package, without importing it."""
    module = griffe.load(package, search_paths=[folder], try_relative_path=False)
    return dict(_walk(module))


def _walk(holder: griffe.Object | griffe.Alias) -> Iterator[tuple[str, _Name]]:
    """Yield the public names: 'package.module.function', 'package.module.function(parameter)'."""
    members = holder.all_members if holder.is_class else holder.members
    for member in members.values():
        if not member.is_public:
            continue
        if not isinstance(member, griffe.Alias):
            yield from _walk_definition(member.path, member)
        elif not (holder.is_class and member.inherited):
            yield member.path, _Name("alias", "")
        elif _is_from_private_base(member):  # a public base is walked itself
            yield from _walk_definition(member.path, member.final_target)


def _walk_definition(
    path: str, definition: griffe.Object | griffe.Alias
) -> Iterator[tuple[str, _Name]]:
    """Yield a definition under the path by which callers reach it, and the names inside it."""
    if isinstance(definition, griffe.Attribute):
        types = str(definition.annotation or definition.value)
        yield path, _Name("attribute", types, is_required=definition.value is None)
    elif isinstance(definition, griffe.Function):
        yield from _walk_function(path, definition)
    elif isinstance(definition, griffe.Class):
        yield path, _Name("class", " | ".join(str(base) for base in definition.bases))
        yield from _walk(definition)
    else:
        yield path, _Name(definition.kind.value, "")
        yield from _walk(definition)


def _walk_function(path: str, function: griffe.Function) -> Iterator[tuple[str, _Name]]:
    """Yield a function and its parameters."""
    kind = "operation" if ".api." in path else "function"
    yield path, _Name(kind, str(function.returns))
    for index, parameter in enumerate(function.parameters):
        # Where an argument may be given by its position, that is part of its name.
        place = "" if parameter.kind is griffe.ParameterKind.keyword_only else f"{index}: "
        yield (
            f"{path}({place}{parameter.name})",
            _Name("parameter", str(parameter.annotation), is_required=parameter.required),
        )


def _is_from_private_base(member: griffe.Alias) -> bool:
    base = member.final_target.parent
    return base is not None and base.name.startswith("_")
