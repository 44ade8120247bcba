"""Every command and program of the pages runs, in order, in a folder that contains what a clone contains."""

import importlib.util
import inspect
import pydoc
import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from page_runner import BLOCK, run_steps, steps_of, with_short_trainings

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ALL_PAGES = [*sorted(DOCS.rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
PAGES = [
    path
    for path in sorted(DOCS.rglob("*.md"))
    if re.search(r"^```(sh|python)\n", path.read_text(encoding="utf-8"), re.MULTILINE)
]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(DOCS)))
def test_commands_and_programs_of_a_page_run(page, tmp_path):
    for name in ("sample_data", "models"):
        shutil.copytree(ROOT / name, tmp_path / name)
    steps = list(steps_of(with_short_trainings(page.read_text(encoding="utf-8"))))
    assert steps
    run_steps(steps, tmp_path)


@pytest.mark.parametrize(
    "page",
    [
        "```sh\nfalse\n```\n",
        "```python\nassert 1 == 2\n```\n",
        "```sh\ncinerecon inspect missing.h5\n```\n",
    ],
    ids=["shell", "python", "cinerecon"],
)
def test_a_step_that_fails_is_named(page, tmp_path):
    step = page.splitlines()[1]
    with pytest.raises(AssertionError, match=f"this failed:\n{re.escape(step)}"):
        run_steps(steps_of(page), tmp_path)


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_of_a_page_are_in_blocks_that_run(page):
    """Under another name than ``sh`` or ``python`` they would not be tested; ``console`` marks what cannot run here."""
    names = set(re.findall(r"^```(\w+)", page.read_text(encoding="utf-8"), re.MULTILINE))
    assert names <= {"sh", "python", "yaml", "json", "text", "console"}


@pytest.mark.parametrize("name", ["settings", "checks"])
def test_generated_pages_are_those_of_the_code(name):
    spec = importlib.util.spec_from_file_location(f"write_{name}", DOCS / f"write_{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (DOCS / f"reference/{name}.md").read_text(encoding="utf-8") == module.page(), f"run docs/write_{name}.py"


def test_names_of_the_api_page_exist():
    for name in re.findall(r"^::: (\S+)$", (DOCS / "reference/api.md").read_text(encoding="utf-8"), re.MULTILINE):
        assert pydoc.locate(name) is not None, name


def test_returned_values_of_the_api_page_are_described_below_their_type():
    """Otherwise each line of the description is shown as a type."""
    for name in re.findall(r"^::: (\S+)$", (DOCS / "reference/api.md").read_text(encoding="utf-8"), re.MULTILINE):
        place = pydoc.locate(name)
        members = [part for part in vars(place).values() if inspect.getmodule(part) is inspect.getmodule(place)]
        for part in [place, *members]:
            section = re.search(r"^Returns\n-+\n\S.*\n(.*)", inspect.getdoc(part) or "", re.MULTILINE)
            assert section is None or section[1].startswith("    "), part


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_a_page_names_exist(page):
    """Apart from the files of the examples, which the reader is shown how to make."""
    names = re.findall(
        r"(?<![\w/])(?:cinerecon|tests|benchmarks|examples)/[\w/.-]+\.\w+", page.read_text(encoding="utf-8")
    )
    shown = re.compile("NAME|FORMAT|plainnet|raw_float|raw_complex")
    assert [name for name in names if not shown.search(name) and not (ROOT / name).exists()] == []


def test_navigation_has_every_page():
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    listed = set(re.findall(r"[\w/-]+\.md", str(navigation)))
    assert listed == {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}


def test_output_format_of_the_page_writes_the_magnitudes(tmp_path):
    """The writer that is shown in `how-to/add-a-file-format.md`, on an image of known values."""
    import numpy as np

    from cinerecon.image import CineImage

    blocks = BLOCK.findall((DOCS / "how-to/add-a-file-format.md").read_text(encoding="utf-8"))
    code = next(content for _, title, content in blocks if title.endswith("raw_float.py"))
    namespace = {}
    exec(compile(code, "raw_float.py", "exec"), namespace)
    image = (np.arange(24).reshape(2, 3, 4) * 1j).astype(np.complex64)
    namespace["write_raw_float"](tmp_path / "image.f32", [CineImage(image), CineImage(-2 * image)])
    header, _, numbers = (tmp_path / "image.f32").read_bytes().partition(b"\n")
    assert header == b"2 2 3 4"
    stored = np.frombuffer(numbers, "<f4").reshape(2, 2, 3, 4)
    np.testing.assert_array_equal(stored, np.stack([abs(image), 2 * abs(image)]))


def test_input_format_of_the_page_is_read(tmp_path, monkeypatch):
    """The source that is shown in `how-to/add-a-file-format.md`, with its line in the table, against arrays."""
    import numpy as np

    import cinerecon
    from cinerecon.acquisition import formats
    from cinerecon.errors import DataError
    from cinerecon.simulation.config import SimulateConfig

    codes = {
        t: code for _, t, code in BLOCK.findall((DOCS / "how-to/add-a-file-format.md").read_text(encoding="utf-8"))
    }
    (tmp_path / "raw_complex.py").write_text(codes["cinerecon/acquisition/formats/raw_complex.py"], encoding="utf-8")
    name = "cinerecon.acquisition.formats.raw_complex"
    spec = importlib.util.spec_from_file_location(name, tmp_path / "raw_complex.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    names = dict(vars(formats))
    exec(codes["two functions in formats/__init__.py"], names)
    entry = eval(codes["the entry in GRIDDED_FORMATS"].strip(), names)
    monkeypatch.setattr(formats, "GRIDDED_FORMATS", [*formats.GRIDDED_FORMATS, entry])

    config = SimulateConfig(n_frames=4, ky=32, kx=32, n_coils=2, n_slices=2, undersample="gaussian:2,acs=8")
    kspace = np.stack([cine.kspace.numpy() for cine in cinerecon.simulate_cine(config)])
    path = tmp_path / "scan.ksp"
    path.write_bytes(b"KSPACE 2 4 2 32 32\n" + kspace.tobytes())
    slices = cinerecon.reconstruct(path, method="cgsense", device="cpu", verdict=False)
    for part, own in zip(slices, kspace, strict=True):
        expected = cinerecon.reconstruct(own, method="cgsense", device="cpu")
        np.testing.assert_allclose(part.image, expected, rtol=1e-4, atol=1e-5 * abs(expected).max())
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DataError, match="expected 131072"):
        cinerecon.open_scan(path).read_slice(0)
