"""Run a command and print what it took, as JSON: wall time, processor time of all its threads, peak memory.

Linux counts the memory of the process that starts another as the other's peak, so this one is small: no library at all.
"""

import json
import os
import subprocess
import sys
import time


def main() -> None:
    start = time.perf_counter()
    process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - start
    cpu_s, memory_mb = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    print(json.dumps({"wall_s": wall_s, "cpu_s": cpu_s, "memory_mb": memory_mb}))
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
