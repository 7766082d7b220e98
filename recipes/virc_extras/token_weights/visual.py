"""Weights of tokens by how much they depend on the picture, as VPPO has them.

Each reply is computed once more with half of each picture black. The tokens whose probability changes most keep their
advantage, all others get none, and replies that depend more on their pictures than others count more.
Source: VPPO (arXiv:2510.09285; huaixuheqing/VPPO-RL@a23c54b, verl/workers/actor/dp_actor.py and perc_utils.py).
"""

from typing import Annotated

import msgspec
from msgspec import Meta

IN_VERL = "virc_extras.token_weights.visual_in_verl"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `token_weights: {visual: {...}}` takes.

    Args:
        share: of a reply's tokens that keep their advantage.
        least: what the advantages of the reply that depends least on its pictures are multiplied by; the mean over a
            batch is 1.
        black: share of the patches of a picture that are black.
        nll: what the mean negative log-probability of the tokens drawn is multiplied by in the loss.
    """

    share: Annotated[float, Meta(gt=0, le=1)] = 0.4
    least: Annotated[float, Meta(ge=0, le=1)] = 0.9
    black: Annotated[float, Meta(ge=0, le=1)] = 0.5
    nll: Annotated[float, Meta(ge=0)] = 0.0
