"""An MCP server on the Python SDK with demanding tools.

Usage: python_server.py sse|streamable-http PORT
"""

import sys

import anyio
from mcp.server import MCPServer
from mcp.server.mcpserver import Context

server = MCPServer("demanding")


@server.tool()
def large(size: int) -> str:
    """A text of so many bytes."""
    return "x" * size


@server.tool()
async def events(count: int, context: Context) -> str:
    """So many progress events, as fast as they go."""
    for step in range(count):
        await context.report_progress(step + 1, count)
    return f"{count} events"


@server.tool()
async def patience(seconds: int) -> str:
    """An answer after a long silence."""
    await anyio.sleep(seconds)
    return "at last"


server.run(transport=sys.argv[1], port=int(sys.argv[2]))
