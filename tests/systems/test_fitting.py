"""Faults of plain values: as many as there are, none where msgspec would take them."""

from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from virc.config import validation as fitting
from virc.stages.sft import Config
from virc.systems.registry import Written


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    count: Annotated[int, Meta(ge=1)]
    words: tuple[str, ...] = ()


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    inner: Inner | None = None
    each: dict[str, Inner] = {}
    texts: dict[str, str] = {}


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from(["", "x", "1", "1e-3", "true", "epoch", "sft"]),
)
NAMES = st.sampled_from(
    [*Config.__struct_fields__, *Written.__struct_fields__, "rank", "kind", "settings", "about", "a b", "hub"]
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)


def fits(value: object, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        return False
    return True


@pytest.mark.integration
@pytest.mark.parametrize("kind", [Config, Written, Outer])
@given(value=st.dictionaries(NAMES, VALUES, max_size=4), whole=st.booleans())
def test_a_value_has_faults_where_msgspec_refuses_it_or_a_number_has_no_end(
    kind: Any, value: dict[str, Any], whole: bool
) -> None:
    value = {"name": "x", "data": "x", "learning_rate": 1, **value} if whole else value
    value = {key: each for key, each in value.items() if key in kind.__struct_fields__ or not whole}
    faults = list(fitting.faults(value, kind))
    if not faults:
        assert fits(value, kind)
    if faults and not any("with an end" in fault.message for fault in faults):
        assert not fits(value, kind)
    assert all(fault.message and "`$" not in fault.message for fault in faults)


def test_every_fault_is_found_with_its_keys() -> None:
    value = {
        "inner": {"count": 0, "wrods": []},
        "each": {"a": {}, "b": 3, "c": {"count": 1, "words": [1, "x"]}},
        "texts": {"x": 1, "y": True, "z": "ok"},
        "more": 1,
    }
    found = {fault.path: (fault.message, fault.hint) for fault in fitting.faults(value, Outer)}
    assert found == {
        ("inner", "count"): ("inner.count must be a whole number of at least 1, not 0", None),
        ("inner", "wrods"): ("unknown key 'inner.wrods'", "did you mean 'words'?"),
        ("each", "a", "count"): ("each.a.count is missing", None),
        ("each", "b"): ("each.b must be lines of the form `key: value` (count, words), not 3", None),
        ("each", "c", "words"): ("each of each.c.words must be text, not 1", "put it in quotes"),
        ("texts", "x"): ("texts.x must be text, not 1", "put it in quotes"),
        ("texts", "y"): ("texts.y must be text, not true", "put it in quotes"),
        ("more",): ("unknown key 'more'", "there are each, inner, texts"),
    }
