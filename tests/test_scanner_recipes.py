"""The scripts that make containers and chroot images; containers themselves are not built here."""

import io
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cinerecon.cli import COMMANDS, app
from cinerecon.commands.openrecon_label import LABEL_KEY
from cinerecon.io.mrd_stream import MRD_PORT

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(EXAMPLES.rglob("*.sh"))
CHROOT_TOOLS = ("fakeroot", "mke2fs", "debugfs", "tar", "realpath")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_shell(script):
    subprocess.run(["sh", "-n", script], check=True)
    assert script.stat().st_mode & 0o111


def test_the_server_has_the_port_of_the_label_and_no_root():
    container = (EXAMPLES / "openrecon/Containerfile").read_text()
    assert re.search(r"^ARG RUN_AS=cinerecon\nUSER \$\{RUN_AS\}$", container, re.MULTILINE)
    assert f'"--port", "{MRD_PORT}"' in container
    assert LABEL_KEY in (EXAMPLES / "openrecon/build.sh").read_text()
    assert f"port={MRD_PORT}\n" in (EXAMPLES / "fire/fire.ini").read_text()
    assert (EXAMPLES / "fire/start.sh").read_text().count(f"--port {MRD_PORT}") == 2


def test_the_container_and_the_chroot_start_a_command_that_exists():
    if "serve" not in COMMANDS:
        pytest.skip("this version has no command serve")
    text = CliRunner().invoke(app, ["serve", "--help"]).stdout
    for path in ("openrecon/Containerfile", "fire/start.sh"):
        for option in re.findall(r"--(?:host|port)\b", (EXAMPLES / path).read_text()):
            assert option in text


@pytest.mark.skipif(not all(map(shutil.which, CHROOT_TOOLS)), reason="needs fakeroot and e2fsprogs")
def test_the_chroot_image_holds_the_file_system_with_its_owners(tmp_path):
    with tarfile.open(tmp_path / "root.tar", "w") as archive:
        for name, content, mode, owner in (
            ("usr/local/bin/cinerecon", b"#!/bin/sh\necho served\n", 0o755, 0),
            ("home/cinerecon/notes.txt", b"x" * 3_000_000, 0o600, 1000),
            ("dev/null", b"left out", 0o600, 0),
        ):
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.uid, member.gid = len(content), mode, owner, owner
            archive.addfile(member, io.BytesIO(content))
    image = tmp_path / "chroot.img"
    script = EXAMPLES / "fire/make_chroot.sh"
    subprocess.run([script, tmp_path / "root.tar", image, "5"], check=True, capture_output=True)
    assert 10e6 < image.stat().st_size < 60e6

    def ask(command):
        return subprocess.run(["debugfs", "-R", command, image], check=True, capture_output=True).stdout

    assert ask("cat /usr/local/bin/cinerecon") == b"#!/bin/sh\necho served\n"
    assert ask("cat /start-cinerecon.sh") == (EXAMPLES / "fire/start.sh").read_bytes()
    assert b"User:  1000   Group:  1000" in ask("stat /home/cinerecon/notes.txt")
    assert b"Mode:  0600" in ask("stat /home/cinerecon/notes.txt")
    assert b"User:     0" in ask("stat /start-cinerecon.sh")
    assert b"Mode:  01777" in ask("stat /tmp")
    assert b"null" not in ask("ls /dev")
    assert not list(tmp_path.glob("tmp*"))


def test_the_chroot_script_explains_itself(tmp_path):
    result = subprocess.run([EXAMPLES / "fire/make_chroot.sh"], capture_output=True, text=True)
    assert result.returncode == 2
    assert "make_chroot.sh ROOT.tar" in result.stderr
