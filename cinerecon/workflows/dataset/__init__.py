"""Training data: where cases come from, and the batches drawn from them."""

from cinerecon.workflows.dataset.batch import Batch, Batches, draw_batch, load_batches
from cinerecon.workflows.dataset.config import DataConfig, PhantomSource, PreparedSource, SeriesSource
from cinerecon.workflows.dataset.pool import PARTS, Pool, open_pool

__all__ = [
    "PARTS",
    "Batch",
    "Batches",
    "DataConfig",
    "PhantomSource",
    "Pool",
    "PreparedSource",
    "SeriesSource",
    "draw_batch",
    "load_batches",
    "open_pool",
]
