"""Adds an adapter to its base: `python -m virc.engines.merge.adapter BASE ADAPTER FOLDER`.

It runs where `virc solve` runs models in-process, so that the merged model is what `virc solve` makes of the two.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from virc.backends import checkpoint, local, lora
from virc.engines.merge import common as merging


def merge(words: Sequence[str]) -> int:
    """Merge an adapter's folder and its base's into a model's.

    Returns:
        How many numbers the model holds.

    Raises:
        ConfigError: the base is incomplete, or the adapter is none of it.
        SetupError: it does not fit.
        VircError: the disk refuses.
    """
    base, adapter, folder = map(Path, words)
    checkpoint.check(base)
    lora.check(adapter)
    merging.check_room(checkpoint.file_bytes(base), folder)
    network = local.read_network(base, "auto")
    groups = merging.tied(network)
    lora.merge(network, adapter)
    if not all(_alike(network, group) for group in groups):
        untie(network.config)
    return merging.save(network, folder)


def untie(config: Any) -> None:
    """Say that output weights are their own: an adapter that holds one of two tied weights parts them."""
    config.tie_word_embeddings = config.get_text_config().tie_word_embeddings = False


def _alike(network: Any, names: Sequence[str]) -> bool:
    weights = [network.get_parameter(name) for name in names]
    return all(merging.same(weights[0], weight) for weight in weights[1:])


if __name__ == "__main__":
    sys.exit(merging.run(merge))
