"""Pipelines: a Python function that asks several models about one problem.

from virc.solving.pipelines import Problem, Role, Roles

ROLES = {"eyes": Role(), "mind": Role()}

def solve(problem: Problem, roles: Roles) -> str:
    seen = roles.eyes.ask(problem.images, "Describe the picture.")
    return roles.mind.ask(f"{seen}\\n{problem.question}")
"""

from virc.reasoning.calls import ToolError
from virc.solving.pipelines.asking import Roles
from virc.solving.pipelines.boxes import boxes, crop
from virc.solving.pipelines.code import Function, Interpreter, Output
from virc.solving.pipelines.files import Problem
from virc.solving.pipelines.speaking import Reply, Role
from virc.solving.pipelines.steps import Boxed, together, vote
from virc.solving.pipelines.turns import fill

__all__ = [
    "Boxed", "Function", "Interpreter", "Output", "Problem", "Reply", "Role", "Roles", "ToolError", "boxes", "crop",
    "fill", "together", "vote",
]  # fmt: skip
