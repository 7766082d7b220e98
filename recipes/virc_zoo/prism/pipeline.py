"""Prism: a model that sees describes the picture, and one that does not see answers from that.

Source of each value: SparksJoe/Prism, commit 219c6c1b183a; `describe` is its instruction `generic`, which
config/default_config.json names.
"""

from functools import partial
from pathlib import Path

from virc.systems import texts
from virc_extras.pipelines import Problem, Role, Roles

ROLES = {"eyes": Role(max_tokens=512), "mind": Role(max_tokens=256)}
text = partial(texts.text, Path(__file__).parent)


def solve(problem: Problem, roles: Roles) -> str:
    """Describe, then answer."""
    description = roles.eyes.ask(problem.images, text("describe"), step="description").removesuffix("\n")
    question = problem.question.removesuffix("\n")
    if not question.lower().startswith(("question:", "hint:")):
        question = f"Question: {question}"
    told = f"{text('answer')}Description: {description}\n{question}\n"
    return roles.mind.ask(told, step="answer")
