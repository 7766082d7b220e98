"""Makes a model of a checkpoint, shards, an adapter or a whole checkpoint, and publishes models and rows."""

from virc.merging.build import merge
from virc.merging.publish import push

__all__ = ["merge", "push"]
