"""Python programs in processes of their own, forked from one that has imported PyTorch, which would take 2 s in each.

Not for tests of imports, of the memory of libraries, or of settings that are read when a library is imported.
"""

import atexit
import gc
import json
import os
import subprocess
import sys
import tempfile
from functools import cache
from importlib import import_module
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

LIBRARIES = (
    *("torch", "torch._dynamo", "scipy.ndimage", "scipy.stats", "matplotlib.figure", "PIL.Image", "pydicom", "nibabel"),
    *("rich.console", "typer.rich_utils", "cinerecon.commands.recon", "cinerecon.commands.train"),
    *("cinerecon.commands.prepare", "cinerecon.evaluation.run"),
)
COMMAND = "import sys; sys.argv = ['cinerecon', *{arguments!r}]; from cinerecon.cli import main; main()"


def run_python(code: str, *, cwd: Any = ".", stdin: bytes = b"", **environment: str) -> CompletedProcess[bytes]:
    """Run Python code as the main program of a process; its exit code, output and messages."""
    with tempfile.TemporaryDirectory() as folder:
        files = {name: f"{folder}/{name}" for name in ("stdin", "stdout", "stderr")}
        Path(files["stdin"]).write_bytes(stdin)
        request = {"code": code, "cwd": str(Path(cwd).resolve()), "files": files}
        request["environment"] = os.environ | environment
        server = _server()
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        exit_code = int(server.stdout.readline())
        return CompletedProcess(code, exit_code, *(Path(files[name]).read_bytes() for name in ("stdout", "stderr")))


def run_command(*arguments: object, cwd: Any = ".", stdin: bytes = b"") -> CompletedProcess[bytes]:
    """Run a command of cinerecon in a process."""
    return run_python(COMMAND.format(arguments=[*map(str, arguments)]), cwd=cwd, stdin=stdin)


@cache
def _server() -> subprocess.Popen[str]:
    """The process that is forked: it has imported libraries and computed nothing, so that it has one thread."""
    server = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(server.communicate)
    return server


def _next_request() -> dict[str, Any]:
    """Wait for programs and fork for each: in the new process, return its program."""
    for name in LIBRARIES:
        import_module(name)
    gc.freeze()  # or each process searches all objects of the libraries when it ends

    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            return json.loads(line)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    sys.exit()


def _become(request: dict[str, Any]) -> None:
    """Take the folder, the environment and the files of the program."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        descriptor = os.open(request["files"][name], os.O_RDWR | os.O_CREAT)
        os.dup2(descriptor, number)
        os.close(descriptor)


if __name__ == "__main__":
    request = _next_request()
    _become(request)
    exec(compile(request["code"], "program", "exec"), {"__name__": "__main__"})
