"""A FastMCP server whose verifier knows one token. Usage: upstream_fastmcp.py PORT TOKEN"""

import sys

from fastmcp import FastMCP
from fastmcp.server.auth.providers.jwt import StaticTokenVerifier

PORT, TOKEN = sys.argv[1:]
server = FastMCP("Sums", auth=StaticTokenVerifier(tokens={TOKEN: {"client_id": "one", "scopes": []}}))


@server.tool
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


server.run(transport="http", host="127.0.0.1", port=int(PORT))
