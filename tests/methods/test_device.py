"""Methods on another device than the CPU: nothing that they compute with is left on the CPU."""

import pytest
from helpers import relative_error
from pretend_gpu import pretended_gpu

from cinerecon.methods.table import METHODS, load_method

FEW = {"ktslr-reference": ["n_outer=3", "n_inner=3"]}
"""Settings that spare a slow method most of its iterations."""


@pytest.mark.parametrize("n_coils", [1, 4])
@pytest.mark.parametrize("name", METHODS)
def test_another_device_gives_the_image_of_the_cpu(name, make_cine, n_coils):
    data, settings = make_cine(n_coils), FEW.get(name, ())
    with pretended_gpu() as gpu:
        image = load_method(name, settings, device=str(gpu))(data.to(gpu))
        assert image.device == gpu
        image = image.cpu()
    assert relative_error(image, load_method(name, settings)(data)) < 1e-3
