"""Critic-V: a critic finds faults in a reasoner's answer, which answers again.

Source of each value: kyrieLei/Critic-V, commit 8b8089e4e5d0, inference/reason_critic.py, critic_infer with chat_round 2,
as inference/run.sh has it.
"""

import re
from functools import partial
from pathlib import Path

from virc.systems import texts
from virc_extras.pipelines import Problem, Role, Roles

ROLES = {"reasoner": Role(temperature=0.01, max_tokens=512), "critic": Role(temperature=0.01, max_tokens=512)}
text = partial(texts.text, Path(__file__).parent)


def solve(problem: Problem, roles: Roles) -> str:
    """Answer, have that criticised, and answer again unless the critic calls it correct."""
    asked = as_asked(problem.question)
    answer = roles.reasoner.ask(problem.images, asked, step="first")
    critique = roles.critic.ask(
        problem.images, f"#### Question\n{asked}\n#### Answer\n{answer}\n#### Task\n{text('critique')}", step="critique"
    )
    if re.search(r"(?is)\A(?=.*correct)(?!.*incorrect)", critique):
        return answer
    again = f"reflection on former answer:{critique}\n{problem.question}"
    return roles.reasoner.ask(again, after=answer, step="second")


def as_asked(question: str) -> str:
    """The question as extract_question_and_options writes it: one with choices rewritten, others with a sentence behind."""
    if "A." not in question:
        return f"{question}{text('short')}"
    asked = re.search(r"(?s)\A\s*(.*?)\s*A\.", question)
    choices = re.search(r"(?s)(A\..*\S)", question)
    listed = choices[1] if choices else ""
    letters = ", ".join(["A", "B", *(letter for letter in "CDE" if re.search(rf"(?m)^{letter}\.", listed))])
    return f"Question: {asked[1] if asked else ''}\nOptions:\n{listed}\n{text('choose')} Eg. {letters}"
