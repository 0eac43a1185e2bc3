"""Makes one HTTP call, within its deadline and its number of attempts.

It imports only `errors` from this project, so that another project can take it over. It knows
neither Mesh's operations nor the generated code.

A call of `engine.CallLoop` runs like this:

1. `retries` counts the call for its budget. A policy that paces a run of calls can make it wait.
2. `waiting` signs the request (it adds the API keys), `slots` gives the call its turn, and `pool`
   lends it a connection, new or idle.
3. The connection (`thread_connection` or `task_connection`) sends the request. `bodies` reads the
   answer within a limit, and `strict_json` decodes it.
4. `connection` finds out whether anything came in after the answer's last byte: only if nothing
   did, the pool keeps the connection for another call.
5. The operation judges the answer. If it is an error, or if none came (`failures`), `retries`
   decides whether another attempt follows. `attempts` reports each attempt to the caller's
   `on_attempt`. If a connection could not be opened because too many files are open
   (`descriptors`), nothing was sent and that was no attempt: the call waits for a connection that
   another call has.
6. `redaction` removes secrets from the text and the fields of the error that is raised in the end.
   The decorator `redaction.keeps_secrets_out_of_tracebacks` removes them from the frames of its
   traceback. Each public method that may raise needs it: `self` leads to the API keys.

Who ends a call at its deadline
    `engine.CallLoop` fixes the deadline when the call begins, and passes it on. No single watchdog
    enforces it: each wait ends by then, and `engine` turns the end into a `MeshTimeoutError` that
    names what the call was waiting for.

    - For a free connection: `slots` gives up.
    - For the network: the connection ends each connect, handshake, read and write itself
      (`Connection._time_left`). Through a transport of the caller's, `waiting` ends the exchange of
      a task; a thread has only httpx's timeouts there.
    - For the secret that a caller's function returns: `waiting` ends it in a task if the function
      is async. Any other function cannot be interrupted: the call ends when it comes back.
    - Between attempts: `retries` allows no pause beyond the deadline. If a pause would end later,
      the call ends at once, with the error of its last attempt in place of a `MeshTimeoutError`.
      But a policy that paces a whole run of calls can put the deadline off by as much as it makes
      the call wait (`seconds_to_hold` and `extends_deadline` in `retries`).

    The look-up of a host's name cannot be interrupted in a thread either. Nor can the caller's
    `on_attempt`.

What happens to the connection of a call that was cancelled or timed out
    It is closed, and its slot goes to the next call. (Behind a transport of the caller's,
    connections are the transport's own matter.) `engine.CallLoop` gives each connection back,
    whatever ended the attempt: an answer, an error, a cancelled task or Ctrl-C.
    `pool` keeps only a connection whose answer was read to its end, and closes any other, for the
    rest of an answer may still arrive on it. A call that is cancelled while it waits for a slot
    gives up its turn (`slots`).

What happens after a fork, and when an event loop ends
    `pool` keeps connections apart by process and event loop. A child of a fork opens its own. With
    its first call it closes its copies of its parent's idle ones, without a word to the server.
    When an event loop ends, its idle connections are closed. If it was closed without
    `shutdown_asyncgens`, they are closed when the pool next meets a new loop or is closed.
    uvloop's transports cannot be closed without their loop: it closes them itself when it ends, and
    a child keeps its copies.

How a connection is opened: `proxies` finds the proxy, `transports` puts httpx's transports on one
connection, `socks` asks a SOCKS proxy to connect, `tls` makes the context that verifies,
`tls_in_memory` is the TLS of tasks, and the TLS within the TLS to an `https://` proxy,
`tls_records` tells whether an incomplete record came in, and `forks` keeps a fork out of
handshakes.

`httpx_clients` makes this look like httpx to generated code. `checks` has the checks of settings.
"""
