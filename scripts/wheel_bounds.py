"""Tests the wheel's lower bounds on dependencies, those of its extras included: `make test-wheel`.

    python scripts/wheel_bounds.py pin WHEEL
    python scripts/wheel_bounds.py check WHEEL SITE_PACKAGES

`pin` prints a constraints file for pip that names the lower bound of every direct dependency.
`check` compares what was installed with the same bounds, and fails where a version differs.
"""

from __future__ import annotations

import argparse
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PROJECT = "mesh-facade"


class UnboundedError(Exception):
    """A dependency is declared without a lower bound."""


def find_distribution(name: str, location: Path) -> metadata.Distribution | None:
    """Return the metadata of a distribution in a wheel or a site-packages folder."""
    distributions = metadata.distributions(name=name, path=[str(location)])
    return next(iter(distributions), None)


def direct_requirements(wheel: Path) -> list[Requirement]:
    """Return the requirements of the wheel and its extras that apply in this environment."""
    distribution = find_distribution(PROJECT, wheel)
    if distribution is None:
        raise FileNotFoundError(
            f"{wheel}: no metadata of {PROJECT}: is it a wheel of this project?"
        )
    extras = ["", *(distribution.metadata.get_all("Provides-Extra") or [])]
    requirements: list[Requirement] = []
    for line in distribution.requires or []:
        requirement = Requirement(line)
        if canonicalize_name(requirement.name) == PROJECT:
            continue  # an extra that includes another one
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
            requirements.append(requirement)
    return requirements


def lower_bound(requirement: Requirement) -> Version:
    """Return the version that a requirement names with `>=`."""
    for specifier in requirement.specifier:
        if specifier.operator == ">=":
            return Version(specifier.version)
    raise UnboundedError(f"{requirement}: no lower bound; add one (>=) in pyproject.toml")


def lower_bounds(requirements: list[Requirement]) -> dict[str, Version]:
    """Return the lower bound of each distribution; the highest where it is required twice."""
    bounds: dict[str, Version] = {}
    for requirement in requirements:
        name = canonicalize_name(requirement.name)
        bound = lower_bound(requirement)
        if name not in bounds or bounds[name] < bound:
            bounds[name] = bound
    return bounds


def find_differences(bounds: dict[str, Version], site_packages: Path) -> list[str]:
    """Return a line for each distribution that is not installed at its lower bound."""
    differences: list[str] = []
    for name, bound in bounds.items():
        installed = find_distribution(name, site_packages)
        if installed is None:
            differences.append(f"{name}: not installed, its lower bound is {bound}")
        elif Version(installed.version) != bound:
            differences.append(
                f"{name}: {installed.version} is installed, not its lower bound {bound}"
            )
    return differences


def main(arguments: list[str] | None = None) -> int:
    """Print the constraints, or check what was installed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    pin = commands.add_parser("pin", help="print a constraints file for pip")
    pin.add_argument("wheel", type=Path)
    check = commands.add_parser("check", help="fail unless each lower bound is installed")
    check.add_argument("wheel", type=Path)
    check.add_argument("site_packages", type=Path)
    parsed = parser.parse_args(arguments)

    try:
        bounds = lower_bounds(direct_requirements(parsed.wheel))
    except (FileNotFoundError, UnboundedError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if parsed.command == "pin":
        for name, bound in bounds.items():
            print(f"{name}=={bound}")
        return 0
    differences = find_differences(bounds, parsed.site_packages)
    for difference in differences:
        print(f"error: {difference}", file=sys.stderr)
    if differences:
        return 1
    installed = ", ".join(f"{name} {bound}" for name, bound in bounds.items())
    print(f"At their lower bounds: {installed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
