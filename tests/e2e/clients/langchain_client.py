"""LangChain's MCP adapters."""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "matrix"))

from langchain_mcp_adapters.client import MultiServerMCPClient

from oauth import MESSAGE, URL, done, provider


async def main() -> None:
    client = MultiServerMCPClient({"proxy": {"url": URL, "transport": "streamable_http", "auth": provider("LangChain")}})
    tools = {tool.name: tool for tool in await client.get_tools()}
    done(list(tools), str(await tools["echo"].ainvoke({"message": MESSAGE})))


asyncio.run(main())
