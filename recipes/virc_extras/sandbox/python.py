"""`python`: run code on the conversation's images, in a sandbox, and get back what it prints and shows.

How it is given the images, what comes back and what it may use are `code` of the chat protocol.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from PIL import Image

from virc.reasoning.calls import Call, Checked, Conversation, Result, ToolError, View, function_schema, require_keys
from virc.reasoning.encoded import as_png
from virc.reasoning.images import FEWEST_PIXELS
from virc.reasoning.protocol import CodeSettings
from virc.reasoning.resize import MAX_ASPECT, too_long

if TYPE_CHECKING:
    from virc_extras.sandbox.limits import Limit

NAME = "python"
TEMPLATE = "after_image"
SCHEMA = function_schema(
    NAME,
    "Run Python code. Image 0 is the variable image_0, opened by PIL, and so on. What the code prints, the "
    "images that it saves or shows, and the value of its last line come back.",
    ("code",),
    code={"type": "string", "description": "Python code"},
)

_MAX_CODE = 100_000
_MAX_PIXELS = 16_777_216  # of an image that comes back
_FENCED = re.compile(  # V-Thinker's programs look for single quotes, which without `python` begin a text of the code
    r"\s*(```|'''(?=[ \t]*python))[ \t]*(?:python|py)?[ \t]*\n(.*?)\n?[ \t]*(?:\1\s*)?\Z", re.DOTALL | re.IGNORECASE
)


def ready() -> None:
    """Refuse to run code where it cannot be isolated. Raises SetupError: what is missing."""
    from virc_extras.sandbox import isolator

    isolator.check_isolator()


def limits() -> Sequence["Limit"]:
    """What holds of the sandbox on this machine, for `virc doctor`. Raises SetupError: it cannot be isolated."""
    from virc_extras.sandbox.limits import limits

    return limits()


def check(arguments: Mapping[str, object], view: View) -> Checked:
    """Read a call: its code, without the marks of a block of code around it.

    Raises:
        ToolError: wrong keys or types, or code that is longer than anybody writes.
    """
    require_keys(arguments, "code")
    code = arguments["code"]
    if not isinstance(code, str):
        raise ToolError("code is not a text", "arguments")
    if len(code) > _MAX_CODE:
        raise ToolError(f"the code has {len(code)} characters, over {_MAX_CODE}", "arguments")
    fenced = _FENCED.fullmatch(code)
    return Checked(Call(NAME, arguments={"code": fenced[2] if fenced else code}))


def apply_to_all(call: Call, conversation: Conversation) -> Result:
    """What the code prints and shows.

    Raises:
        ToolError: it failed, and the chat protocol counts that as a call that cannot be carried out.
        SetupError: it cannot be isolated here.
    """
    from virc_extras.sandbox import isolator, pool

    isolator.check_isolator()
    settings = conversation.protocol.code
    past = conversation.kept.get(NAME) or pool.Past(pool.SandboxProblem())
    conversation.kept[NAME] = past
    machine = pool.Machine(settings.memory_mib, settings.disk_mib, settings.packages)
    limits = pool.Limits(settings.seconds, settings.files, settings.most_images, _MAX_PIXELS, settings.most_characters)
    try:
        reply, pixels, conversation.kept[NAME] = pool.shared().run(
            past, call.arguments["code"], _given(conversation), machine, limits, settings.state == "kept"
        )
    except pool.DiedError as error:
        conversation.kept[NAME] = pool.Past(past.problem)
        return _result(settings, "", str(error), (), [], True)
    images = [Image.frombytes("RGB", size, data) for size, data in zip(reply.images, pixels, strict=True)]
    return _result(settings, reply.stdout, reply.stderr, reply.notes, images, reply.fault)


def _given(conversation: Conversation) -> list[Any]:
    """The images that code is given, by their names."""
    from virc_extras.sandbox.pool import Given
    from virc_extras.sandbox.pool import Image as Named

    settings = conversation.protocol.code
    count = conversation.inputs if settings.images == "inputs" else len(conversation.images)
    given = []
    for index, pixels in enumerate(conversation.images[:count]):
        path = settings.path_variable if index == 0 or "{" in settings.path_variable else ""
        names = (settings.file, settings.variable if index == 0 or "{" in settings.variable else "", path)
        filled = (name.replace("{index}", str(index)).replace("{number}", str(index + 1)) for name in names)
        given.append(Given(Named(*filled), partial(_png, pixels)))
    return given


def _png(pixels: Callable[[], Image.Image]) -> bytes:
    return as_png(pixels()).data


def _result(
    settings: CodeSettings, stdout: str, stderr: str, notes: tuple[str, ...], images: list[Image.Image], fault: bool
) -> Result:
    """What the model is sent."""
    shown = [image for image in images if not too_long(*image.size) and image.width * image.height >= FEWEST_PIXELS]
    said = [stdout.rstrip("\n"), stderr.rstrip("\n"), *notes]
    if len(shown) < len(images):
        said.append(f"[an image is too small, or one side over {MAX_ASPECT} times the other, and is not shown]")
    output = "\n".join(text for text in said if text)
    if fault and settings.faults == "call":
        raise ToolError(output.splitlines()[-1] if output else "the code failed")
    if not output and not shown:
        output = "The code printed nothing."
    template = settings.text_with_images if shown else settings.text
    values = {"stdout": stdout, "stderr": stderr, "output": output}
    return Result(re.sub(r"\{(stdout|stderr|output)\}", lambda found: values[found[1]], template), shown)
