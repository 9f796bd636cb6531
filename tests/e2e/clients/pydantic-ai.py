"""pydantic-ai: its MCP toolset, with the OAuth provider of the SDK."""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "matrix"))

from pydantic_ai.mcp import MCPToolset

from oauth import MESSAGE, URL, done, provider


async def main() -> None:
    async with MCPToolset(URL, auth=provider("pydantic-ai")) as toolset:
        tools = [tool.name for tool in await toolset.list_tools()]
        result = await toolset.direct_call_tool("echo", {"message": MESSAGE})
    done(tools, str(result))


asyncio.run(main())
