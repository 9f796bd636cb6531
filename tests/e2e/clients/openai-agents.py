"""openai-agents: its MCP server object, with the OAuth provider of the SDK."""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "matrix"))

from agents.mcp import MCPServerStreamableHttp

from oauth import MESSAGE, URL, done, provider


async def main() -> None:
    params = {"url": URL, "auth": provider("openai-agents"), "timeout": 60}
    async with MCPServerStreamableHttp(params=params, client_session_timeout_seconds=60) as server:
        tools = [tool.name for tool in await server.list_tools()]
        result = await server.call_tool("echo", {"message": MESSAGE})
    done(tools, result.content[0].text)


asyncio.run(main())
