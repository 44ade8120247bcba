import torch
from torch import nn

from cinerecon.training.muon import Muon, hidden_weights, orthogonalised


def test_the_orthogonalised_matrix_has_the_singular_vectors_and_values_near_one():
    matrix = torch.randn(12, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = orthogonalised(matrix)
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    inner = u.mT @ found @ vh.mT
    assert (inner.diagonal() > 0.6).all()
    assert (inner.diagonal() < 1.3).all()
    assert (inner - inner.diagonal().diag()).abs().max() < 1e-9
    assert torch.allclose(orthogonalised(matrix.mT), found.mT)
    assert orthogonalised(torch.zeros(3, 4)).abs().max() == 0


def test_hidden_weights_are_those_between_features():
    net = nn.Sequential(nn.Conv3d(2, 16, 3), nn.Conv2d(16, 32, 3), nn.Linear(32, 16), nn.Conv3d(16, 2, 3))
    assert [weight.shape[:2] for weight in hidden_weights(net)] == [(32, 16), (16, 32)]


def test_what_is_not_hidden_moves_as_by_adamw():
    ours, theirs = (nn.Parameter(torch.linspace(-1, 1, 6)) for _ in range(2))
    settings = {"betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}
    optimizers = Muon([ours], [], 0.02, **settings), torch.optim.AdamW([theirs], 0.02, **settings)
    for step in range(5):
        for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
            parameter.grad = torch.cos(step + torch.arange(6.0)) * (parameter.detach() + 1)
            optimizer.step()
    assert torch.allclose(ours, theirs, atol=1e-7)


def test_a_resumed_run_moves_as_an_uninterrupted_one():
    nets = [nn.Linear(9, 10) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    optimizers = [Muon(net.parameters(), [net.weight], 0.01, weight_decay=0.01) for net in nets]
    for step in range(6):
        if step == 3:
            optimizers.append(Muon(nets[1].parameters(), [nets[1].weight], 0.01))
            optimizers[2].load_state_dict(optimizers.pop(1).state_dict())
        for net, optimizer in zip(nets, optimizers, strict=True):
            for parameter in net.parameters():
                parameter.grad = torch.sin(step + parameter.detach())
            optimizer.step()
    for one, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.equal(one, other)


def test_it_minimises():
    torch.manual_seed(0)
    matrix, net = torch.randn(12, 12), nn.Linear(12, 12)
    optimizer = Muon(net.parameters(), [net.weight], 0.05)
    losses = []
    for _ in range(150):
        x = torch.randn(64, 12)
        loss = (net(x) - x @ matrix).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
