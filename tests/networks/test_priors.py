import torch
from golden import golden
from helpers import complex_randn, relative_error

from cinerecon.networks.priors import AttentionThreshold, LowRankBranch, SparseBranch
from cinerecon.physics.lowrank import make_rule, shrink_frames
from cinerecon.physics.shrinkage import ShrinkageConfig


def test_attention_threshold_equals_the_authors_layer():
    case = golden("ast")
    layer = AttentionThreshold(4)
    with torch.no_grad():
        for n, linear in enumerate((layer.squeeze, layer.excite)):
            linear.weight.copy_(torch.from_numpy(case[f"w{n}_kernel"]).T)
            linear.bias.copy_(torch.from_numpy(case[f"w{n}_bias"]))
        features = torch.from_numpy(case["x_bthwc"]).permute(0, 4, 1, 2, 3)
        for weight, name in ((0.5, "out_w0p5"), (1.0, "out_w1")):
            expected = torch.from_numpy(case[name]).permute(0, 4, 1, 2, 3)
            assert relative_error(layer(features, 1 / weight), expected) < 1e-6


def test_attention_threshold_drops_at_most_what_is_below_the_mean_of_its_channel():
    features = torch.randn(2, 4, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        kept = AttentionThreshold(4)(features)
    mean = features.abs().mean((-3, -2, -1), keepdim=True)
    assert (kept[features.abs() > mean.expand_as(features)] != 0).all()
    assert (kept.abs() <= features.abs()).all()


def test_branches_whose_synthesis_is_zero_leave_the_image():
    image = complex_randn(2, 3, 7, 6)
    for branch in (LowRankBranch(ShrinkageConfig(), 4), SparseBranch(4)):
        torch.nn.init.zeros_(branch.synthesis.convolutions[-1].weight)
        assert torch.equal(branch.double()(image), image)


@torch.no_grad()
def test_lowrank_branch_shrinks_each_frame_of_the_learned_domain():
    config = ShrinkageConfig(shrinkage="relative_soft", threshold=-1.0)
    branch = LowRankBranch(config, 2).double()
    for stack in (branch.analysis, branch.synthesis):  # positive and negative parts apart and together: the identity
        for convolution in stack.convolutions:
            convolution.weight.zero_()
        centre = [convolution.weight[:, :, 1, 1, 1] for convolution in stack.convolutions]
        for weight in centre:
            weight.copy_(torch.eye(2))
    image = complex(3, 3) + 0.1 * complex_randn(1, 4, 7, 6)  # positive features, so that the activations let them pass
    shrunk = shrink_frames(image, make_rule(config, gain=0.5))
    assert (torch.view_as_real(shrunk) > 0).all()
    assert relative_error(branch(image, 0.5), image + shrunk) < 1e-12
