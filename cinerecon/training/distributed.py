"""Several processes that train one network, as ``torchrun`` starts them: each its own batches, one mean gradient.

A step of n processes is that of one process with n times as many batches, because batches are drawn by number.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed, nn

from cinerecon.machine import pick_device


@dataclass(frozen=True)
class Team:
    """The processes, and which one this is.

    Attributes
    ----------
    device
        Where this process computes.
    rank, size
        Number of this process, and how many there are. The first one validates and writes.
    """

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the first process."""
        return self.rank == 0

    @torch.no_grad()
    def average(self, net: nn.Module, *numbers: float) -> list[float]:
        """Average the gradients over all processes, in place, and some numbers with them: in one exchange."""
        if self.size == 1:
            return list(numbers)
        gradients = [parameter.grad for parameter in net.parameters() if parameter.grad is not None]
        told = torch.tensor(numbers, dtype=torch.float32, device=self.device)
        everything = torch.cat([*(gradient.flatten() for gradient in gradients), told])
        distributed.all_reduce(everything)
        everything /= self.size
        sizes = [gradient.numel() for gradient in gradients]
        *means, told = everything.split([*sizes, len(numbers)])
        for gradient, mean in zip(gradients, means, strict=True):
            gradient.copy_(mean.view_as(gradient))
        return told.tolist()

    def wait(self) -> None:
        """Go on when all processes are here."""
        if self.size > 1:
            distributed.barrier()


@contextmanager
def join_team(device: str = "auto") -> Iterator[Team]:
    """Join the processes that ``torchrun`` started; without it there is this one alone.

    Who has joined already stays joined. Joining, leaving and joining again is not safe: a process that is early would
    read from the store where the others listened the first time, and wait there for good.

    Raises
    ------
    ConfigError
        If there is no such device.
    """
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    name = pick_device(device)
    if size == 1:
        yield Team(torch.device(name))
        return
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(name)
    team = Team(torch.device(name), rank, size)
    if distributed.is_initialized():
        yield team
        return
    distributed.init_process_group("nccl" if name.startswith("cuda") else "gloo")
    try:
        yield team
    finally:
        distributed.destroy_process_group()
