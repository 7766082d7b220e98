"""An MCP server of the official SDK with a detector, for tests; the word it is asked for says what it does."""

import base64
import io
import os
import sys
import time

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ImageContent, TextContent
from PIL import Image

server = MCPServer("detector")


@server.tool()
def detect(words: str, image: str) -> list[TextContent | ImageContent]:
    """The image's size, and its upper half."""
    match words:
        case "die":
            os._exit(3)
        case "hang":
            time.sleep(60)
        case "fail":
            raise ToolError(f"no {os.environ.get('DETECT_KEY')}, {os.environ.get('HF_TOKEN')}")
        case "bomb":
            return [TextContent(type="text", text="x" * (33 << 20))]
    picture = Image.open(io.BytesIO(base64.b64decode(image)))
    half = picture.crop((0, 0, picture.width, picture.height // 2))
    file = io.BytesIO()
    half.save(file, "PNG")
    data = "AAAA" if words == "lie" else base64.b64encode(file.getvalue()).decode()
    return [
        TextContent(type="text", text=f"{words} in {picture.size}, process {os.getpid()}"),
        ImageContent(type="image", data=data, mime_type="image/png"),
    ]


if __name__ == "__main__":
    if sys.argv[1:] == ["never"]:
        time.sleep(60)
    if sys.argv[1:] == ["refuse"]:
        sys.exit("no weights found")
    if sys.argv[1:2] == ["http"]:
        server.run("streamable-http", port=int(sys.argv[2]))
    server.run("stdio")
