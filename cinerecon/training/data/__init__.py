"""Training data: where cases come from, and the batches drawn from them."""

from cinerecon.training.data.ahead import Kept, make_ready
from cinerecon.training.data.batch import (
    Batch,
    Batches,
    choose,
    crops_of,
    draw_batch,
    load_batches,
    one_thread,
    require_fit,
)
from cinerecon.training.data.batch_cache import KeptBatches, name_of
from cinerecon.training.data.case import Shape
from cinerecon.training.data.config import DataConfig, PhantomSource, PreparedSource, SeriesSource, parse_crop
from cinerecon.training.data.pool import PARTS, Pool, open_pool
from cinerecon.training.data.series import list_series, series_remarks
from cinerecon.training.data.simulated import EDITION

__all__ = [
    "EDITION",
    "PARTS",
    "Batch",
    "Batches",
    "DataConfig",
    "Kept",
    "KeptBatches",
    "PhantomSource",
    "Pool",
    "PreparedSource",
    "SeriesSource",
    "Shape",
    "choose",
    "crops_of",
    "draw_batch",
    "list_series",
    "load_batches",
    "make_ready",
    "name_of",
    "one_thread",
    "open_pool",
    "parse_crop",
    "require_fit",
    "series_remarks",
]
