"""The initial weights of PASSNet from those of JotlasNet."""

import runpy

import torch
from helpers import relative_error
from network_checks import random_case

from cinerecon.methods.model_file import models_folder
from cinerecon.networks.config import JotlasNetConfig, PassNetConfig
from cinerecon.networks.jotlasnet import JotlasNet
from cinerecon.networks.passnet import PassNet

SCRIPT = runpy.run_path(str(models_folder() / "passnet_from_jotlasnet.py"))


@torch.no_grad()
def test_passnet_starts_as_a_jotlasnet_without_thresholds_and_momentum():
    without = {"threshold": -80.0, "momentum": -80.0}  # sigmoid(-80) is zero
    jotlasnet = JotlasNet(JotlasNetConfig(n_cascades=2, n_channels=4, **without)).double()
    passnet = PassNet(PassNetConfig(n_cascades=2, n_channels=4, normalize_spectrum=True)).double()
    for net in (jotlasnet, passnet):
        for parameter in net.parameters():
            if parameter.ndim > 1:
                parameter.copy_(0.2 * torch.randn_like(parameter))
        for cascade in net.cascades:
            cascade.sparse.attention.excite.weight.zero_()
            cascade.sparse.attention.excite.bias.fill_(-80.0)
    kspace, encoding = random_case(coils=2)
    expected = jotlasnet(kspace, encoding)[0]
    assert relative_error(passnet(kspace, encoding)[0], expected) > 0.01
    passnet.load_state_dict(SCRIPT["combine"](jotlasnet.state_dict(), passnet.state_dict()))
    assert relative_error(passnet(kspace, encoding)[0], expected) < 1e-5
