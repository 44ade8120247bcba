"""CRNN-MRI: a convolutional network that is recurrent in time, in both directions, and over its iterations.

Qin et al., Convolutional Recurrent Neural Networks for Dynamic MR Image Reconstruction, IEEE TMI 2019,
doi:10.1109/TMI.2018.2863670. All iterations share their weights. Inputs of an iteration are the image x and the
features h of the previous iteration (initially zero):

    f_t = relu(W x_t + P h0_t + H f_(t-1)),  b_t = relu(W x_t + P h0_t + H b_(t+1)),  h0 = f + b
    h_j = relu(W_j h_(j-1) + P_j h_j),  j = 1, 2, 3
    x = DC(x + W_4 h_3)

with 3x3 convolutions W, P, H over (y, x), each with a bias, and data consistency DC. Reversing time exchanges f and b.

With `lowrank`, the plug-and-play module of Ke et al. (IEEE TMI 2021, doi:10.1109/TMI.2021.3096218) shrinks singular
values in each iteration, before the convolutions (L1), before data consistency (L2), or after it (L3): CRNN-LR.

Departs from the paper in: several coils, with data consistency in the k-space of each coil; an initial image may be
given in place of the zero-filled image.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from cinerecon.networks.blocks import Convolution, NarrowConv2d, data_consistency, to_channels, to_complex
from cinerecon.networks.config import CrnnConfig
from cinerecon.networks.lowrank_module import LowRankAt
from cinerecon.networks.unrolled import Extras, Unrolled, UnrolledPass
from cinerecon.physics.operators import Encoding

Features = tuple[Tensor, ...] | None
"""h0 to h3, each ``(frames * batch, channels, y, x)``; None means zeros."""


class Recurrence(nn.Module):
    """relu(W x + P h), where h are the features of the previous iteration."""

    def __init__(self, n_in: int, n_channels: int) -> None:
        super().__init__()
        self.from_input = nn.Conv2d(n_in, n_channels, 3, padding=1)
        self.from_iteration = nn.Conv2d(n_channels, n_channels, 3, padding=1)

    def combine(self, features: Tensor, before: Tensor | None) -> Tensor:
        """W x + P h; a convolution of zeros is its bias."""
        if before is None:
            bias = self.from_input.bias + self.from_iteration.bias  # type: ignore[operator]
            return functional.conv2d(features, self.from_input.weight, bias, padding=1)
        result: Tensor = self.from_input(features).add_(self.from_iteration(before))
        return result

    def forward(self, features: Tensor, before: Tensor | None) -> Tensor:
        """Input ``(frames * batch, n_in, y, x)`` and features ``(frames * batch, channels, y, x)`` to new features."""
        return self.combine(features, before).relu_()


class BidirectionalRecurrence(Recurrence):
    """The sum of two such layers that are also recurrent in time, forwards and backwards, with the same weights."""

    def __init__(self, n_in: int, n_channels: int) -> None:
        super().__init__(n_in, n_channels)
        self.from_neighbour = nn.Conv2d(n_channels, n_channels, 3, padding=1)

    def over_time(self, features: Tensor, before: Tensor | None, n_batch: int) -> Tensor:
        """Input ``(frames * batch, n_in, y, x)`` and features ``(frames * batch, channels, y, x)`` to new features."""
        frames = self.combine(features, before).split(n_batch)
        zero_features = cast(Tensor, self.from_neighbour.bias)[:, None, None].to(
            frames[0].dtype
        )  # the convolution of zeros
        both, steps = None, []
        for first, last in zip(frames, reversed(frames), strict=True):
            adjacent = zero_features if both is None else self.from_neighbour(both)
            both = torch.cat((first, last)).add_(adjacent).relu_()  # the two directions are one batch
            steps.append(both.split(n_batch))
        forwards, backwards = zip(*steps, strict=True)
        return torch.cat(forwards) + torch.cat(backwards[::-1])


class Cascade(nn.Module):
    """One iteration: recurrent layers, residual, data consistency. Weights are initialised by the defaults of torch."""

    def __init__(self, config: CrnnConfig) -> None:
        super().__init__()
        c = config.n_channels
        self.inverse_noise_level = config.inverse_noise_level
        self.in_time = BidirectionalRecurrence(2, c)
        self.layers = nn.ModuleList(Recurrence(c, c) for _ in range(config.n_layers))
        self.to_image = NarrowConv2d(c, 2)

    def forward(
        self, zerofilled: Tensor, encoding: Encoding, lowrank: LowRankAt, image: Tensor, before: Features
    ) -> tuple[Tensor, Features]:
        """Compute the next image ``(batch, frames, y, x)`` and features."""
        image = lowrank("L1", image)
        n_batch = len(image)
        frames = to_channels(image).permute(2, 0, 1, 3, 4).flatten(0, 1)
        earlier = before or (None,) * (1 + len(self.layers))
        features = [self.in_time.over_time(frames, earlier[0], n_batch)]
        for layer, own in zip(self.layers, earlier[1:], strict=True):
            features.append(layer(features[-1], own))
        change = self.to_image(features[-1]).unflatten(0, (-1, n_batch)).permute(1, 2, 0, 3, 4)
        image = lowrank("L2", image + to_complex(change))
        image = data_consistency(image, zerofilled, encoding, self.inverse_noise_level)
        return lowrank("L3", image), tuple(features)


class Crnn(Unrolled[CrnnConfig]):
    """CRNN-MRI; the defaults of `config` are those of the authors' program. One `cascade` is run in all iterations."""

    config_class = CrnnConfig
    n_feature_series = 11.0

    def __init__(self, config: CrnnConfig | None = None) -> None:
        super().__init__(config)
        self.cascade = Cascade(self.config)
        n_modules = 1 if self.config.shared_lowrank else self.config.n_cascades
        self.lowrank = nn.ModuleList(LowRankAt(self.config.lowrank) for _ in range(n_modules))

    def output_convolutions(self) -> list[Convolution]:
        """The last convolution of each iteration."""
        return [self.cascade.to_image]

    def unroll(self, run: UnrolledPass, image: Tensor) -> tuple[Tensor, Extras]:
        """Pass the features from each iteration to the next. There are no extras."""
        features: Features = None
        for n in range(self.config.n_cascades):
            lowrank = self.lowrank[n % len(self.lowrank)]
            image, features = run(self.cascade, lowrank, image, features)
        return image, {}
