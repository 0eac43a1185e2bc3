"""The command line `mesh-balance`: balances for people and for programs. Needs the extra `cli`.

`commands` has the commands and their options. Each other module has one subject:

- `accounts` reads the accounts of `bulk`, and `results` writes their outcomes;
- `bulk` runs from the one to the other, with a progress bar;
- `resuming` compares the accounts with the outcomes of an earlier run, by their `fingerprints`;
- `summary` counts, and says at the end of a run what happened and what to do; `failures` has the
  causes that it counts;
- `doctor` checks the set-up of this machine;
- `exit_codes` decides how a command ends, and `terminal` writes for people;
- `broker_names` suggests a broker in place of a misspelt one, and `variables` names the environment
  variables in error messages.

Keys and environment come from the same variables as in `MeshClient`. A secret is never an argument,
because other users of a machine can read those.
"""

import importlib.util
import sys

if importlib.util.find_spec("click") is None:
    sys.exit("error: mesh-balance needs more packages: pip install 'mesh-facade[cli]'")

from mesh_facade.cli.commands import main

__all__ = ["main"]
