"""Run a command and print its wall time, the CPU time of all its threads and its peak memory as JSON.

On Linux, the peak memory of a process includes that of the process that started it. This one therefore imports no
large library.
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
