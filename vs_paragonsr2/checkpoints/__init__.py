"""From a file to the tensors of a network, all of them checked. NumPy alone, and nothing in a file is executed."""

from .load import Checkpoint, load_checkpoint

__all__ = ["Checkpoint", "load_checkpoint"]
