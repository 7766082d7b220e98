"""What the length of a reply is worth, in the ways that published rewards weigh it.

Pure functions of numbers, which any reward file may import. A length is in any unit, of which the source says its own:
`virc.rewards.terms.text.tokens(sample, context)` counts tokens of the model, `len(sample.text)` characters.
"""

import math


def cosine(length: float, longest: float, right: bool, of_right: tuple[float, float] = (1.0, 0.5),
           of_wrong: tuple[float, float] = (-1.0, -0.5)) -> float:  # fmt: skip
    """By length and by whether the reply is right, from the first number of a pair at 0 to its second at `longest`.

        last + (first - last) * (1 + cos(pi * length / longest)) / 2

    A reply longer than `longest` is worth as much as one of that length. `longest` is more than 0.
    Source: Yeo et al., Demystifying Long Chain-of-Thought (arXiv:2502.03373), equation 1; with these numbers
    huggingface/open-r1@1416fa0, src/open_r1/rewards.py, get_cosine_scaled_reward (characters, 1000). With (1, 0.5)
    and (-0.5, 0) om-ai-lab/VLM-R1@90052f4, src/open-r1-multimodal/src/open_r1/grpo_jsonl.py, cosine_reward (tokens,
    1024), which takes every reply as right. In both the cosine rises again beyond `longest`.
    """
    first, last = of_right if right else of_wrong
    return last + (first - last) * (1 + math.cos(math.pi * min(1.0, length / longest))) / 2


def window(length: float, min_length: float = 320, max_length: float = 512, bonus: float = 0.2) -> float:
    """`bonus` where the length is from `min_length` to `max_length`, both included; else 0.

    Source: tulerfeng/Video-R1@59d65c3, src/r1-v/src/open_r1/trainer/grpo_trainer.py, len_control, and the same of
    QiWang98/VideoRFT@bba6099 (tokens). There it is added to the reward of replies that are right (over 0.1), where more
    than one of the replies to a prompt is; a total does so in its `group`.
    """
    return bonus if min_length <= length <= max_length else 0.0


def in_group(length: float, shortest: float, longest: float, right: bool) -> float:
    """How short a reply is among the replies to its prompt, of which two lengths are known: -0.5 to 0.5.

        0.5 - (length - shortest) / (longest - shortest)

    A wrong reply is worth 0 at most. Where all replies have one length, 0.
    Source: Kimi Team, Kimi k1.5 (arXiv:2501.12599), section 2.3.3, length penalty; tanhuajie/Reason-RFT@d0a8070,
    train/stage_rl/reward.py, len_reward (characters), where 0.05 of it is added from step 800 on.
    """
    if longest == shortest:
        return 0.0
    share = 0.5 - (length - shortest) / (longest - shortest)
    return share if right else min(0.0, share)
