import numpy as np
import pytest
import torch
from PIL import Image

from cinerecon.cli import app
from cinerecon.commands.mask import MaskOptions, draw_mask
from cinerecon.errors import ConfigError, FileError
from cinerecon.physics.sampling import PATTERNS, parse_mask, parse_sampling


def drawn_mask(pattern, n_frames, ky, kx, output, **options):
    return draw_mask(MaskOptions(pattern=pattern, n_frames=n_frames, ky=ky, kx=kx, output=output, **options))


@pytest.mark.parametrize("name", PATTERNS)
def test_every_pattern_is_written_with_its_picture(tmp_path, name):
    text = "full" if name == "full" else f"{name}:6"
    drawn = drawn_mask(text, 5, 40, 30, tmp_path / "m.npz", seed=1)
    mask = torch.from_numpy(parse_mask(text).draw(5, 40, 30, seed=1))
    assert drawn.acceleration == pytest.approx(mask.numel() / int(mask.sum()))
    assert torch.equal(torch.from_numpy(parse_sampling(str(tmp_path / "m.npz")).draw(5, 40, 30)), mask)
    picture = np.asarray(Image.open(tmp_path / "m.png").convert("L"))
    # a tile of ky over frames, 76 pixels a frame, and one of ky over kx, 9 pixels a point
    over_time = picture[28 + 4 : 28 + 360 : 9, 28 + 38 : 28 + 5 * 76 : 76] > 128
    assert np.array_equal(over_time, mask[:, 0, :, mask.shape[3] // 2].T)
    left = 28 + 5 * 76 + 28
    first = picture[28 + 4 : 28 + 360 : 9, left + 4 : left + 30 * 9 : 9] > 128
    assert np.array_equal(first, mask[0, 0].expand(40, 30))


def test_acceleration_with_and_without_the_centre(tmp_path):
    drawn = drawn_mask("gaussian:8,acs=4", 20, 192, 192, tmp_path / "m.npz")
    assert drawn.n_acs == 4
    assert (drawn.acceleration, drawn.acceleration_without_acs) == (8, pytest.approx(188 / 20))


def test_sizes_beyond_those_of_a_scan_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="ky 65536, kx 4: each may be at most 65535"):
        drawn_mask("gro:4", 2, 65536, 4, tmp_path / "m.npz")


def test_a_mask_that_is_read_is_never_overwritten(tmp_path):
    path = tmp_path / "m.npz"
    np.savez(path, mask=np.eye(10, dtype=np.uint8))
    before = path.read_bytes()
    with pytest.raises(FileError, match="is an input"):
        drawn_mask(f"{path},axes=yt", 10, 10, 8, path, force=True)
    assert path.read_bytes() == before


def test_a_mask_file_can_be_looked_at(tmp_path):
    np.save(tmp_path / "vista.npy", np.eye(10, dtype=np.uint8))
    drawn = drawn_mask(f"{tmp_path / 'vista.npy'},axes=yt", 10, 10, 8, tmp_path / "m.npz")
    assert drawn.acceleration == 10


@pytest.mark.parametrize("output", ["m.npy", "m"])
def test_only_npz_is_written(tmp_path, output):
    with pytest.raises(ConfigError, match=r"\.npz"):
        drawn_mask("gaussian:2", 2, 20, 20, tmp_path / output)


def test_the_command_takes_a_text_or_its_parts(tmp_path):
    from typer.testing import CliRunner

    whole, parts = tmp_path / "a.npz", tmp_path / "b.npz"
    sizes = ["--frames", "4", "--ky", "32", "--kx", "16", "--seed", "5"]
    first = CliRunner().invoke(app, ["mask", "gaussian:4,acs=2", *sizes, "-o", str(whole)])
    assert first.exit_code == 0
    assert "acceleration  4.000, and 5.000 without the ACS" in first.stdout
    CliRunner().invoke(app, ["mask", "gaussian", "--acceleration", "4", "--acs", "2", *sizes, "-o", str(parts)])
    assert np.array_equal(np.load(whole)["mask"], np.load(parts)["mask"])
    for pattern in ("gaussian:4", "full"):
        twice = CliRunner().invoke(app, ["mask", pattern, "--acceleration", "8"])
        assert isinstance(twice.exception, ConfigError)


def test_help_names_every_pattern():
    from typer.testing import CliRunner

    text = " ".join(CliRunner().invoke(app, ["mask", "--help"]).stdout.split())
    assert all(name in text for name in PATTERNS if name != "full")


def test_the_order_of_lines_is_written_with_the_mask(tmp_path):
    from typer.testing import CliRunner

    path, sizes = tmp_path / "m.npz", ["--frames", "4", "--ky", "32", "--kx", "16"]
    call = lambda *options: CliRunner().invoke(app, ["mask", "cava:4", *sizes, "-o", str(path), *options])  # noqa: E731
    assert isinstance(call("--segments", "2").exception, ConfigError)
    assert isinstance(call("--order", "linear", "--rr", "10").exception, ConfigError)
    assert not list(tmp_path.iterdir())
    assert call("--order", "pattern", "--tr", "2.7").exit_code == 0
    header, *rows = (tmp_path / "m.csv").read_text().splitlines()
    assert header == "time_ms,frame,ky,segment"
    table = np.array([[float(value) for value in row.split(",")] for row in rows])
    assert np.allclose(table[:, 0], 2.7 * np.arange(32))
    assert table[:, 2].tolist() == parse_mask("cava:4").line_order(4, 32).ravel().tolist()
    mask = np.load(path)["mask"]
    assert all(mask[int(frame), 0, int(ky), 0] for _, frame, ky, _ in table)
    assert isinstance(call("--order", "linear").exception, FileError)
