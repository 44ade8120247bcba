"""One optimiser step, its schedule, and the check for divergence."""

import copy
import math

import pytest
import torch

from cinerecon.errors import CineReconError
from cinerecon.training import State, learning_rate_factor, optimizer_step
from cinerecon.training.state import check_divergence, make_optimizer, update_ema


@pytest.fixture
def make_state():
    """Makes a state of one linear layer with gradients of one."""

    def make(config):
        torch.manual_seed(0)
        net, ema_net = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
        ema_net.load_state_dict(net.state_dict())
        for parameter in net.parameters():
            parameter.grad = torch.ones_like(parameter)
        return State(net, ema_net, make_optimizer(net, config))

    return make


def test_the_cosine_warms_up_and_comes_down(make_recipe):
    config = make_recipe("n_steps=100", "n_warmup=10").training
    values = [learning_rate_factor(step, config) for step in range(100)]
    assert values[0] == pytest.approx(0.1)
    assert max(values) == values[9] == 1
    assert values[-1] < 0.02


def test_the_papers_decay_by_a_twentieth_each_epoch(make_recipe):
    config = make_recipe("schedule=exponential", "n_steps_per_epoch=7", "n_warmup=0").training
    assert [learning_rate_factor(step, config) for step in (0, 6, 7, 13, 14)] == pytest.approx(
        [1, 1, 0.95, 0.95, 0.95**2]
    )
    constant = make_recipe("schedule=constant", "n_warmup=2").training
    assert [learning_rate_factor(step, constant) for step in (0, 1, 500)] == [0.5, 1, 1]


def test_adamw_decays_weights_apart_from_the_gradient(make_recipe, make_state):
    settings = ("weight_decay=0.1", "n_warmup=0", "learning_rate=0.5")
    moved = {}
    for name in ("adam", "adamw"):
        state = make_state(make_recipe(f"optimizer={name}", *settings).training)
        before = state.net.weight.detach().clone()
        optimizer_step(state, make_recipe(f"optimizer={name}", *settings).training)
        moved[name] = (state.net.weight.detach() - before, before)
    change, before = moved["adamw"]
    assert torch.allclose(change, -0.5 * torch.ones_like(change) - 0.05 * before, atol=1e-5)
    assert torch.allclose(moved["adam"][0], -0.5 * torch.ones_like(change), atol=1e-5)  # the first step has size 1


@pytest.mark.parametrize("clip", ["0.1", "null"])
def test_the_gradient_is_clipped(make_recipe, make_state, clip):
    config = make_recipe(f"clip_norm={clip}").training
    state = make_state(config)
    seen = []
    state.optimizer.register_step_pre_hook(
        lambda *_: seen.append(torch.cat([p.grad.flatten() for p in state.net.parameters()]).norm())
    )
    optimizer_step(state, config)
    assert float(seen[0]) == pytest.approx(0.1 if clip == "0.1" else math.sqrt(8), rel=1e-3)


def test_a_gradient_that_is_not_finite_moves_nothing(make_recipe, make_state):
    config = make_recipe().training
    state = make_state(config)
    before = state.net.weight.detach().clone()
    state.net.weight.grad[0, 0] = math.inf
    with pytest.raises(CineReconError, match="the gradient is not finite at step 1"):
        optimizer_step(state, config)
    assert torch.equal(state.net.weight, before)


def test_the_average_follows_the_weights(make_recipe, make_state):
    for decay, expected in (("0", 1.0), ("0.999", 10 / 11)):
        config = make_recipe(f"ema_decay={decay}", "n_warmup=0").training
        state = make_state(config)
        before = state.net.weight.detach().clone()
        optimizer_step(state, config)
        moved = (state.ema_net.weight - before) / (state.net.weight.detach() - before)
        assert torch.allclose(moved, torch.full_like(moved, expected), atol=1e-4)


def test_moments_are_reset_each_epoch_if_set(make_recipe, make_state):
    config = make_recipe("reset_each_epoch=true", "n_steps_per_epoch=2").training
    state, ages = make_state(config), []
    for _ in range(5):
        for parameter in state.net.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer_step(state, config)
        ages.append(int(state.optimizer.state[state.net.weight]["step"]))
    assert ages == [1, 2, 1, 2, 1]


def test_a_diverging_loss_is_noticed_and_a_noisy_one_is_not(make_recipe, make_state):
    config = make_recipe("divergence_factor=10").training
    state = make_state(config)
    for step in range(200):
        state.n_steps_done = step
        check_divergence(state, (3.0 if step % 2 else 0.3) * 0.99**step, config)
    with pytest.raises(CineReconError, match="the loss diverges at step 2"):
        for step in range(200, 400):
            state.n_steps_done = step
            check_divergence(state, 1.05 ** (step - 200), config)


def test_a_state_comes_back_as_it_was(make_recipe, make_state):
    config = make_recipe().training
    state, other = make_state(config), make_state(config)
    optimizer_step(state, config)
    check_divergence(state, 0.5, config)
    other.restore(copy.deepcopy(state.dump()), config)
    for one in (state, other):
        for parameter in one.net.parameters():
            parameter.grad = torch.full_like(parameter, 0.3)
        optimizer_step(one, config)
    assert torch.equal(state.net.weight, other.net.weight)
    assert torch.equal(state.ema_net.weight, other.ema_net.weight)
    assert (other.n_steps_done, other.loss_ema, other.lowest_loss_ema) == (2, 0.5, 0.5)


def test_the_decay_by_epochs_begins_after_the_warm_up(make_recipe):
    config = make_recipe("schedule=exponential", "n_steps_per_epoch=7", "n_warmup=3").training
    assert [learning_rate_factor(step, config) for step in (2, 3, 9, 10)] == pytest.approx([1, 1, 1, 0.95])


def test_a_bad_start_is_no_divergence(make_recipe, make_state):
    """Sixty-fold growth within forty steps is borne, and noticed once it could have settled."""
    config = make_recipe("divergence_factor=10").training
    state = make_state(config)
    for step in range(40):
        state.n_steps_done = step
        check_divergence(state, 1.11**step, config)
    with pytest.raises(CineReconError, match="the loss diverges at step 51"):
        for step in range(40, 60):
            state.n_steps_done = step
            check_divergence(state, 60.0, config)


def test_a_resumed_state_uses_the_present_settings(make_recipe, make_state):
    state = make_state(make_recipe().training)
    optimizer_step(state, make_recipe().training)
    config = make_recipe("weight_decay=0.1", "betas=[0.8, 0.9]", "epsilon=1e-7").training
    other = make_state(config)
    other.restore(copy.deepcopy(state.dump()), config)
    (group,) = other.optimizer.param_groups
    assert (group["weight_decay"], group["betas"], group["eps"]) == (0.1, (0.8, 0.9), 1e-7)
    assert float(other.optimizer.state[other.net.weight]["step"]) == 1


def test_running_statistics_are_those_of_the_trained_network():
    net, average = torch.nn.BatchNorm1d(3), torch.nn.BatchNorm1d(3)
    net(torch.randn(5, 3))
    update_ema(average, net, 0.9)
    assert torch.equal(average.running_mean, net.running_mean)
    assert average.num_batches_tracked == 1
