"""Pipelines: a Python function that asks several models about one problem.

from virc_extras.pipelines import Problem, Role, Roles

ROLES = {"eyes": Role(), "mind": Role()}

def solve(problem: Problem, roles: Roles) -> str:
    seen = roles.eyes.ask(problem.images, "Describe the picture.")
    return roles.mind.ask(f"{seen}\\n{problem.question}")
"""

from virc.reasoning.calls import ToolError
from virc_extras.pipelines.asking import Roles
from virc_extras.pipelines.boxes import boxes, crop
from virc_extras.pipelines.code import Function, Interpreter, Output
from virc_extras.pipelines.files import Problem
from virc_extras.pipelines.speaking import Reply, Role
from virc_extras.pipelines.steps import Boxed, together, vote
from virc_extras.pipelines.turns import fill

__all__ = [
    "Boxed", "Function", "Interpreter", "Output", "Problem", "Reply", "Role", "Roles", "ToolError", "boxes", "crop",
    "fill", "together", "vote",
]  # fmt: skip
