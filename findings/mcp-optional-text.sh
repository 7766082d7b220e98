#!/usr/bin/env bash
# Version: mcp 2.3.0 (Python), MCPServer.
# Behaviour: an argument `str | None` that is a JSON list, object or null as text is parsed first: "null" reaches the tool as None,
#   "[1, 2]" is refused as no string, though the schema of the tool asks for a string. An argument `str` is left as it is.
# A guess: a default of None changes nothing in how a text is handed on.
# Hurts: tools that take code, JSON, boxes or words to look for, as an optional text: models send "[0, 0, 10, 10]" and get an error.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet mcp==2.3.0
cd "$folder"
venv/bin/python - 2>/dev/null >seen <<'END'
import asyncio

from mcp.server import MCPServer

server = MCPServer("tools")


@server.tool()
def needed(text: str) -> str:
    return repr(text)


@server.tool()
def optional(text: str | None = None) -> str:
    return repr(text)


async def main():
    for name in ("needed", "optional"):
        for text in ("box", "null", "[1, 2]"):
            try:
                print(name, repr(text), "->", (await server.call_tool(name, {"text": text})).content[0].text)
            except Exception as error:
                print(name, repr(text), "->", str(error).splitlines()[2].strip())


asyncio.run(main())
END
cat seen
diff seen - <<'END'
needed 'box' -> 'box'
needed 'null' -> 'null'
needed '[1, 2]' -> '[1, 2]'
optional 'box' -> 'box'
optional 'null' -> None
optional '[1, 2]' -> Input should be a valid string [type=string_type, input_value=[1, 2], input_type=list]
END
