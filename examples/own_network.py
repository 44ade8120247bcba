"""Write an unrolled network in plain PyTorch and train it on one simulated cine, with the encoding operator.

python examples/own_network.py
"""

import torch
from torch import Tensor, nn

import cinerecon
from cinerecon.physics.sampling import parse_mask


class GradientNet(nn.Module):
    """Gradient steps on ||A x - y||^2, each followed by a residual convolution over frames, y and x."""

    def __init__(self, n_cascades: int = 3, n_channels: int = 8) -> None:
        super().__init__()
        self.refine = nn.ModuleList(
            nn.Sequential(
                nn.Conv3d(2, n_channels, 3, padding=1), nn.ReLU(), nn.Conv3d(n_channels, 2, 3, padding=1, bias=False)
            )
            for _ in range(n_cascades)
        )

    def forward(self, kspace: Tensor, encoding: cinerecon.Encoding, start: Tensor | None = None) -> Tensor:
        """``(batch, frames, coils, ky, kx)`` complex to the image ``(batch, frames, y, x)`` complex."""
        zerofilled = encoding.adjoint(kspace)
        image = zerofilled if start is None else start
        for refine in self.refine:
            image = image - encoding.normal(image) + zerofilled
            channels = torch.view_as_real(image).movedim(-1, 1)  # (batch, 2, frames, y, x)
            image = image + torch.view_as_complex(refine(channels).movedim(1, -1).contiguous())
        return image


def main() -> None:
    """Train with a new mask in each step. The PSNR is that before the step, so the mask has not been used yet."""
    torch.manual_seed(0)
    (cine,) = cinerecon.simulate_cine(cinerecon.SimulateConfig(n_frames=6, ky=48, kx=48, n_coils=2))
    kspace, csm, reference = cine.kspace[None], cine.csm[None], cine.reference[None]
    net, pattern = GradientNet(), parse_mask("gaussian:4")
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    for step in range(41):
        encoding = cinerecon.Encoding(pattern.draw(6, 48, 48, seed=step)[None], csm)
        image = net(kspace * encoding.mask, encoding)
        score = cinerecon.metrics.psnr(image.detach().abs(), reference.abs())
        if step % 20 == 0:
            print(f"step {step}: PSNR {score:.2f} dB")
        optimiser.zero_grad()
        (image - reference).abs().square().mean().backward()
        optimiser.step()


if __name__ == "__main__":
    main()
