"""Checksums of files."""

import hashlib

from helpers import counted

from cinerecon.io import checksums
from cinerecon.io.checksums import hash_unchanged


def test_a_file_is_read_once_for_its_hash_until_it_changes(tmp_path):
    path = tmp_path / "scan.h5"
    with counted((checksums, "hash_file")) as counts:
        for content in (b"first", b"second"):
            path.write_bytes(content)
            for _ in range(2):
                assert hash_unchanged(path) == hashlib.sha256(content).hexdigest()
    assert counts == {"hash_file": 2}
