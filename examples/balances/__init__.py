"""An example application: balances of linked accounts, read through Mesh, on a page and as JSON."""
