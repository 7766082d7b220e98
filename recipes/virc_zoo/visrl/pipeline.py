"""VisRL: the model names the region that helps, and answers with that part behind the picture.

Source: zhangquanchen/VisRL, commit 04bb8f3ecc6e, extras/test_cot.py, main: two conversations.
"""

from pathlib import Path

from virc.systems import texts
from virc_extras.pipelines import Problem, Role, Roles, boxes, crop

ROLES = {"model": Role(temperature=0.95, max_tokens=1024)}


def solve(problem: Problem, roles: Roles) -> str:
    """Look, then answer."""
    asked = problem.question + texts.text(Path(__file__).parent, "look")
    look = roles.model.ask(problem.images, asked, step="look")
    parts = [crop(box, step="part") for box in boxes(look, "unit", step="region")]
    return roles.model.ask(problem.images, problem.question, parts, step="answer")
