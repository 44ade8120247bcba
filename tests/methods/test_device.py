"""Methods on another device than the CPU: nothing that they compute with is left on the CPU."""

import pytest
from few_iterations import load_short
from helpers import relative_error
from pretend_gpu import pretended_gpu

from cinerecon.methods.table import METHODS


@pytest.mark.parametrize("n_coils", [1, 4])
@pytest.mark.parametrize("name", METHODS)
def test_another_device_gives_the_image_of_the_cpu(name, make_cine, n_coils):
    data = make_cine(n_coils)
    with pretended_gpu() as gpu:
        image = load_short(name, device=str(gpu))(data.to(gpu))
        assert image.device == gpu
        image = image.cpu()
    assert relative_error(image, load_short(name)(data)) < 1e-3
