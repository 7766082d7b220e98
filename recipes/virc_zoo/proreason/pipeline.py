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

EXPERTS = ("Vision Expert", "Reasoning Expert")
# M, extract_final_answer: without the mark, it takes off as many characters as that has, but for one.
BEFORE = r"(?s)\A(?:.*?Final Answer:|.{0,12})\s*"
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
            found = re.sub(BEFORE, "", thought, count=1)
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
    lines = plan[plan.find("{") : plan.rfind("}") + 1].splitlines()[1:-1]
    mark = next((each for each in ("':'", "': '") if all(each in line for line in lines)), None)
    halves = [line.split(mark)[:2] for line in lines] if mark else []
    # M, extract_dict: it takes two characters off the end of each value, but one off the last
    entries = {
        key[1:].replace("'", ""): said[: -2 if at < len(lines) else -1] for at, (key, said) in enumerate(halves, 1)
    }
    asked, expert = entries.get("Question"), entries.get("EXPERT name", "")
    return (asked, expert) if asked is not None and expert in EXPERTS else ("", "")
