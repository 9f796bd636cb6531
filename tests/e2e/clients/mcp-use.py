"""mcp-use: its own callback, browser and store of tokens in the home folder."""

import asyncio
import json
import os
import sys

os.environ["MCP_USE_ANONYMIZED_TELEMETRY"] = "false"
from mcp_use import MCPClient

URL, HOME, MESSAGE = sys.argv[1:]


async def main() -> None:
    client = MCPClient({"mcpServers": {"proxy": {"url": URL, "auth": {}}}})
    session = await client.create_session("proxy")
    tools = [tool.name for tool in await session.list_tools()]
    result = await session.call_tool("echo", {"message": MESSAGE})
    await client.close_all_sessions()
    print(json.dumps({"tools": tools, "text": result.content[0].text}), flush=True)


asyncio.run(main())
