"""The size of the largest array that a computation allocates, which does not depend on the machine."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LargestTensor(TorchDispatchMode):
    """While active, records the largest storage that an operation of torch newly allocates for its results [bytes]."""

    def __init__(self) -> None:
        super().__init__()
        self.n_bytes = 0

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        result = function(*arguments, **(named or {}))
        given = {t.untyped_storage().data_ptr() for t in tree_leaves((arguments, named)) if isinstance(t, Tensor)}
        new = (t.untyped_storage() for t in tree_leaves(result) if isinstance(t, torch.Tensor))
        sizes = [storage.nbytes() for storage in new if storage.data_ptr() not in given]
        self.n_bytes = max([self.n_bytes, *sizes])
        return result
