"""An MCP server with the Python SDK, with tools that are hard to proxy.

Usage: python_server.py sse|streamable-http PORT
"""

import sys

import anyio
from mcp.server import MCPServer
from mcp.server.mcpserver import Context

server = MCPServer("demanding")


@server.tool()
def large(size: int) -> str:
    """A text of this many bytes."""
    return "x" * size


@server.tool()
async def events(count: int, context: Context) -> str:
    """This many progress events, as fast as possible."""
    for step in range(count):
        await context.report_progress(step + 1, count)
    return f"{count} events"


@server.tool()
async def patience(seconds: int) -> str:
    """A response after a long silence."""
    await anyio.sleep(seconds)
    return "at last"


server.run(transport=sys.argv[1], port=int(sys.argv[2]))
