"""Options that would have no effect are refused: each is named, and nothing is written."""

import sys
from pathlib import Path

import numpy as np
import pytest

from cinerecon.cine import CineData
from cinerecon.cli import COMMANDS, load_command, main
from cinerecon.errors import ConfigError
from cinerecon.io.shards import Shard, finish_shard, start_shard
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
        ("recon SCAN -m zerofilled -o out.npz --shards 4", "--shards"),
        ("recon SCAN -m zerofilled -o out.npz --job mem_gb=4", "--job"),
        ("recon SCAN -m zerofilled -o out.npz --no-wait", "--no-wait"),
        ("recon SCAN -m zerofilled -o out.npz -q -v", "--quiet"),
        ("recon SCAN -m zerofilled -m cgsense -o out/ -v", "--verbose"),
        ("recon - -m zerofilled -o out/ --submit local", "--submit"),
        ("recon SCAN -m zerofilled -o out.npz --venc 150", "--venc"),
        ("prepare SCAN -o out --csm walsh --combine espirit", "--csm"),
        ("prepare SCAN -o out --shards 3", "--shards"),
        ("evaluate SCAN -m zerofilled --undersample gaussian:4 --pictures 5", "--pictures"),
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
    assert "preprocessing.select applies to ISMRMRD and Siemens raw scans" in printed


def test_the_library_refuses_them_too(tmp_path):
    with pytest.raises(ConfigError, match="--replicas has no effect without --snr"):
        reconstruct(SCAN, method="zerofilled", n_replicas=4)
    cine = CineData(np.ones((2, 1, 16, 16), np.complex64), np.ones((2, 1, 16, 1), bool), None)
    with pytest.raises(ConfigError, match="a slice is preprocessed already"):
        reconstruct(cine, method="zerofilled", settings=["preprocessing.csm=walsh"])
    with pytest.raises(ConfigError, match="keeps its weights and settings"):
        reconstruct(cine, method=load_method("cgsense"), settings=["n_iterations=3"])
    with pytest.raises(ConfigError, match="a patient is written to DICOM alone"):
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
