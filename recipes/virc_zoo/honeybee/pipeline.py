r"""HoneyBee: a picture is described once, and solutions that share the description vote.

Source: arXiv:2510.12225v1, section 5.5: the first of 64 replies is whole, and its caption is given to the others, drawn at
temperature 0.7; the answer of most counts. Assumed: the caption, which is context there, stands behind
the question; and a reply without a box has no vote.
"""

import re
from pathlib import Path

from virc.rewards.published import boxed
from virc.systems import texts
from virc_extras.pipelines import Problem, Role, Roles, vote

ROLES = {"model": Role(temperature=0.7, max_tokens=2048)}  # eval/eval_plm_multi_hf.py: max_new_tokens

SAMPLES = 64


def solve(problem: Problem, roles: Roles) -> str:
    """Describe and solve, solve again with the same description, and vote."""
    asked = f"{problem.question}{texts.text(Path(__file__).parent, 'user')}"
    first = roles.model.ask(problem.images, asked, step="caption")
    shared = re.search(r"<caption>.*?</caption>", first, re.DOTALL)
    again = f"{asked}\n\n{shared[0]}" if shared else asked
    others = roles.model.sample(SAMPLES - 1, problem.images, again, step="solutions")
    answers = [text for each in (first, *others) if (text := boxed(each)) is not None]
    return vote(answers)
