"""The Python SDK."""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "matrix"))

import httpx2
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from oauth import MESSAGE, URL, done, provider


async def main() -> None:
    async with httpx2.AsyncClient(auth=provider("Python SDK"), timeout=30) as http:
        async with streamable_http_client(URL, http_client=http) as (read, write, *_):
            async with ClientSession(read, write) as session:
                await session.initialize()
                tools = [tool.name for tool in (await session.list_tools()).tools]
                result = await session.call_tool("echo", {"message": MESSAGE})
    done(tools, result.content[0].text)


asyncio.run(main())
