"""ReAgent-V: a critic reports on an answer, three agents revise it, and one joins what they say; on frames as images.

Source of each value: aiming-lab/ReAgent-V, commit c0cda9c6590e, folder ReAgent-V.
"""

import re
from functools import partial
from pathlib import Path

from virc.systems import texts
from virc_extras.pipelines import Problem, Role, Roles, fill, together

ROLES = {"model": Role(max_tokens=10480)}
text = partial(texts.text, Path(__file__).parent)

# what run_pipline.py writes where no tool is asked
CONTEXT = r'"{\n  \"OCR\": [],\n  \"ASR\": [],\n  \"DET\": []\n}"'
AGENTS = ("conservative", "neutral", "aggressive")
FINAL = r'"final_answer":\s*"((?:[^"\\]|\\.)*)"'
CONFIDENCE = r'"confidence":\s*([\d.]+)'


def solve(problem: Problem, roles: Roles) -> str:
    """Answer, report on that, revise it in three ways, and join them."""
    ask, known = partial(roles.model.ask, problem.images), {"question": problem.question, "context": CONTEXT}
    known["first"] = ask(fill(text("first"), **known), step="first")
    known["report"] = ask(fill(text("report"), **known), step="report")
    revised = together(*(partial(ask, fill(text(name), **known), step=name) for name in AGENTS))
    for name, reply in zip(AGENTS, revised, strict=True):
        known |= {f"answer_{name}": first(FINAL, reply), f"conf_{name}": first(CONFIDENCE, reply)}
    return first(FINAL, ask(fill(text("meta"), **known), step="meta"))


def first(pattern: str, reply: str) -> str:
    """The first group of the first match; empty where nothing matches."""
    found = re.search(pattern, reply)
    return found[1] if found else ""
