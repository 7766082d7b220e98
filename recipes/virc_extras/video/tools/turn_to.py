"""`turn_to`: look at pages of a document by their numbers."""

from virc.core.text import counted
from virc.reasoning.calls import Call, Conversation, Result, ToolError, function_schema
from virc_extras.video.sampling import MOST

NAME = "turn_to"
TEMPLATE = "after_image"
SCHEMA = function_schema(
    NAME,
    "Look at pages of a document.",
    ("pages",),
    pages={
        "type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "maxItems": MOST,
        "description": "numbers of pages, 1 is the first",
    },
    document={
        "type": "integer", "minimum": 1, "description": "number of the document, if the question has several",
    },
)  # fmt: skip


def apply_to_all(call: Call, conversation: Conversation) -> Result:
    """The pages of these numbers. Raises ToolError: there is no such page, or there are too many."""
    from virc_extras.video.looking import looked, medium_of
    from virc_extras.video.worker import Wish

    document = medium_of(conversation, "document", call.arguments.get("document"))
    pages = tuple(map(int, call.arguments["pages"]))
    if beyond := next((each for each in pages if each > document.facts.pages), None):
        raise ToolError(f"the document has {counted(document.facts.pages, 'page')}, and no page {beyond}", "arguments")
    return looked(conversation, document, Wish(pages=pages))
