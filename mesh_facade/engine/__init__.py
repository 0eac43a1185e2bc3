"""Makes one HTTP call within its promises; imports nothing of Mesh and no generated code.

A call of `engine.Caller` runs like this:

1. `retries` says whether an attempt may begin, and counts the call against a budget.
2. `waiting` signs the request, and `pool` lends a connection, new or kept.
3. The connection (`thread_connection` or `task_connection`) sends the request; each of its waits
   ends at the call's deadline. `bodies` reads the answer within a limit, and `strict_json` decodes
   it.
4. `connection` finds out whether the answer's end was the end of what came in: only then does the
   pool keep the connection.
5. The operation judges the answer. If it is an error, or if none came (`failures`), `retries`
   decides whether another attempt follows, and `attempts` reports it. If none came because too many
   files are open (`descriptors`), that was no attempt: the call waits for another's connection.
6. `redaction` removes secrets from the error that is raised in the end.

How a connection is opened: `proxies` finds the proxy, `transports` puts httpx's transports on one
connection, `socks` asks a SOCKS proxy to connect, `tls` makes the context that verifies,
`nested_tls` is TLS within the TLS to an `https://` proxy, and `forks` keeps a fork out of
handshakes.

`httpx_clients` makes this look like httpx to generated code. Of this project, this package imports
`errors` and nothing else, so that it can be lifted into another one.
"""
