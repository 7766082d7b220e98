"""Second replies: the question asked again, with the pictures of the first look alone, as REVISOR has it.

A row with the column `second_question` gets, for each rollout that looked, a reply to that with the pictures of its
first look alone, drawn greedily. Its tokens are not learnt; the reward has it as the column `second_reply`.
Source: REVISOR (arXiv:2511.13026; SeerRay-Lab/REVISOR@7bc36fa, verl/workers/agent/parallel_env.py).
"""

import msgspec

IN_VERL = "virc_extras.token_weights.second_in_verl"
LOOP = "virc_extras.token_weights.second_loop.SecondLoop"
QUESTION, REPLY = "second_question", "second_reply"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `token_weights: {second: {}}` takes: nothing."""
