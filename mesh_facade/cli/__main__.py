"""Runs `mesh-balance` as `python -m mesh_facade.cli`.

Python has imported all of `mesh_facade` before this line. So unlike `mesh_balance`, this module
cannot handle Ctrl-C during the imports.
"""

from mesh_facade.cli import main

main()
