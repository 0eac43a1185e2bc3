"""Names environment variables in error messages: no command has an argument for their values."""

import os
import re

from mesh_facade import MeshConfigurationError

_KEY_VARIABLES = ("MESH_CLIENT_ID", "MESH_CLIENT_SECRET")
_ARGUMENTS = re.compile(r"\b(client_id|client_secret)\b")


def check_api_keys_are_set() -> None:
    """Raise MeshConfigurationError, naming every variable of the API keys that is missing."""
    missing = [name for name in _KEY_VARIABLES if not os.environ.get(name)]
    if not missing:
        return
    verb = "is"
    if len(missing) > 1:
        verb = "are"
    raise MeshConfigurationError(
        f"{' and '.join(missing)} {verb} missing: set your API keys in the environment"
    )


def replace_arguments_by_variables(message: str) -> str:
    """Return an error message of `MeshClient` with variables in place of its arguments.

    The command line passes none of these arguments, so their values come from the variables.
    """
    return _ARGUMENTS.sub(lambda match: f"MESH_{match.group().upper()}", message)
