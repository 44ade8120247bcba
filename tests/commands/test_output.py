"""Standard output that cannot be written is an error of three lines; a reader that ends early is not reported."""

import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = (["models"], ["--help"], ["mask", "gaussian:4", "-o", "mask.npz"])
CODE = [sys.executable, "-m", "cinerecon.cli"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])
def test_a_full_disk_behind_standard_output_is_an_error(tmp_path, arguments):
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([*CODE, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-2:] == ["error  cannot write: No space left on device", "where  standard output"]


def test_a_reader_that_ends_early_gets_no_traceback():
    writer = subprocess.Popen([*CODE, "models"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    writer.stdout.close()
    assert writer.stderr.read() == ""
    assert writer.wait() in (0, 1)


def test_exit_codes(tmp_path):
    for arguments, code in ((["--version"], 0), (["recon", "missing.h5"], 2), (["recon"], 2), (["nonsense"], 2)):
        assert subprocess.run([*CODE, *arguments], capture_output=True, cwd=tmp_path).returncode == code, arguments
