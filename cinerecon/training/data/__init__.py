"""Training data: sources of cases, and the batches drawn from them."""

from cinerecon.training.data.batch import (
    Batch,
    Batches,
    allowed_crops,
    choose_weighted,
    draw_batch,
    require_fit,
)
from cinerecon.training.data.batch_cache import CachedBatches, batch_cache_name
from cinerecon.training.data.case import Shape
from cinerecon.training.data.config import DataConfig, PhantomSource, PreparedSource, SeriesSource, parse_crop
from cinerecon.training.data.pool import SPLITS, CasePool, open_pool
from cinerecon.training.data.series import list_series, series_warnings
from cinerecon.training.data.simulated import SIMULATION_VERSION
from cinerecon.training.data.workers import Cacheable, fill_cache, load_batches, one_thread

__all__ = [
    "SIMULATION_VERSION",
    "SPLITS",
    "Batch",
    "Batches",
    "Cacheable",
    "CachedBatches",
    "CasePool",
    "DataConfig",
    "PhantomSource",
    "PreparedSource",
    "SeriesSource",
    "Shape",
    "allowed_crops",
    "batch_cache_name",
    "choose_weighted",
    "draw_batch",
    "fill_cache",
    "list_series",
    "load_batches",
    "one_thread",
    "open_pool",
    "parse_crop",
    "require_fit",
    "series_warnings",
]
