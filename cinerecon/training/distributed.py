"""Distributed training in several processes started by ``torchrun``, each with its own batches and a common gradient.

Batches are drawn by number, so that a step of n processes equals a step of one process with n times as many batches.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import distributed, nn

from cinerecon.io.atomic import remove_empty
from cinerecon.machine import pick_device
from cinerecon.options import DEVICE


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of a training, from the perspective of one of them.

    Attributes
    ----------
    device
        Device of this process.
    rank, size
        Number of this process, and number of processes. Process 0 validates and writes all files.
    """

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def is_main_process(self) -> bool:
        """Whether this is process 0."""
        return self.rank == 0

    @torch.no_grad()
    def average_gradients(self, net: nn.Module, *values: float) -> list[float]:
        """Average the gradients over all processes in place, with a single all-reduce.

        Returns
        -------
        list[float]
            The values, averaged over all processes as well.
        """
        if self.size == 1:
            return list(values)
        gradients = [parameter.grad for parameter in net.parameters() if parameter.grad is not None]
        scalars = torch.tensor(values, dtype=torch.float32, device=self.device)
        flat = torch.cat([*(gradient.flatten() for gradient in gradients), scalars])
        distributed.all_reduce(flat)
        flat /= self.size
        sizes = [gradient.numel() for gradient in gradients]
        *means, scalars = torch.split_with_sizes(flat, [*sizes, len(values)])
        for gradient, mean in zip(gradients, means, strict=True):
            gradient.copy_(mean.view_as(gradient))
        return [float(value) for value in scalars]

    def barrier(self) -> None:
        """Wait until all processes have reached this point."""
        if self.size > 1:
            distributed.barrier()


@contextmanager
def join_process_group(device: str = DEVICE) -> Iterator[ProcessGroup]:
    """Join the processes started by ``torchrun``; without it, the group consists of this process alone.

    A process that has joined before remains in its group: leaving and joining again is not safe, since an early process
    would read stale addresses from the store and wait forever.

    Raises
    ------
    ConfigError
        If the device does not exist.
    """
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    name = pick_device(device)
    if size == 1:
        yield ProcessGroup(torch.device(name))
        return
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(name)
    group = ProcessGroup(torch.device(name), rank, size)
    if distributed.is_initialized():
        yield group
        return
    distributed.init_process_group("nccl" if name.startswith("cuda") else "gloo")
    try:
        yield group
        distributed.barrier()  # a process that leaves while others still communicate may cause an abort
    finally:
        distributed.destroy_process_group()
    _remove_launcher_folder()


def _remove_launcher_folder() -> None:
    """Remove the folder of this process that ``torchrun`` creates for logs and leaves behind, if it is empty.

    The last process removes the folders above, up to the temporary folder ``torchelastic_...``. A folder that the user
    gave to ``torchrun --log-dir`` is kept.
    """
    error_file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    folders = list(Path(error_file).parents)[:4] if error_file else []
    if folders and folders[-1].name.startswith("torchelastic_"):
        remove_empty(folders)
