"""Replies of rows among those that a model draws: the last of a group is the row's `stored_reply`, as MPCC has it.

It is rewarded as the others are, and counts in the mean and the deviation of its group. Its tokens are as likely under
the old policy as the actor finds them, so that its first update is not clipped. Rows without one have it drawn.
Source: MPCC (yjainqdc/MPCC-GRPO_with_prior_sample@c3ff602, train_script/sfpo_trainer.py); so does ViSurf
(arXiv:2510.10606).
"""

import msgspec

IN_VERL = "virc_extras.token_weights.stored_in_verl"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `token_weights: {stored: {}}` takes: nothing."""
