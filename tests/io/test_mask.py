from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from helpers import formats_folder
from scipy.io import savemat

from cinerecon.errors import ConfigError, FileError
from cinerecon.io.mask import MaskFile, write_mask
from cinerecon.physics.sampling import parse_mask

CMRXRECON = formats_folder() / "cmrxrecon"
LINES = torch.from_numpy(parse_mask("gaussian:4").draw(6, 20, 14, seed=1))
POINTS = torch.from_numpy(parse_mask("vds:4").draw(6, 20, 14, seed=1))


def write(path, array, name="mask"):
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".npz":
        np.savez(path, **{name: array})
    elif path.suffix == ".mat":
        savemat(path, {name: array})
    else:
        with h5py.File(path, "w") as file:
            file[name] = array
    return path


def draw(text, shape=(6, 20, 14)):
    return torch.from_numpy(MaskFile.parse(str(text)).draw(*shape))


@pytest.mark.parametrize("mask", [LINES, POINTS])
@pytest.mark.parametrize("suffix", [".npz", ".npy", ".h5"])
@pytest.mark.parametrize("dtype", [bool, np.uint8, float])
def test_our_axes_in_every_format(tmp_path, mask, suffix, dtype):
    path = write(tmp_path / f"a{suffix}", mask.numpy().astype(dtype))
    assert torch.equal(draw(path), mask)


@pytest.mark.parametrize(("order", "mask"), [("tyx", POINTS), ("yxt", POINTS), ("xyt", POINTS), ("yt", LINES)])
def test_axes_are_recognised_by_their_sizes(tmp_path, order, mask):
    axes = mask[:, 0].numpy() if len(order) == 3 else mask[:, 0, :, 0].numpy()
    array = axes.transpose(["tyx".index(axis) for axis in order])
    assert torch.equal(draw(write(tmp_path / "a.npy", array)), mask)
    # MATLAB keeps the axes of the array; both of its formats show them in the opposite order
    assert torch.equal(draw(write(tmp_path / "b.mat", array)), mask)


def test_lines_of_a_square_matrix_are_perpendicular_to_the_axis_they_leave_out(tmp_path):
    mask = torch.from_numpy(parse_mask("gaussian:4").draw(6, 20, 20))
    tiled = mask[:, 0].expand(6, 20, 20).numpy()
    for order in ("tyx", "yxt", "xyt"):
        path = write(tmp_path / f"{order}.npy", tiled.transpose(["tyx".index(axis) for axis in order]))
        assert torch.equal(draw(path, (6, 20, 20)), mask.expand(6, 1, 20, 20))


def test_one_mask_for_all_frames(tmp_path):
    for array in (LINES[0, 0, :, 0], LINES[:1, :, :, :], POINTS[0, 0]):
        found = draw(write(tmp_path / "a.npy", array.numpy()))
        assert torch.equal(found[4, 0].expand(20, 14), array.reshape(20, -1).expand(20, 14))


def test_what_can_be_read_in_two_ways_is_refused_until_the_axes_are_named(tmp_path):
    mask = torch.from_numpy(parse_mask("vds:4").draw(6, 20, 20))
    path = write(tmp_path / "a.npy", mask[:, 0].numpy().transpose(1, 2, 0))
    with pytest.raises(ConfigError, match="more than one way"):
        draw(path, (6, 20, 20))
    assert torch.equal(draw(f"{path},axes=yxt", (6, 20, 20)), mask)
    assert torch.equal(draw(f"{path},axes=xyt", (6, 20, 20)), mask.mT)


def test_our_own_files_are_never_guessed_at(tmp_path):
    mask = torch.from_numpy(parse_mask("gaussian:4").draw(20, 20, 20))
    path = write(tmp_path / "a.npz", mask.numpy())
    assert torch.equal(draw(path, (20, 20, 20)), mask)
    with pytest.raises(ConfigError, match=r"the mask is \(20, 3, 20, 1\)"):
        draw(write(tmp_path / "b.npy", mask.expand(20, 3, 20, 1).numpy()), (20, 20, 20))


def test_wrong_sizes_are_named(tmp_path):
    path = write(tmp_path / "a.npy", LINES.numpy())
    with pytest.raises(ConfigError, match="mask has 6 frames, the scan has 7") as error:
        draw(path, (7, 20, 14))
    assert error.value.hint == "cinerecon mask ... --frames 7 --ky 20 --kx 14"
    path = write(tmp_path / "b.npy", LINES[:, 0].numpy().T)
    with pytest.raises(ConfigError, match=r"the mask is \(1, 20, 6\), the scan has 7 frames, 20 ky, 14 kx"):
        draw(path, (7, 20, 14))


def test_an_uncentred_mask_is_centred(tmp_path):
    path = write(tmp_path / "a.npy", torch.fft.ifftshift(POINTS, dim=(-2, -1)).numpy())
    assert torch.equal(draw(f"{path},uncentred"), POINTS)
    lines = write(tmp_path / "b.npy", torch.fft.ifftshift(LINES, dim=-2).numpy())
    assert torch.equal(draw(f"{lines},uncentred"), LINES)


def test_the_array_is_found_or_named(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, first=LINES, second=~LINES, times=np.arange(5.0))
    with pytest.raises(FileError, match="no array 'mask'") as error:
        draw(path)
    assert "first, second" in error.value.hint
    assert torch.equal(draw(f"{path},array=second"), ~LINES)
    with pytest.raises(FileError, match="'times' is not an array of zeros and ones"):
        draw(f"{path},array=times")


def test_a_mask_without_ones_is_refused(tmp_path):
    with pytest.raises(FileError, match="contains no ones"):
        draw(write(tmp_path / "a.npy", np.zeros(LINES.shape)))


def test_a_file_written_again_is_read_again(tmp_path):
    path = write(tmp_path / "a.npy", LINES.numpy())
    draw(path)
    path.unlink()
    with pytest.raises(FileError, match="there is no such mask"):
        draw(path)
    write(path, (~LINES).numpy())
    assert torch.equal(draw(path), ~LINES)


def test_what_was_drawn_here_is_read_back(tmp_path):
    write_mask(tmp_path / "a.npz", POINTS.numpy(), "vds:4", 1)
    assert torch.equal(draw(tmp_path / "a.npz"), POINTS)


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".mat", ".h5"])
def test_damaged_files_are_refused(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"nonsense" * 50)
    with pytest.raises(FileError):
        draw(path)


def test_texts():
    assert MaskFile.parse("gaussian:8,acs=4") is None
    file = MaskFile.parse("some,folder/vista.mat,array=m,axes=ty,uncentred")
    assert file == MaskFile(Path("some,folder/vista.mat"), "m", "ty", uncentred=True)
    assert MaskFile.parse(str(file)) == file
    for wrong in ("a.mat,axes=tz", "a.mat,axis=ty", "a.mat,uncentred=1", "a.mat,array"):
        with pytest.raises(ConfigError):
            MaskFile.parse(wrong)


def test_masks_of_cmrxrecon_in_both_formats_of_matlab():
    (old,) = CMRXRECON.glob("2023_v5/**/cine_sax_mask.mat")
    (new,) = CMRXRECON.glob("2023/**/AccFactor04/**/cine_sax_mask.mat")
    mask = draw(old, (3, 36, 32))
    assert torch.equal(mask, draw(new, (3, 36, 32)))
    assert (mask == mask[:1, :, :, :1]).all()
    assert mask[0, 0, ::4, 0].sum() + mask[0, 0, 1::4, 0].sum() >= 9
