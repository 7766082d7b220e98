"""Prism: a model that sees describes the picture, and one that does not see answers from that.

Source of each text and value: SparksJoe/Prism, commit 219c6c1b183a.
"""

from virc.solving.pipelines import Problem, Role, Roles, fill

ROLES = {"eyes": Role(max_tokens=512), "mind": Role(max_tokens=256)}

# decouple/prompt.py, prompt_human1: the instruction `generic`, which config/default_config.json names
DESCRIBE = """Describe the fine-grained content of the image, including scenes, objects, relationships, instance location, and any text present."""

# decouple/backend/infer_post.py, build_infer_prompt_external
ANSWER = """You are an excellent text-based reasoning expert. You are required to answer the question based on the detailed description of the image.

Description: {description}
Question: {question}
"""


def solve(problem: Problem, roles: Roles) -> str:
    """Describe, then answer."""
    description = roles.eyes.ask(problem.images, DESCRIBE, step="description")
    return roles.mind.ask(fill(ANSWER, description=description, question=problem.question), step="answer")
