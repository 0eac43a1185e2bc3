"""Imports a package with all of its modules: `python -I import_all.py PACKAGE [USER]`.

Both arguments are folders of packages. USER, a package that builds on PACKAGE, is imported as well,
but not all of its modules: some may need extras. An exception ends the process with a traceback.
"""

import importlib
import pkgutil
import sys
from pathlib import Path


def main(arguments: list[str]) -> None:
    """Import the package, and the one that builds on it."""
    package, *users = [Path(argument) for argument in arguments]
    for user in users:
        sys.path.insert(0, str(user.parent))
    sys.path.insert(0, str(package.parent))
    importlib.import_module(package.name)
    for module in pkgutil.walk_packages([str(package)], prefix=f"{package.name}."):
        importlib.import_module(module.name)
    for user in users:
        importlib.import_module(user.name)


if __name__ == "__main__":
    main(sys.argv[1:])
