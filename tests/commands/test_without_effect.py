"""Options that has no effect are refused: each is named, and nothing is written."""

import sys
from pathlib import Path

import numpy as np
import pytest

from cinerecon.archives.shards import Shard, finish_shard, start_shard
from cinerecon.cine import CineData
from cinerecon.cli import COMMANDS, load_command, main
from cinerecon.errors import ConfigError
from cinerecon.methods.table import load_method
from cinerecon.options import Options
from cinerecon.provenance import Patient
from cinerecon.reconstruction.public import export, reconstruct

SCAN = Path(__file__).parents[2] / "sample_data/phantom_cine.h5"


@pytest.fixture
def call(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)

    def run(text):
        monkeypatch.setattr(sys, "argv", ["cinerecon", *(part.replace("SCAN", str(SCAN)) for part in text.split())])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code, capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("recon SCAN -m zerofilled -o out.npz --replicas 4", "--replicas"),
        ("recon SCAN -m zerofilled -o out.npz --variants 4", "--variants"),
        ("recon SCAN -m zerofilled -o out.npz --seed 4", "--seed"),
        ("recon SCAN -m zerofilled -m cgsense -o out/ --verdict", "--verdict"),
        ("recon SCAN -m zerofilled -o out.npz --shards 4", "--shards"),
        ("recon SCAN -m zerofilled -o out.npz --job mem_gb=4", "--job"),
        ("recon SCAN -m zerofilled -o out.npz --no-wait", "--no-wait"),
        ("recon SCAN -m zerofilled -o out.npz -q -v", "--quiet"),
        ("recon SCAN -m zerofilled -m cgsense -o out/ -v", "--verbose"),
        ("recon - -m zerofilled -o out/ --submit local", "--submit"),
        ("recon SCAN -m zerofilled -o out.npz --venc 150", "--venc"),
        ("prepare SCAN -o out --csm walsh --combine espirit", "--csm"),
        ("prepare SCAN -o out --shards 3", "--shards"),
        ("prepare SCAN -o out --shards 2", "--shards"),
        ("recon SCAN -m zerofilled -o out.npz --replicas 16", "--replicas"),
        ("prepare SCAN -o out --wait", "--wait has"),
        ("prepare SCAN -o out --stride 4x4x4", "--stride"),
        ("evaluate SCAN -m zerofilled --undersample gaussian:4 --pictures 5", "--pictures"),
        ("evaluate SCAN -m zerofilled --undersample gaussian:4 --fit-scale", "--fit-scale"),
        ("mask gaussian:4 -o out.npz --segments 4", "--segments"),
        ("mask gaussian:4 -o out.npz --rr 900", "--rr"),
        ("mask gaussian:4 -o out.npz --acs-first", "--acs-first"),
        ("openrecon label -o out.json --gpu-memory-mb 100", "--gpu-memory-mb"),
    ],
)
def test_an_option_without_effect_is_refused(call, tmp_path, command, option):
    code, printed = call(command)
    assert code == 2
    assert option in printed
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("recon SCAN -m zerofilled -o out.npz --snr --replicas 1", "--replicas"),
        ("train slrnet -o out --minutes -1", "--minutes"),
        ("train slrnet -o out --workers -1", "--workers"),
        ("simulate -o out.h5 --coils 0", "--coils"),
        ("simulate -o out.h5 --segments 4 --beats 3", "--segments, --beats"),
        ("simulate -o out.h5 --rr-variation 0.1 --ecg", "--rr-variation, --ecg"),
        ("simulate -o out.h5 --venc 100 --phase measured", "--venc, --phase"),
        ("prepare SCAN -o out --stride 4x4x4", "--stride"),
        ("prepare SCAN -o out --frames 0", "--frames"),
        ("prepare SCAN -o out --crop-readout -2", "--crop-readout"),
        ("prepare SCAN -o out --crop 4x4 --crop-readout 4", "--crop, --crop-readout"),
        ("prepare SCAN -o out --patch 0x4x4", "--patch"),
        ("prepare SCAN -o out --split -1,0,0", "--split"),
        ("mask gaussian:4 -o out.npz --frames 0", "--frames"),
        ("mask gaussian:4 -o out.npz --order linear --tr 0", "--tr"),
    ],
)
def test_a_wrong_value_is_reported_with_its_option(call, tmp_path, command, option):
    code, printed = call(command)
    assert code == 2
    assert f"where  {option}\n" in printed
    assert not list(tmp_path.iterdir())


def test_an_unknown_loss_is_reported_with_its_option(call):
    code, printed = call("train slrnet -o out --loss foo")
    assert code == 2
    assert "Invalid value for '--loss'" in printed


def test_the_mask_of_a_file_has_no_seed(call, tmp_path):
    assert call("mask gaussian:4 --frames 4 --ky 16 --kx 16 -o drawn.npz")[0] == 0
    code, printed = call("mask drawn.npz --frames 4 --ky 16 --kx 16 --seed 4 -o out.npz")
    assert code == 2
    assert "--seed has no effect on the mask of a file" in printed
    assert not (tmp_path / "out.npz").exists()


def test_a_way_of_compression_without_compression_is_marked(call):
    code, printed = call("prepare SCAN -o out --compression geometric --no-pictures --workers 1")
    assert code == 0
    assert "warning  --compression has no effect without --compress-coils" in printed


@pytest.mark.parametrize("command", ["recon", "prepare"])
def test_settings_of_scores_are_refused_for_other_shards(call, tmp_path, command):
    finish_shard(tmp_path, start_shard(tmp_path, command, Shard(1, 1), [], {}))
    for option in ("--baseline ktslr", "--table slr-1"):
        code, printed = call(f"merge {tmp_path} {option}")
        assert code == 2
        assert f"{option.split()[0]} applies to scores, these are shards of {command}" in printed


def test_sets_belong_to_raw_scans(call, tmp_path):
    np.save(tmp_path / "k.npy", np.ones((4, 2, 16, 16), np.complex64))
    code, printed = call("inspect k.npy --axes frames,coils,ky,kx --set-index 1")
    assert code == 2
    assert "preprocessing.select applies only to ISMRMRD and Siemens raw scans" in printed


def test_the_library_refuses_them_too(tmp_path):
    with pytest.raises(ConfigError, match="--replicas has no effect without --snr"):
        reconstruct(SCAN, method="zerofilled", n_replicas=4)
    cine = CineData(np.ones((2, 1, 16, 16), np.complex64), np.ones((2, 1, 16, 1), bool), None)
    with pytest.raises(ConfigError, match="a slice is already preprocessed"):
        reconstruct(cine, method="zerofilled", settings=["preprocessing.csm=walsh"])
    with pytest.raises(ConfigError, match="weights and settings of a loaded method"):
        reconstruct(cine, method=load_method("cgsense"), settings=["n_iterations=3"])
    with pytest.raises(ConfigError, match="a patient can be written only to DICOM"):
        export(reconstruct(cine, method="zerofilled", verdict=False), tmp_path / "x.npz", patient=Patient("1"))
    assert not list(tmp_path.iterdir())


def test_what_an_option_needs_is_an_option():
    """A misspelt name would never be set, and the option always refused."""
    for name in COMMANDS:
        load_command(name)
    models, n_marked = list(Options.__subclasses__()), 0
    for model in models:
        models += [child for child in model.__subclasses__() if child not in models]
        for field in model.model_fields:
            flag = model.flag_of(field)
            n_marked += bool(flag.needs or flag.excludes)
            assert {*flag.needs, *flag.excludes} <= set(model.model_fields), f"{model.__name__}.{field}"
    assert n_marked > 10


def test_replicas_without_effect_are_announced(call):
    """Whether the noise map of a method is analytic may depend on the scan."""
    code, printed = call("recon SCAN -m zerofilled --snr --replicas 4 --seed 3 -o out.npz")
    assert code == 0
    assert "--replicas has no effect: the noise map of zerofilled is analytic" in printed
    assert "--seed has no effect" in printed
    code, printed = call("recon SCAN -m viewshared --snr --replicas 2 --seed 3 -o other.npz")
    assert "has no effect" not in printed
