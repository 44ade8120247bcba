"""Published weights: each network of each program is imported completely, and errors in files are named."""

import json
import os
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import WEIGHTS, golden, golden_input, needs_weights
from helpers import relative_error
from published_form import ARRAYS, BY_TITLE, published_form, small_network, write_published
from safetensors import safe_open
from safetensors.torch import save_file
from tf_writer import write_tf_checkpoint

from cinerecon.cli import main
from cinerecon.errors import CineReconError, FileError, WeightsError
from cinerecon.io.tf_checkpoint import DATA_ENDING, INDEX_ENDING
from cinerecon.methods.model_file import read_model
from cinerecon.methods.published import import_checkpoint, import_model, map_variables, read_checkpoint
from cinerecon.methods.table import load_method
from cinerecon.networks.unrolled import count_parameters
from cinerecon.physics.fourier import fft2c, ifft2c
from cinerecon.physics.operators import Encoding

SLR, DCCNN = BY_TITLE["SLR-Net"], BY_TITLE["DC-CNN D5C5"]

PUBLISHED = {
    "jotlasnet_JotlasNet-radial-16-20240129T145900": ("jotlasnet_radial16_sc", 1e-5),
    "t2lrnet_ckpt": ("t2lr_admm_radial16_sc", 2e-5),
    "unrollingnets_DCCNN-radial-16-20230115T205950": ("unrolling_DCCNN_radial16_sc", 2e-5),
    "unrollingnets_ISTA_Net_plus-radial-16-20230115T034727": ("unrolling_ISTA_Net_plus_radial16_sc", 2e-5),
    "unrollingnets_LplusS_Net-radial-16-20230116T111237": ("unrolling_LplusS_Net_radial16_sc", 2e-5),
    "unrollingnets_SLR_Net-radial-16-20230114T031148": ("unrolling_SLR_Net_radial16_sc", 2e-5),
    "unrollingnets_T2LR_Net-vista-8-20250113T130359": ("unrolling_T2LR_Net_vista8_mc", 5e-5),
}
"""The published checkpoints, each with the case that its program's output is in, and how near that must come."""

SEEDED = {
    "slrnet_keziwen_learned_sc": {},
    "lsnet_wenqi_LplusS_learned_sc": {},
    "lsnet_wenqi_LplusS_top1_sc": {},
    "lsnet_wenqi_SNet_sc": {},
    "crnn_seeded_nf8_nc3_sc": {"n_cascades": 3},
    "dccnn3d_d5c5_seeded_nf8_relu_sc": {},
    "dccnn3d_d5c5_seeded_nf8_lrelu_sc": {"slope": 0.01},
}
"""Cases with weights of their own, and settings that no variable holds."""


def case(name):
    """K-space and encoding; CRNN and DC-CNN were run under the mask of lines with one coil."""
    if not name.startswith(("crnn", "dccnn")):
        return golden_input(name[-2:])
    inputs = golden("inputs")
    mask = torch.from_numpy(inputs["mc_mask"].astype(bool))[None, :, None]
    return fft2c(torch.from_numpy(inputs["image"]))[:, :, None] * mask, Encoding(mask)


@needs_weights
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_weights_equal_their_program_after_the_round_trip_through_a_file(name, tmp_path):
    output, tolerance = PUBLISHED[name]
    path, config = import_model(WEIGHTS / name, tmp_path)
    method = load_method(str(path))
    assert method.config == config
    expected = golden(output)["recon"]
    with torch.no_grad():
        image = method.net(*case(output))
    assert relative_error(image, torch.from_numpy(expected)) < tolerance


@pytest.mark.parametrize("name", SEEDED)
def test_seeded_weights_of_the_programs_equal_their_output(name):
    arrays = golden(name)
    variables = {key: arrays[key] for key in arrays if key.startswith("w/")}
    with torch.no_grad():
        image = map_variables(variables, **SEEDED[name]).build()(*case(name))
    assert relative_error(image, torch.from_numpy(arrays["recon"])) < 1e-5


@pytest.mark.parametrize("title", BY_TITLE)
def test_each_network_is_imported_unchanged(title, tmp_path):
    layout = BY_TITLE[title]
    net = small_network(layout)
    found, config = import_checkpoint(write_published(tmp_path / "radial-16", layout, net))
    expected = net.state_dict()
    assert found.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in found.state_dict().items())
    assert config.network == layout.network
    assert config.architecture["n_channels"] == 4


def test_the_file_describes_its_content(tmp_path):
    source = write_published(tmp_path / "unrollingnets_SLR_Net-radial-16-20230114T031148", SLR, small_network(SLR))
    path, config = import_model(source, tmp_path / "models")
    assert path == tmp_path / "models" / "slrnet-radial-16.safetensors"
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert metadata["network"] == "slrnet"
    assert json.loads(metadata["architecture"]) == {
        "variant": "code",
        "shrinkage": "relative_soft",
        "n_channels": 4,
        "n_cascades": 2,
    }
    assert metadata["scale"] == "max"
    assert int(metadata["n_parameters"]) == count_parameters(small_network(SLR))
    assert metadata["licence"] == "GPL-3.0"
    assert "UnrollingNets-dMRI" in metadata["source"]
    assert metadata["sha256"] == read_checkpoint(source).sha256
    assert "radial, 16 spokes (according to its name)" in metadata["trained_on"]
    assert read_model(path) == (config, path)


@pytest.mark.parametrize(
    ("label", "name", "scale", "words"),
    [
        ("SLR_Net-vds-0.125-2023", "slrnet-vds-0.125", "max", "one coil, variable density, 8x"),
        ("SLR_Net-vista-12-2025", "slrnet-vista-12", "kspace_max", "several coils, VISTA 12x"),
        ("mine", "slrnet-imported", "max", "OCMR cines"),
    ],
)
def test_the_name_gives_sampling_and_scale(label, name, scale, words, tmp_path):
    path, config = import_model(write_published(tmp_path / label, SLR, small_network(SLR)), tmp_path / "models")
    assert path.stem == name
    assert config.scale == scale
    assert words in config.card.trained_on


def test_names_of_files_do_not_decide_on_the_network(tmp_path):
    _, config = import_checkpoint(write_published(tmp_path / "JotlasNet-radial-16", SLR, small_network(SLR)))
    assert config.network == "slrnet"
    shutil.move(write_published(tmp_path, DCCNN, small_network(DCCNN)), tmp_path / "crnn.bin")
    assert import_checkpoint(tmp_path / "crnn.bin")[1].network == "dccnn"


@pytest.mark.parametrize("form", ["weight-best", "weight-best.index", "weight-best.data-00000-of-00001", ""])
def test_any_path_into_a_tensorflow_checkpoint_is_accepted(form, tmp_path):
    folder = write_published(tmp_path / "SLR_Net-radial-16", SLR, small_network(SLR))
    _, config = import_checkpoint(folder / form)
    assert config.card.file == "SLR_Net-radial-16/weight-best"


def test_short_names_and_bookkeeping():
    variables = published_form(SLR, small_network(SLR))
    short = {
        name.replace("celllist/", "cell").replace("/mylayers/0/kernel", ""): value for name, value in variables.items()
    }
    extra = {"save_counter": np.array(3), "celllist/0/mu/.OPTIMIZER_SLOT/optimizer/m": np.array(0.1)}
    expected = map_variables(variables).weights
    for other in (short, variables | extra):
        found = map_variables(other).weights
        assert all(torch.equal(value, expected[name]) for name, value in found.items())


class Bomb:
    def __reduce__(self):
        return os.system, ("touch exploded",)


def _tf(folder, change=None, **options):
    """A TensorFlow checkpoint of SLR-Net with some variables changed."""
    variables = published_form(SLR, small_network(SLR))
    if change:
        change(variables)
    write_tf_checkpoint(folder / "w", variables, **options)
    return folder


def _cut(path, n_bytes):
    path.write_bytes(path.read_bytes()[:n_bytes])


def truncated(folder):
    _cut(Path(f"{_tf(folder) / 'w'}{DATA_ENDING}"), 1000)
    return folder


def without_data(folder):
    Path(f"{_tf(folder) / 'w'}{DATA_ENDING}").unlink()
    return folder


def without_index(folder):
    Path(f"{_tf(folder) / 'w'}{INDEX_ENDING}").unlink()
    return folder / "w"


def flipped(folder):
    path = Path(f"{_tf(folder) / 'w'}{DATA_ENDING}")
    content = bytearray(path.read_bytes())
    content[2000] ^= 1
    path.write_bytes(content)
    return folder


def tensorflow_1(folder):
    return _tf(folder, suffix="")


def tensorflow_1_in_one_file(folder):
    shutil.copy(Path(f"{_tf(folder) / 'w'}{INDEX_ENDING}"), folder / "model.ckpt-7")
    return folder / "model.ckpt-7"


def two_checkpoints(folder):
    write_tf_checkpoint(_tf(folder) / "other", {"x": np.zeros(3, np.float32)})
    return folder


def empty_folder(folder):
    return folder


def missing_variable(folder):
    return _tf(folder, lambda variables: variables.pop("celllist/0/eta"))


def missing_iteration(folder):
    def change(variables):
        for name in [name for name in variables if name.startswith("celllist/0/")]:
            variables[name.replace("/0/", "/2/", 1)] = variables.pop(name)

    return _tf(folder, change)


def other_shape(folder):
    def change(variables):
        variables["celllist/1/conv_2/mylayers/0/kernel"] = np.zeros((3, 3, 3, 5, 5), np.float32)

    return _tf(folder, change)


def not_finite(folder):
    def change(variables):
        variables["celllist/1/eta"] = np.array(np.nan, np.float32)

    return _tf(folder, change)


def unknown_network(folder):
    write_tf_checkpoint(folder / "w", {f"celllist/0/dense_{n}/kernel": np.ones((2, 2), np.float32) for n in range(9)})
    return folder


def random_archive(folder):
    np.savez(folder / "a.npz", image=np.zeros((4, 4)), mask=np.ones(4))
    return folder / "a.npz"


def archive_of_objects(folder):
    np.savez(folder / "a.npz", arr_0=np.array([Bomb()], dtype=object))
    return folder / "a.npz"


def truncated_archive(folder):
    path = write_published(folder, BY_TITLE[ARRAYS], small_network(BY_TITLE[ARRAYS]))
    _cut(path, 3000)
    return path


def truncated_pth(folder):
    path = write_published(folder, DCCNN, small_network(DCCNN))
    _cut(path, 3000)
    return path


def pth_of_old_format_cut(folder):
    torch.save({"a": torch.zeros(300)}, folder / "a.pth", _use_new_zipfile_serialization=False)
    _cut(folder / "a.pth", 700)
    return folder / "a.pth"


def pickle_with_code(folder):
    (folder / "a.pth").write_bytes(pickle.dumps(Bomb()))
    return folder / "a.pth"


def pth_with_code(folder):
    torch.save({"weight": torch.zeros(3), "bomb": Bomb()}, folder / "a.pth")
    return folder / "a.pth"


def pth_of_a_list(folder):
    torch.save([torch.zeros(3)], folder / "a.pth")
    return folder / "a.pth"


def model_of_ours(folder):
    return import_model(_tf(folder), folder / "ours.safetensors")[0]


def bare_safetensors(folder):
    save_file({"a": torch.zeros(3)}, folder / "a.safetensors")
    return folder / "a.safetensors"


def text(folder):
    (folder / "notes.txt").write_text("weights follow")
    return folder / "notes.txt"


def nothing(folder):
    return folder / "nothing"


WRONG = {
    truncated: r"damaged: .* ends at byte",
    without_data: "a part of the checkpoint is missing",
    without_index: "a part of the checkpoint is missing",
    flipped: "damaged: the checksum of .* is wrong",
    tensorflow_1: "TensorFlow 1",
    tensorflow_1_in_one_file: "TensorFlow 1",
    two_checkpoints: "2 TensorFlow checkpoints",
    empty_folder: "no checkpoint in this folder",
    missing_variable: "damaged: 'eta' is missing in iteration 0",
    missing_iteration: "damaged: .* is missing in iteration 0",
    other_shape: r"weight 'cascades.1.analysis.2.weight': .*\(5, 5, 3, 3, 3\)",
    not_finite: "damaged: 'celllist/1/eta' is not finite",
    unknown_network: "unknown network with the variables dense_0/kernel, dense_1/kernel",
    random_archive: "unknown network with the variables image, mask",
    archive_of_objects: "contains objects or code",
    truncated_archive: "the archive is damaged",
    truncated_pth: "the checkpoint is damaged",
    pth_of_old_format_cut: "the checkpoint is damaged",
    pickle_with_code: "contains objects or code",
    pth_with_code: "contains objects or code",
    pth_of_a_list: "not a dictionary of tensors",
    model_of_ours: "already a cinerecon model",
    bare_safetensors: "contains weights without a recipe",
    text: "this is not a checkpoint of a known type",
    nothing: "there is no such checkpoint",
}


@pytest.mark.parametrize("make", WRONG, ids=lambda make: make.__name__)
def test_errors_are_named_and_nothing_is_written(make, tmp_path, monkeypatch, capsys):
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path)
    path = make(tmp_path / "in")
    with pytest.raises(CineReconError, match=WRONG[make]) as error:
        import_model(path, tmp_path / "out")
    assert str(path) in error.value.where
    monkeypatch.setattr(sys, "argv", ["cinerecon", "models", "import", str(path), "-o", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith(f"error  {error.value.what}")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "exploded").exists()


def test_an_existing_model_is_kept(tmp_path):
    source = write_published(tmp_path / "in", SLR, small_network(SLR))
    target = tmp_path / "out" / "a.safetensors"
    import_model(source, target)
    before = target.read_bytes()
    with pytest.raises(CineReconError, match="already exists"):
        import_model(write_published(tmp_path / "other", SLR, small_network(SLR, seed=1)), target)
    assert target.read_bytes() == before
    import_model(tmp_path / "other", target, force=True)
    assert target.read_bytes() != before
    assert [path.name for path in target.parent.iterdir()] == ["a.safetensors"]


def test_settings_that_no_variable_holds_can_be_given():
    variables = published_form(DCCNN, small_network(DCCNN))
    assert map_variables(variables, slope=0.01).build().config.slope == 0.01
    with pytest.raises(WeightsError, match="unknown network"):
        map_variables({})


@needs_weights
@pytest.mark.parametrize(("name", "share"), [("crnn_mri_d5_c5.pth", 0.55), ("d5_c5.npz", 0.8)])
def test_published_weights_without_stored_output_reduce_the_error(name, share, tmp_path):
    """The programs of these two have seeded cases above; here their published weights must lower the error."""
    path, _ = import_model(WEIGHTS / name, tmp_path)
    kspace, encoding = case("crnn")
    truth = torch.from_numpy(golden("inputs")["image"])
    with torch.no_grad():
        image = load_method(str(path)).net(kspace, encoding)
    assert relative_error(image, truth) < share * relative_error(ifft2c(kspace)[:, :, 0], truth)


def test_weights_are_not_imported_into_a_folder_of_cases(tmp_path):
    (tmp_path / "index.csv").touch()
    source = write_published(tmp_path / "SLR_Net-vds-0.125-2023", SLR, small_network(SLR))
    with pytest.raises(FileError, match="contains prepared cases"):
        import_model(source, tmp_path)
    assert not list(tmp_path.glob("*.safetensors"))


@pytest.mark.parametrize(("name", "what"), [("", "this is a folder"), ("nope.safetensors", "there is no such file")])
def test_weights_that_are_no_file_are_named(tmp_path, name, what):
    with pytest.raises(WeightsError, match=what) as caught:
        load_method("slrnet", weights=tmp_path / name)
    assert "download" not in caught.value.hint
    assert "--weights" not in caught.value.hint
