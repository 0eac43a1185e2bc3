"""Puts httpx2 in httpx's place, and httpcore2 in httpcore's, in every Python process.

`make test-httpx2` has this folder on PYTHONPATH, where Python looks for a module of this name when
it starts. So the processes that tests start are covered, too.
"""

import httpx2

httpx2.alias_httpx()
