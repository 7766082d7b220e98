"""Zero-Shot Visual Reasoning: the same question to a model that sees the picture, or to one that reads the scene as text.

Source: arXiv:2409.00106, its appendix as a public loader of CLEVR reports it. Its authors published no code, and the
words around a question are ours.
"""

from collections.abc import Mapping
from typing import Any

from virc_extras.pipelines import Problem, Role, Roles, fill

ROLES = {"eyes": Role(max_tokens=512), "mind": Role(max_tokens=512)}

SCENE = "Given the following scene:\n\n"
"""How a question begins whose scene is told, so that the model that sees is not asked."""
THINK = "Let's think step by step."
"""How a question ends that is asked with a chain of thought. Source: Kojima et al., arXiv:2205.11916, section 3."""
CONCLUDE = "Therefore, the answer in one word is"
SETUP = """Each object is of metal, which shines, or of rubber, which does not; it is large or small, and a cube, a cylinder or a sphere. Its colour is one of blue, brown, cyan, gray, green, purple, red and yellow. Write one word, or a whole number in digits.

Question: {question}
Answer:"""
ATTRIBUTES = ("color", "size", "rotation", "shape", "material", "3d_coords", "pixel_coords")


def solve(problem: Problem, roles: Roles) -> str:
    """Ask the mind where the scene is told, else the eyes; in two steps where a chain of thought is wanted."""
    scene, question = told(problem.question)
    seen = () if scene else problem.images
    ask = roles.mind.ask if scene else roles.eyes.ask
    thinks = question.endswith(THINK)
    asked = scene + fill(SETUP, question=question.removesuffix(THINK).rstrip())
    reply = ask(seen, f"{asked} {THINK}" if thinks else asked, step="thought" if thinks else "answer")
    return word(ask(CONCLUDE, after=reply, step="answer") if thinks else reply)


def told(text: str) -> tuple[str, str]:
    """The scene at the beginning of a question, which may be empty, and the question, its last paragraph."""
    scene, apart, question = text.rpartition("\n\n")
    return (f"{scene}{apart}", question) if text.startswith(SCENE) else ("", text)


def word(reply: str) -> str:
    """The first word behind the last colon, in small letters, without marks."""
    words = reply.lower().rpartition(":")[2].split()
    return "".join(filter(str.isalnum, words[0])) if words else ""


def described(scene: Mapping[str, Any]) -> str:
    """A scene of CLEVR's `scenes` as text, for the beginning of a question."""
    parts = [f"{SCENE}Scene {scene['image_index']}:", "", f"Objects: {len(scene['objects'])}"]
    for each in scene["objects"]:
        told = [f"{name.replace('_', ' ').title()}: {each[name]}" for name in ATTRIBUTES]
        parts.append(f"Object: {' '.join(told)}")
    for name in ("relationships", "directions"):
        values = ", ".join(f"'{key}': {value}" for key, value in scene[name].items())
        parts += ["", f"{name.title()}: {values}"]
    return "\n".join([*parts, "", f"Image Filename: {scene['image_filename']}", "", ""])
