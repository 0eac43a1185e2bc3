"""Runs `mesh-balance` as `python -m mesh_facade.cli`."""

from mesh_facade.cli import main

main()
