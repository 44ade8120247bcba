"""Which settings identify an image, a slice and a batch."""

from pathlib import Path

import pytest

from cinerecon.reconstruction.request import IMAGE_SETTINGS, RESULT_SETTINGS, RUN_SETTINGS, ReconRequest


def request(**values):
    return ReconRequest(Path("scan.h5"), "ktslr", **values)


def test_each_setting_is_in_one_group():
    names = (*IMAGE_SETTINGS, *RESULT_SETTINGS, *RUN_SETTINGS)
    others = {"scan", "model", "outputs", "patient", "force", "resume", "verbose"}
    assert len(names) == len(set(names))
    assert others | set(names) == set(ReconRequest.model_fields), "add a new setting to the group it belongs to"


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ({}, ()),
        ({"seed": 3, "snr": True, "strict": True, "verbose": True}, ()),
        ({"seed": 3, "undersample": "masks/Smith.npz"}, ("undersample=Smith.npz", "seed=3")),
        (
            {"set_index": 1, "slices": (0, 2), "partial_fourier": "pocs"},
            ("partial_fourier=pocs", "set=1", "slices=0,2"),
        ),
        ({"pixel_size": (1.5, 1.25), "settings": ("n_iterations=5",)}, ("n_iterations=5", "pixel_size=1.5x1.25")),
    ],
)
def test_texts_of_the_settings_that_change_an_image(values, texts):
    assert request(**values).image_settings() == texts


def test_slices_and_files_do_not_change_the_settings_of_a_slice():
    same = request(slices=(1,), noise="noise.h5", undersample="gaussian:2", strict=True, force=True, outputs=["a.npz"])
    assert same.slice_settings() == request().slice_settings()
    assert request(snr=True).slice_settings() != request().slice_settings()
    assert request(frames="0:3").slice_settings() != request().slice_settings()


def test_a_batch_agrees_in_all_but_its_scans_methods_and_outputs():
    same = request(outputs=["a.npz"], force=True, resume=True, verbose=True)
    assert same.batch_settings() == request().batch_settings()
    assert request(strict=True).batch_settings() != request().batch_settings()
