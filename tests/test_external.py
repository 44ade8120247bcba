"""Classes in Python files: their names, their import, and the checksum of their code."""

import sys
from pathlib import Path

import pytest

from cinerecon.errors import ConfigError
from cinerecon.external import code_file, first_line, is_external, load_class, located, portable


@pytest.fixture
def name(tmp_path):
    (tmp_path / "one.py").write_text(
        "from two import NUMBER\n\n\nclass One(dict):\n    '''First.\n\n    More.\n    '''\n"
    )
    (tmp_path / "two.py").write_text("NUMBER = 1\n")
    (tmp_path / "three.py").write_text("raise AssertionError('this file is not imported')\n")
    return f"{tmp_path / 'one.py'}:One"


def load(name):
    return load_class(name, dict, "mapping", "dict", hint="another path")


def test_names_have_a_file_and_a_class():
    assert is_external("folder/one.py:One")
    assert not any(map(is_external, ["ktslr", "one.py", "one.py:", ":One", "one.py:1", "C:one", "runs/one.py:x/y"]))
    assert code_file("folder/one.py:One") == Path("folder/one.py")
    assert located("one.py:One", Path("/a/b")) == "/a/b/one.py:One"
    assert located("/c/one.py:One", Path("/a/b")) == "/c/one.py:One"
    assert portable("/a/b/one.py:One") == "one.py:One"
    assert located("ktslr", Path("/a")) == portable("ktslr") == "ktslr"


def test_its_code_is_that_of_the_files_it_imports(name, tmp_path):
    external = load(name)
    assert external.module.NUMBER == 1
    assert [file.name for file in external.code.files] == ["one.py", "two.py"]
    assert first_line(external.type) == "First"
    assert not {"one", "two"} & set(sys.modules)
    assert str(tmp_path) not in sys.path


def test_it_is_imported_again_after_a_change_only(name, tmp_path):
    first, again = load(name), load(name)
    assert first.type is again.type
    (tmp_path / "two.py").write_text("NUMBER = 20\n")
    changed = load(name)
    assert changed.module.NUMBER == 20
    assert changed.type is not first.type


def test_the_checksum_depends_on_the_code_alone(name, tmp_path):
    before = load(name).code.sha256
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    assert load(f"{moved / 'one.py'}:One").code.sha256 == before
    (moved / "three.py").write_text("# not imported\n")
    assert load(f"{moved / 'one.py'}:One").code.sha256 == before
    (moved / "two.py").write_text("NUMBER = 1  # one\n")
    assert load(f"{moved / 'one.py'}:One").code.sha256 != before


def test_a_missing_file_or_class_is_named(name, tmp_path):
    with pytest.raises(ConfigError, match=r"there is no file four\.py with the mapping") as error:
        load(f"{tmp_path / 'four.py'}:One")
    assert error.value.hint == "another path"
    with pytest.raises(ConfigError, match=r"there is no mapping 'Two' in one\.py") as error:
        load(f"{tmp_path / 'one.py'}:Two")
    assert error.value.hint == "known: One"
