"""From a file to tensors that are known to be a network of ours. NumPy alone, and nothing in a file is executed."""

from .load import Checkpoint, load_checkpoint

__all__ = ["Checkpoint", "load_checkpoint"]
