"""Makes a model of a checkpoint: shards, an adapter or a whole checkpoint."""

from virc.merging.build import merge

__all__ = ["merge"]
