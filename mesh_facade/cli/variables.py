"""The variables of the API keys: whether they are set, and their names in error messages."""

import os
import re

from mesh_facade import MeshConfigurationError

_KEY_VARIABLES = ("MESH_CLIENT_ID", "MESH_CLIENT_SECRET")
_KEY_ARGUMENTS = re.compile(r"\b(client_id|client_secret)\b")


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


def name_key_variables(message: str) -> str:
    """Return an error message of `MeshClient` with the variables of the API keys for its arguments.

    The message names the arguments client_id and client_secret. But no command has an option for
    them: their values come from MESH_CLIENT_ID and MESH_CLIENT_SECRET.
    """
    return _KEY_ARGUMENTS.sub(lambda match: f"MESH_{match.group().upper()}", message)
