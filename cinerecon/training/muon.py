"""Muon: steps along the orthogonalised momentum of hidden weights; all other parameters use AdamW.

Jordan et al. 2024 (kellerjordan.github.io/posts/muon). The momentum of a weight, reshaped to a matrix (output channels
x all other axes), is replaced by the nearest matrix with orthonormal rows, computed by five Newton-Schulz iterations.
The step is scaled to the size of an Adam step (Liu et al. 2025, arXiv 2502.16982), so that both kinds of parameters
share one learning rate and one weight decay.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

NEWTON_SCHULZ_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic polynomial that maps singular values close to 1: 0.7 to 1.2 after five iterations."""
ADAM_STEP_RMS = 0.2
"""Root mean square of a step of Adam at a learning rate of 1."""


class Muon(Optimizer):
    """Muon for the weights of hidden convolutions and linear layers, AdamW for all other parameters.

    Parameters
    ----------
    parameters
        All learned parameters.
    hidden
        The parameters that are updated by Muon.
    lr, betas, eps, weight_decay
        As in AdamW; the first beta is also the momentum of Muon.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        hidden: Iterable[Tensor],
        lr: float,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        chosen = {id(weight) for weight in hidden}
        groups: list[dict[str, Any]] = [{"params": [], "hidden": False}, {"params": [], "hidden": True}]
        for parameter in parameters:
            groups[id(parameter) in chosen]["params"].append(parameter)
        super().__init__(
            [group for group in groups if group["params"]],
            {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay},
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override] # noqa: ARG002
        """Update all parameters that have a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                state = self.state[parameter]
                update = self._hidden_update if group["hidden"] else self._adam_update
                parameter.sub_(update(parameter.grad, state, group), alpha=group["lr"])

    @staticmethod
    def _hidden_update(grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
        momentum = state.setdefault("momentum", torch.zeros_like(grad))
        decay = group["betas"][0]
        momentum.lerp_(grad, 1 - decay)
        ahead = grad.lerp(momentum, decay).flatten(1)  # Nesterov
        step: Tensor = ADAM_STEP_RMS * max(ahead.shape) ** 0.5 * orthogonalised(ahead).view_as(grad)
        return step

    @staticmethod
    def _adam_update(grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
        mean = state.setdefault("mean", torch.zeros_like(grad))
        square = state.setdefault("square", torch.zeros_like(grad))
        state["n"] = state.get("n", 0) + 1
        first, second = group["betas"]
        mean.lerp_(grad, 1 - first)
        square.mul_(second).addcmul_(grad, grad, value=1 - second)
        scale = (square / (1 - second ** state["n"])).sqrt_().add_(group["eps"])
        step: Tensor = mean / (1 - first ** state["n"]) / scale
        return step


def orthogonalised(matrix: Tensor, n_iterations: int = 5) -> Tensor:
    """Approximation of U V^H for a matrix U S V^H ``(rows, columns)``; a zero matrix remains zero."""
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonalised(matrix.mT, n_iterations).mT
    a, b, c = NEWTON_SCHULZ_COEFFICIENTS
    estimate: Tensor = matrix / matrix.norm().clamp(min=1e-12)
    for _ in range(n_iterations):
        gram = estimate @ estimate.mT
        estimate = a * estimate + (b * gram + c * gram @ gram) @ estimate
    return estimate


def hidden_weights(net: nn.Module) -> list[Tensor]:
    """The weights of convolutions and linear layers with more than eight input and output features."""
    layers = (layer for layer in net.modules() if isinstance(layer, nn.Conv2d | nn.Conv3d | nn.Linear))
    return [layer.weight for layer in layers if min(layer.weight.shape[:2]) > 8 and layer.weight.requires_grad]
