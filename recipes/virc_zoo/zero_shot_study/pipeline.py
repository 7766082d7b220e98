"""Zero-Shot Visual Reasoning: the same question to a model that sees the picture, or to one that reads the scene as text.

Source: arXiv:2409.00106, section 4 and its appendix of prompts for CLEVR, as a public loader of CLEVR that follows them
reports both. Its authors published no code.
"""

from collections.abc import Mapping
from typing import Any

from virc.solving.pipelines import Problem, Role, Roles, fill

ROLES = {"eyes": Role(max_tokens=512), "mind": Role(max_tokens=512)}

SCENE = "Given the following scene:\n\n"
"""How a question begins whose scene is told, so that the model that sees is not asked."""
THINK = "Let's think step by step."
"""How a question ends that is asked with a chain of thought. Source: Kojima et al., arXiv:2205.11916, section 3."""
CONCLUDE = "Therefore, the answer in one word is"
# as reported, the words around a question of CLEVR
SETUP = """You may assume that any metal object is shiny, and any rubber object is not shiny ("matte"). All objects are either "metal" or "rubber", and in 2 sizes: "large" or "small". All objects are one of the following colours: "blue", "brown", "cyan", "gray", "green", "purple", "red", "yellow". All objects are one of the following shapes: "cube", "cylinder", "sphere". For numeric answers, give an integer and not in words.

Now answer the following question in one word.

Question: {question}
Answer:"""
_OBJECT = (
    "Object: Color: {color} Size: {size} Rotation: {rotation} Shape: {shape} Material: {material} "
    "3D Coords: {3d_coords} Pixel Coords: {pixel_coords}"
)


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
    parts += [fill(_OBJECT, **{key: str(value) for key, value in each.items()}) for each in scene["objects"]]
    for name in ("relationships", "directions"):
        values = ", ".join(f"'{key}': {value}" for key, value in scene[name].items())
        parts += ["", f"{name.title()}: {values}"]
    return "\n".join([*parts, "", f"Image Filename: {scene['image_filename']}", "", ""])
