"""One contender, in a process of its own.

    python benchmarks/contender.py MODULE FUNCTION OPTIONS

calls the function with the options, a JSON object, to set the contender up. Then it reads numbers
of calls from its input, one a line, makes as many, and prints the seconds that they took, the
seconds of processor time, and the most memory in KiB that the process ever held.
"""

import importlib
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workload import MakeCalls


def check_checkout() -> None:
    """Fail unless mesh_facade is the one of the checkout that is to be measured."""
    checkout = os.environ.get("MEASURED_CHECKOUT")
    if checkout is None:
        return
    import mesh_facade

    imported = Path(mesh_facade.__file__)
    if not imported.is_relative_to(checkout):
        raise SystemExit(f"error: {imported} was imported, which is not in {checkout}")


def main() -> None:
    """Set up the contender that the arguments name, and let it make calls."""
    module_name, function_name, options = sys.argv[1:]
    module = importlib.import_module(module_name)
    set_up = getattr(module, function_name)
    make_calls: MakeCalls = set_up(**json.loads(options))
    check_checkout()
    for line in sys.stdin:
        began_at = time.perf_counter()
        cpu_began_at = time.process_time()
        make_calls(int(line))
        cpu_seconds = time.process_time() - cpu_began_at
        seconds = time.perf_counter() - began_at
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(seconds, cpu_seconds, peak, flush=True)


if __name__ == "__main__":
    main()
