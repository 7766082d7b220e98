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
    begin = question.lower().find("options")
    begin = question.find("A.") if begin < 0 else begin
    hint, mark, asked = question[:begin].rpartition("QUESTION:")
    parts = re.split(r"([A-Z])\.", question[begin:])[1:]
    choices = {letter: choice.strip() for letter, choice in zip(parts[::2], parts[1::2], strict=True)}
    listed = "".join(f"{letter}. {choice}\n" for letter, choice in choices.items())
    before = f"Hint: {hint.strip()}\n" if mark and hint.strip() else ""
    return f"{before}Question: {asked.strip()}\nOptions:\n{listed}{text('choose')} Eg. {', '.join(choices)}"
