"""States of linear layers, which are kept at the ends of prompts and gone back to."""

from types import SimpleNamespace
from typing import Any

import pytest

from virc.backends.kv_cache import Snapshots


def make_cache() -> tuple[Snapshots, Any]:
    """Snapshots of a network of a linear and a common layer, and its cache; a state is the ids that were read."""
    kinds = SimpleNamespace(layer_types=["linear_attention", "full_attention"])
    cache = SimpleNamespace(layers=[[], ["keys"]])
    return Snapshots(SimpleNamespace(get_text_config=lambda: kinds)), cache


def feed(snapshots: Snapshots, cache: Any, *ids: int) -> None:
    """Read ids."""
    cache.layers[0] += ids
    snapshots.position = (snapshots.position or 0) + len(ids)


@pytest.mark.parametrize(("length", "kept"), [(9, 8), (8, 8), (7, 3), (3, 3), (2, 0)])
def test_it_goes_back_to_the_longest_prompt_that_is_kept(length: int, kept: int) -> None:
    snapshots, cache = make_cache()
    for ids in ((1, 2, 3), (4, 5), (6, 7, 8)):
        feed(snapshots, cache, *ids)
        snapshots.keep(cache, None)  # type: ignore[arg-type]
    feed(snapshots, cache, 9, 10)
    assert snapshots.cut(cache, length) == kept
    assert cache.layers[0] == (list(range(1, kept + 1)) or list(range(1, 11)))


def test_a_step_that_was_broken_off_is_not_gone_on_from() -> None:
    snapshots, cache = make_cache()
    feed(snapshots, cache, 1, 2)
    snapshots.keep(cache, None)  # type: ignore[arg-type]
    snapshots.position = None
    cache.layers[0] += [3]
    assert snapshots.cut(cache, 3) == 2
    assert cache.layers[0] == [1, 2]
