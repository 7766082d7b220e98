"""Adds an adapter to its base: `python -m virc.engines.merge.adapter BASE ADAPTER FOLDER`.

It runs where `virc solve` runs models in-process, so that the merged model is what `virc solve` makes of the two.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from virc.backends import checkpoint, local, lora
from virc.engines.merge import common as merging


def merge(words: Sequence[str]) -> int:
    """Merge an adapter's folder and its base's into a model's; returns how many numbers the model holds."""
    base, adapter, folder = map(Path, words)
    checkpoint.check_checkpoint(base)
    merging.check_room(checkpoint.file_bytes(base), folder)
    network = local.read_network(base, "auto")
    groups = merging.tied(network)
    lora.merge(network, adapter)
    for first, *others in groups:
        weight = network.get_parameter(first)
        if not all(merging.same(weight, network.get_parameter(name)) for name in others):
            # An adapter that holds one of two tied weights parts them.
            network.config.tie_word_embeddings = network.config.get_text_config().tie_word_embeddings = False
    return merging.save(network, folder)


if __name__ == "__main__":
    sys.exit(merging.run(merge))
