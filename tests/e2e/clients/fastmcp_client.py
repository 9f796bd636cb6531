"""The FastMCP client, which has its own callback, opens the browser itself, and gets a store for its tokens."""

import asyncio
import json
import sys
from pathlib import Path

from fastmcp import Client
from fastmcp.client.auth import OAuth
from key_value.aio.stores.filetree import (
    FileTreeStore,
    FileTreeV1CollectionSanitizationStrategy,
    FileTreeV1KeySanitizationStrategy,
)

URL, HOME, MESSAGE = sys.argv[1:]


async def main() -> None:
    folder = Path(HOME) / "tokens"
    folder.mkdir(exist_ok=True)
    tokens = FileTreeStore(
        data_directory=folder,
        key_sanitization_strategy=FileTreeV1KeySanitizationStrategy(folder),
        collection_sanitization_strategy=FileTreeV1CollectionSanitizationStrategy(folder),
    )
    auth = OAuth(URL, token_storage=tokens)
    async with Client(URL, auth=auth) as client:
        tools = [tool.name for tool in await client.list_tools()]
        result = await client.call_tool("echo", {"message": MESSAGE})
    print(json.dumps({"tools": tools, "text": result.content[0].text}))


asyncio.run(main())
