"""Import of published weights of other programs as models of this package."""

from cinerecon.methods.published.importer import ImportedNetwork, import_checkpoint, import_model, map_variables
from cinerecon.methods.published.layouts import LAYOUTS, CheckpointLayout, Program
from cinerecon.methods.published.read import Checkpoint, read_checkpoint

__all__ = [
    "LAYOUTS",
    "Checkpoint",
    "CheckpointLayout",
    "ImportedNetwork",
    "Program",
    "import_checkpoint",
    "import_model",
    "map_variables",
    "read_checkpoint",
]
