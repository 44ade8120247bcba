"""The shipped weights describe their training, not the machine that it ran on."""

import re
from pathlib import Path

import pytest
from safetensors import safe_open

WEIGHTS = sorted(Path(__file__).resolve().parents[2].glob("models/*/weights.safetensors"))


@pytest.mark.parametrize("path", WEIGHTS, ids=lambda path: path.parent.name)
def test_the_description_names_no_folder_of_a_machine(path):
    with safe_open(path, "pt") as file:
        description = " ".join(file.metadata().values())
    assert "folder" in description
    assert not re.search(r'"(/|[A-Z]:)', description)
