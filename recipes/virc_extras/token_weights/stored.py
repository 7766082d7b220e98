"""Replies of rows among those that a model draws: the last of a group is the row's `stored_reply`, as MPCC has it.

It is rewarded as the others are, and counts in the mean and the deviation of its group. Its tokens are as likely under
the old policy as the actor finds them, so that its first update is not clipped. Rows without one have it drawn.
Source: MPCC (yjainqdc/MPCC-GRPO_with_prior_sample@c3ff602, train_script/sfpo_trainer.py); so does ViSurf
(arXiv:2510.10606).
"""

from typing import TYPE_CHECKING

import msgspec

from virc.core.errors import DataError
from virc.core.text import plain

if TYPE_CHECKING:
    from virc.engines.verl.agent_ids import Ids

IN_VERL = "virc_extras.token_weights.stored_in_verl"
LOOP = "virc_extras.token_weights.stored_loop.StoredLoop"
COLUMN = "stored_reply"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `token_weights: {stored: {}}` takes: nothing."""


def ids_of(text: str, ids: "Ids") -> list[int]:
    """The ids of a reply that is not drawn, with the end of its turn. Raises DataError: there is no room for it."""
    from virc.backends.chatml import encode

    found = [*encode(ids.speech.tokenizer, text), ids.speech.end]
    if len(found) > ids.room:
        sentence = f"a stored reply has {len(found)} tokens with its end, over {ids.room}: {plain(text, 60)}"
        raise DataError(sentence, "raise response_length")
    return found
