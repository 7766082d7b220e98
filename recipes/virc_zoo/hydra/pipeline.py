"""HYDRA: a planner and a coder examine a picture in steps, by programs that call a detector and a vision model.

`solve` is the main path. In each step the planner proposes an instruction (`planned`), and the coder writes a program
for it (`run`), which runs in the sandbox after `LAB`. Boxes have their origin at the lower left, as in its prompts.
Source of each value: ControlNet/HYDRA, commit f5b4d3236698, folder hydra_vl4ai. This is its variant without the
controller that learns (agent/hydra.py, HydraNoRL), for questions of OK-VQA (config/okvqa.yaml).
"""

import json
from functools import partial
from pathlib import Path

from virc.systems import texts
from virc_extras.pipelines import Function, Interpreter, Problem, Role, Roles, fill

ROLES = {"mind": Role(temperature=1, max_tokens=4096), "coder": Role(temperature=1, max_tokens=4096), "eyes": Role()}
TOOLS = {"detect": "detect", "depth": "depth?"}
WRITER = "mind"
KNOWN = ("instructions", "codes", "variables", "feedbacks")
FENCES = ("image_patch = ImagePatch(image)", "```python", "```")
STEPS, TRIES, OPTIONS = 7, 5, 5
text = partial(texts.text, Path(__file__).parent)

# Runs in the sandbox before the programs. Names and arguments are those that the coder's prompt lists. `told` has the
# sentences by which functions report to the models, `asked` those by which they ask; `_memory` collects the reports.
LAB = r"""import math as _math, re as _re, statistics as _statistics, struct as _struct

class _Memory:
    KINDS = "one many none exists caption answer depth overlap distance external no_text right up back middle closest farthest"

    def __init__(self):
        self.new, self.feedbacks, self.codes, self.instructions, self.variables = [], [], [], [], []
        self.finished, self.sentences = False, dict(zip(self.KINDS.split(), told.split("\n\n")))

    def tell(self, kind, patch=None, result="", **values):
        values |= {"patch": getattr(patch, "image_name", ""), "result": result}
        self.new.append(self.sentences[kind].format(**values))
        return result

    def known(self, name):
        return "\n" + "\n".join(getattr(self, name))

_memory, _asked = _Memory(), asked.split("\n\n")

class ImagePatch:
    def __init__(self, image, left=None, lower=None, right=None, upper=None, whole=None, name="original_image", score=1.0):
        wide, high = image.size
        sides = [left, lower, right, upper]
        left, lower, right, upper = [0, 0, wide, high] if None in sides else sides
        part = left, high - upper, min(right, wide), min(high - lower, high)
        if part[0] >= part[2] or part[1] >= part[3]:
            raise ValueError("ImagePatch has no area")
        across, up = (whole.left, whole.lower) if whole else (0, 0)
        self.left, self.lower, self.right, self.upper = left + across, lower + up, right + across, upper + up
        self.horizontal_center, self.vertical_center = (self.left + self.right) / 2, (self.lower + self.upper) / 2
        self.cropped_image = image.crop(part)
        self.width, self.height = self.cropped_image.size
        self.original_image = whole.original_image if whole else self.cropped_image
        self.image_name, self.confidence, self._whole = name, score, whole

    def __repr__(self):
        return "ImagePatch({}, {}, {}, {})".format(*self._sides().values())

    def _sides(self):
        return {side: getattr(self, side) for side in ("left", "lower", "right", "upper")}

    def crop(self, left, lower, right, upper, image_name, confidence=None):  # with 10 px more on each side
        begins = [max(0, int(side) - 10) for side in (left, lower)]
        ends = [min(int(side) + 10, most) for side, most in ((right, self.width), (upper, self.height))]
        score = self.confidence if confidence is None else confidence
        return ImagePatch(self.cropped_image, *begins, *ends, self, image_name, score)

    def find(self, object_list, get_feed_back=True):
        found = {}
        for thing in object_list:
            seen = detected(self.cropped_image, ["people" if thing == "person" else thing])
            parts = [self._part(each, f"{thing}_{at}_in_{self.image_name}") for at, each in enumerate(seen, 1)]
            if get_feed_back:
                kind = {0: "none", 1: "one"}.get(len(parts), "many")
                _memory.tell(kind, self, name=thing, count=len(parts))
            if parts or get_feed_back:
                found[thing] = parts
        return found

    def _part(self, seen, name):
        read = seen if isinstance(seen, dict) else {"box": seen[:4], "score": (*seen, 1.0)[4]}
        left, top, right, bottom = map(int, read["box"])
        return self.crop(left, self.height - bottom, right, self.height - top, name, read.get("score", 1.0))

    def exists(self, object_name):
        if object_name.isdigit():
            return self.simple_query(_asked[3]).strip() == object_name
        patches = self.find([object_name], get_feed_back=False)[object_name]
        replies = [each.simple_query(f"Is this a {object_name}?") for each in patches]
        return _memory.tell("exists", self, any("yes" in reply for reply in replies), name=object_name)

    def simple_query(self, question="What is this?", qa_mode=True):
        if not qa_mode:
            return _memory.tell("caption", self, eyes_caption(self.cropped_image))
        words = _re.sub(r'[.!"()*#:;~]', "", question.lower()).rstrip(" ").split(" ")  # as BLIP-2 is asked
        return _memory.tell("answer", self, eyes_answer(self.cropped_image, " ".join(words[:50])), question=question)

    def llm_query(self, question, context=None, long_answer=True):
        return llm_query(question, context, long_answer)

    def compute_depth(self):
        (shown,) = depth_shown(self.original_image)
        high = self.original_image.height
        near = shown.convert("L").resize(self.original_image.size).crop((self.left, high - self.upper, self.right, high - self.lower))
        return _memory.tell("depth", self, _short(_statistics.median_low(1 / max(1, level) for level in near.tobytes())))

    def overlaps_with(self, other_patch):
        apart = any(gap < 0 for gap in _shared(self, other_patch))
        return _memory.tell("overlap", self, not apart, other=other_patch.image_name)

def llm_query(question, context=None, long_answer=True):
    before, between, behind, _ = _asked
    parts = [before if context is not None else "", between, "" if long_answer else behind]
    reply = mind_answer("".join(part.format(context=context, question=question) for part in parts))
    return _memory.tell("external", None, reply, question=question, context=context)

def _short(number):  # rounded to 32 bits, as numbers are in the published program
    return _struct.unpack("f", _struct.pack("f", number))[0]

def _shared(one, other):  # width and height of the overlap of two patches; a negative one is the gap between them
    return [
        min(getattr(one, end), getattr(other, end)) - max(getattr(one, begin), getattr(other, begin))
        for begin, end in (("left", "right"), ("lower", "upper"))
    ]

def distance(patch_a, patch_b):
    if not (isinstance(patch_a, ImagePatch) and isinstance(patch_b, ImagePatch)):
        return abs(patch_a - patch_b)
    across, up = _shared(patch_a, patch_b)
    result = _math.sqrt(min(across, 0) ** 2 + min(up, 0) ** 2)
    if result == 0:
        areas = [(each.right - each.left) * (each.upper - each.lower) for each in (patch_a, patch_b)]
        result = -_short(across * up / (sum(areas) - across * up))
    return _memory.tell("distance", patch_a, result, other=patch_b.image_name)

def _sorts(kind, key):  # makes a function that sorts patches and reports it
    def sort(list_patches):
        list_patches.sort(key=key)
        if list_patches:
            _memory.tell(kind)
        return list_patches
    return sort

get_sorted_patches_left_to_right = _sorts("right", lambda patch: patch.horizontal_center)
get_sorted_patches_bottom_to_top = _sorts("up", lambda patch: patch.vertical_center)
get_sorted_patches_front_to_back = _sorts("back", lambda patch: patch.compute_depth())

def get_middle_patch(list_patches):
    middle = get_sorted_patches_left_to_right(list_patches)[len(list_patches) // 2]
    _memory.tell("middle", middle)
    return middle

def _beside(where, **cut):  # makes a function that crops the picture around a patch, up to the center of the patch
    def part(patch):
        sides = patch._whole._sides() | {side: getattr(patch, center) for side, center in cut.items()}
        return patch._whole.crop(**sides, image_name=f"{where}_partof_{patch.image_name}")
    return part

get_patch_left_of = _beside("left", right="horizontal_center")
get_patch_right_of = _beside("right", left="horizontal_center")
get_patch_above_of = _beside("above", lower="vertical_center")
get_patch_below_of = _beside("below", upper="vertical_center")

def _nearest(kind, place):  # makes a function that finds the patch at a place in the order of distances
    def nearest(list_patches, anchor_patch):
        list_patches.sort(key=lambda patch: distance(patch, anchor_patch))
        _memory.tell(kind, list_patches[place], other=anchor_patch.image_name)
        return list_patches[place]
    return nearest

get_patch_closest_to_anchor_object = _nearest("closest", 0)
get_patch_farthest_to_anchor_object = _nearest("farthest", -1)

def bool_to_yesno(bool_answer):
    return ("no", "yes")[bool(bool_answer)]

def _outcome(program):  # keeps the variables and reports of a program that ran to its end
    if not _memory.finished:
        return "error"
    made = globals()
    for name in (line.split(" = ")[0] for line in program.split("\n") if " = " in line):
        if name in made:
            kind = f", patch name: {made[name].image_name}" if isinstance(made[name], ImagePatch) else ""
            _memory.variables.append(f"{name}: {made[name]}{kind}")
    answers = isinstance(made.get("final_answer"), str)
    if "final_answer" in made and not answers:
        _memory.tell("no_text")
    _memory.feedbacks += _memory.new
    return "final" if answers else "continue"

image_patch = ImagePatch(image_0)
image_patch.simple_query(question, qa_mode=False)
_memory.feedbacks += _memory.new
_memory.variables.append(f"image_patch: {image_patch}")
"""


def solve(problem: Problem, roles: Roles) -> str:
    """Plan and run programs until one gives an answer; the mind then states it in few words."""
    lab, functions = Interpreter(), eyes_and_tools(problem, roles)
    lab.run(LAB, problem.images, given(problem.question), functions, exact=True, step="begin")
    guesses, task = list[str](), text("plan_task")
    for number in range(1, STEPS + 1):
        before = {"question": problem.question, "number": str(number), **known(lab)}
        instruction = planned(roles, {**before, "task": task})
        outcome = "error"
        if instruction.strip("\n"):
            outcome = run(lab, roles, functions, {**before, "instruction": instruction})
        if outcome not in ("final", "continue"):
            break
        after = {"question": problem.question, "task": task, **known(lab)}
        guesses.append(str(roles.mind.ask(fill(text("summarise"), **after), step="summary")))
        if outcome == "final":
            return roles.mind.ask(fill(text("guess"), **after, guesses=str(guesses)), step="guess")
    return ""


def given(question: str) -> dict[str, str]:
    """The variables that `LAB` begins with."""
    return {"question": question, **{name: text(name) for name in ("told", "asked")}}


def eyes_and_tools(problem: Problem, roles: Roles) -> dict[str, Function]:
    """The functions of this process that programs may call: the vision model, the planner, and tools."""
    return {
        "eyes_caption": lambda image: roles.eyes.ask(image, "Generate a caption of the image."),
        "eyes_answer": lambda image, question: roles.eyes.ask(image, f"Question: {question} Short answer:"),
        "mind_answer": lambda asked: roles.mind.ask(str(asked)),
        "detected": lambda image, words: problem.tools.detect(image, words=words).json,
        "depth_shown": lambda image: problem.tools.depth(image).images,
    }


def known(lab: Interpreter) -> dict[str, str]:
    """The programs so far, and what they reported, as texts for prompts."""
    return {name: lab.run(f"print(_memory.known({name!r}), end='')", exact=True, step=name) for name in KNOWN}


def planned(roles: Roles, asked: dict[str, str]) -> str:
    """The most probable instruction, the first of equal ones; empty if the planner gives none in `TRIES`.

    The planner is asked again until there are `OPTIONS` instructions (agent/planner.py, controller.py).
    """
    options = list[tuple[str, float]]()
    prompt = fill(text("plan"), **asked, examples=text("plan_examples"), options=str(OPTIONS))
    for _ in range(TRIES):
        options += read(roles.mind.ask(prompt, step="plan"))
        if len(options) >= OPTIONS:
            break
    return max(options, key=lambda each: each[1], default=("", 0.0))[0]


def read(plan: str) -> list[tuple[str, float]]:
    """The instructions in a plan, with their probabilities."""
    written = plan.replace("```json", "").replace("```", "")
    try:
        listed = json.loads(written[written.find("[") : written.rfind("]") + 1])
    except ValueError:
        return []
    fit = [each for each in listed if isinstance(each, dict) and "instruction" in each]
    likely = [(str(each["instruction"]), each.get("probability")) for each in fit]
    return [(instruction, float(each)) for instruction, each in likely if isinstance(each, int | float)]


def run(lab: Interpreter, roles: Roles, functions: dict[str, Function], asked: dict[str, str]) -> str:
    """Let the coder write a program and run it, again until one runs to its end (agent/reasoner.py).

    Returns: `final` if it gave an answer, `continue` if not, `error` if none ran to its end.
    """
    outcome = "error"
    prompt = fill(text("write"), **asked, task=text("write_task"), examples=text("write_examples"))
    for _ in range(TRIES):
        program: str = roles.coder.ask(prompt, step="written")
        for each in FENCES:
            program = program.replace(each, "")
        lab.run("_memory.new.clear(); image_patch = ImagePatch(image_0); _memory.finished = False", exact=True)
        ended = f"{program}\n_memory.finished = True"
        lab.run(ended, functions=functions, calls=100, seconds=60, step="ran")
        made = {"program": program}
        outcome = lab.run("print(_outcome(program), end='')", variables=made, exact=True, step="outcome")
        if outcome in ("final", "continue"):
            made |= {"instruction": asked["instruction"]}
            lab.run("_memory.instructions.append(instruction); _memory.codes.append(program)", (), made, exact=True)
            break
    return outcome
