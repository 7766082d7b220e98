"""Advantages weighed by how much tokens depend on the picture, against numbers of the published program."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from virc.core.errors import ConfigError, DataError
from virc.engines.verl import plan as verl
from virc.engines.verl.agent_ids import Ids, Speech
from virc.reasoning.resize import QWEN2
from virc.stages import token_weights
from virc.stages.rl import Config, contradictions
from virc_extras.token_weights.stored import ids_of
from virc_extras.token_weights.visual import Settings

PUBLISHED = json.loads(Path(__file__).with_name("published.json").read_bytes())
IN_VERL = "virc_extras.token_weights.visual_in_verl"


@pytest.mark.integration
@pytest.mark.parametrize("case", PUBLISHED["cases"])
def test_advantages_are_those_of_the_published_program(case: dict[str, Any]) -> None:
    import torch

    from virc_extras.token_weights.dependence import dependence, most_dependent, scales

    seen, blind, mask, advantages = (torch.tensor(case[name]) for name in ("seen", "blind", "mask", "advantages"))
    found = dependence(seen, blind) * mask
    weights = most_dependent(found, mask, case["share"]) * scales(found, mask, case["least"])[:, None]
    assert torch.allclose(advantages * weights, torch.tensor(case["weighed"]), atol=2e-6)


@pytest.mark.integration
def test_a_share_of_patches_is_black_and_all_others_are_as_they_were() -> None:
    """Two channels of three pixels: black is -1 in the first and -2 in the second."""
    import torch

    from virc_extras.token_weights.dependence import blackened

    patches = torch.arange(6.0).repeat(1000, 1)
    found = blackened(patches, torch.tensor([-1.0, -2.0]), 0.5, torch.Generator().manual_seed(0))
    hidden = (found == torch.tensor([-1.0, -1.0, -1.0, -2.0, -2.0, -2.0])).all(1)
    assert 450 < int(hidden.sum()) < 550
    assert torch.equal(found[~hidden], patches[~hidden])
    assert torch.equal(blackened(patches, torch.tensor([-1.0, -2.0]), 0.0, torch.Generator()), patches)


def test_a_stage_with_token_weights_gets_their_loss_and_their_module() -> None:
    from engines.verl.test_verl_settings import ACTOR, config, keys, place

    weighed = config(token_weights={"visual": {"share": 0.3, "nll": 0.06}})
    env = verl.environment(weighed, place())
    assert env["VERL_USE_EXTERNAL_MODULES"] == f"{verl.PLUG_IN},{IN_VERL}"
    assert json.loads(env[token_weights.VARIABLE]) == {IN_VERL: {"share": 0.3, "least": 0.9, "black": 0.5, "nll": 0.06}}
    assert keys(weighed)[f"{ACTOR}.policy_loss.loss_mode"] == "visual"
    assert keys(config(token_weights={"stored": {}}))[f"{ACTOR}.policy_loss.loss_mode"] == "stored"
    assert f"{ACTOR}.policy_loss.loss_mode" not in keys(config())
    loops = [
        verl._loop(config(token_weights=given), place()).get("_target_")
        for given in ({"stored": {}}, {"second": {}}, {})
    ]
    package = "virc_extras.token_weights"
    assert loops == [f"{package}.stored_loop.StoredLoop", f"{package}.second_loop.SecondLoop", None]
    assert token_weights.VARIABLE not in verl.environment(config(), place())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"visul": {}}, "there are no token weights visul"),
        ({"visual": {"shares": 0.5}}, "token_weights.visual: object contains unknown field `shares`"),
        ({"visual": {"share": 0}}, "token_weights.visual: expected `float` > 0"),
        ({"stored": {"share": 0.5}}, "token_weights.stored: object contains unknown field `share`"),
        ({"stored": {}, "visual": {}}, "token_weights names 2, and a loss has one"),
    ],
)
def test_token_weights_that_cannot_be_are_refused(given: dict[str, dict[str, float]], said: str) -> None:
    with pytest.raises(ConfigError, match="^" + said):
        token_weights.resolved(given)
    config = Config(data="d", token_weights=given)
    assert [setting for setting, *_ in contradictions(config)] == ["token_weights"]


def test_what_is_not_set_is_as_published() -> None:
    assert msgspec.to_builtins(Settings()) == {"share": 0.4, "least": 0.9, "black": 0.5, "nll": 0.0}


def test_a_stored_reply_ends_its_turn_and_is_refused_where_it_does_not_fit() -> None:
    letters = SimpleNamespace(encode=lambda text, **_: [*text.encode()])
    ids = Ids([1, 2], Speech(letters, QWEN2, 9, frozenset({9}), ()), room=3)
    assert ids_of("ab", ids) == [97, 98, 9]
    with pytest.raises(DataError, match="a stored reply has 4 tokens with its end, over 3: abc") as caught:
        ids_of("abc", ids)
    assert caught.value.hint == "raise response_length"
