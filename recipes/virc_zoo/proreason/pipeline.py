"""ProReason: a model that cannot see asks one that can for facts, and one that reasons, until it can answer.

Source of each value: lian-tian-mo-zun/Pro_Reason, commit edcfc7294d00, folder ProReason_HallusionBench/ProReason. M is
its ProReason.py.
"""

import re
from functools import partial
from pathlib import Path

from virc.systems import texts
from virc_extras.pipelines import Problem, Role, Roles, fill

ROLES = {
    "eyes": Role(temperature=1), "mind": Role(temperature=1),
    "professor": Role(temperature=1, system="{text:professor}"),
}  # fmt: skip
text = partial(texts.text, Path(__file__).parent)

# M, extract_dict: each line between those of the braces is an entry; its last two characters, of the last one its last, are
# taken off.
ENTRIES = r"(?s)\A[^{]*\{[^\n]*\n((?:[^\n]*': ?'[^\n]*\n)+)[^\n]*\}[^}]*\Z"
ASKED = r"(?m)^.'*Question': ?'((?:(?!': ?').)*?)(?:..(?=(?:': ?'.*)?\n.)|.(?=(?:': ?'.*)?\n\Z))"
EXPERT = r"(?m)^.'*EXPERT name': ?'(Vision Expert|Reasoning Expert)(?:..(?=(?:': ?'.*)?\n.)|.(?=(?:': ?'.*)?\n\Z))"
# M, extract_final_answer: without the mark, it takes off as many characters as that has, but for one.
FINAL = r"(?s)\A(?:.*?Final Answer:|.{0,12})\s*(.*)"
SOLVED = "Answer: CAN_SOLVE"
ROUNDS = 8


def solve(problem: Problem, roles: Roles) -> str:
    """Ask experts until what is known is enough, then sum up; else ask the eyes directly."""
    question, memory, last = problem.question, "", ""
    for _ in range(ROUNDS):
        known = f"{fill(text('asked'), last=last)}{memory}" if memory else ""
        begin = fill(text("begin"), question=question)
        asked, expert = request(roles.mind.ask(f"{begin}{text('plan')}{known}", step="plan"))
        if not expert:
            continue
        if "Vision" in expert:
            found: str = roles.eyes.ask(fill(text("look"), asked=asked), problem.images, step="seen")
        else:
            thought = roles.professor.ask(fill(text("think"), memory=memory, asked=asked), step="thought")
            found = first(FINAL, thought) or ""
        memory += f"{found}\n"
        last = expert
        facts = fill(text("facts"), question=question)
        judgement = roles.mind.ask(f"{facts}{memory}\n{text('judge')}", step="judgement")
        if SOLVED in judgement:
            begin = f"{text('concerns')}{question}\n{text('known')}"
            return roles.mind.ask(f"{begin}{memory}{judgement}\n{text('sum_up')}", step="summary")
    return roles.eyes.ask(question, problem.images, step="direct")


def request(plan: str) -> tuple[str, str]:
    """What a plan asks, and which expert; empty where it says neither."""
    entries = first(ENTRIES, plan)
    asked = None if entries is None else first(ASKED, entries)
    return (asked, first(EXPERT, entries) or "") if entries is not None and asked is not None else ("", "")


def first(pattern: str, reply: str) -> str | None:
    """The first group of the first match; None where nothing matches."""
    found = re.search(pattern, reply)
    return found[1] if found else None
