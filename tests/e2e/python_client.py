"""All that a client with the Python SDK does with the proxy: connect, call, run again, refresh, revoke, connect again.

Usage: python_client.py CONNECTOR_URL PIN. Prints a line `ok …` or `FAIL …` per check, and once `restart`; then it
waits for a line on its input, which says that the server was restarted.
"""

import asyncio
import re
import sys
from itertools import pairwise
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2
from mcp import ClientSession
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider, TokenStorage
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata
from pydantic import AnyUrl

URL, PIN = sys.argv[1:]
CALLBACK = "http://127.0.0.1:33419/callback"


def check(name: str, held: bool) -> None:
    print("ok" if held else "FAIL", name, flush=True)


class Kept(TokenStorage):
    """What the client stores between two runs."""

    tokens = None
    client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client_info):
        self.client = client_info


class Person:
    """Opens the page, sends the PIN, and returns the redirect instead of following it."""

    asked = 0
    landed = ""

    async def open(self, url: str) -> None:
        self.asked += 1
        async with httpx2.AsyncClient() as browser:
            page = await browser.get(url)
            field = re.search(r'name="page" value="([^"]+)"', page.text)
            assert field, page.text
            form = {"page": field[1], "pin": PIN, "decision": "authorize"}
            answer = await browser.post(urljoin(url, "/authorize"), data=form)
            assert answer.status_code == 303, answer.text
            self.landed = answer.headers["location"]

    async def result(self) -> AuthorizationCodeResult:
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.landed).query).items()}
        return AuthorizationCodeResult(**{name: query.get(name) for name in ("code", "state", "iss")})


async def use(kept: Kept, person: Person, expire: bool = False) -> tuple[list[str], str, list[float]]:
    """One run of a client: the tools, the response of echo, and when progress and the response after it arrived."""
    metadata = OAuthClientMetadata(client_name="Python end-to-end test", redirect_uris=[AnyUrl(CALLBACK)])
    auth = OAuthClientProvider(URL, metadata, kept, person.open, person.result)
    arrivals: list[float] = []

    async def progressed(*_: object) -> None:
        arrivals.append(asyncio.get_running_loop().time())

    async with httpx2.AsyncClient(auth=auth, timeout=30) as http:
        async with streamable_http_client(URL, http_client=http) as (read, write, *_):
            async with ClientSession(read, write) as session:
                await session.initialize()
                tools = [tool.name for tool in (await session.list_tools()).tools]
                if expire:
                    # As after an hour of sleep: the SDK sees that the token has expired, and refreshes it.
                    auth.context.token_expiry_time = 1
                echoed = await session.call_tool("echo", {"message": "hello"})
                await session.call_tool(
                    "trigger-long-running-operation",
                    {"duration": 1, "steps": 4},
                    progress_callback=progressed,
                )
                arrivals.append(asyncio.get_running_loop().time())
                return tools, echoed.content[0].text, arrivals


async def main() -> None:
    kept, person = Kept(), Person()
    tools, echoed, arrivals = await use(kept, person)
    check("the person was asked once", person.asked == 1)
    check(f"tools/list: {len(tools)} tools", "echo" in tools)
    check("tools/call", "hello" in echoed)
    since = ", ".join(f"{(at - arrivals[0]) * 1000:.0f}" for at in arrivals)
    gaps = [later - at for at, later in pairwise(arrivals[:-1])]
    check(f"progress arrives step by step (ms since the first: {since})", len(gaps) == 3 and min(gaps) > 0.05)

    print("restart", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await use(kept, person)
    check("a second run needs nobody", person.asked == 1)

    before = kept.tokens
    _, echoed, _ = await use(kept, person, expire=True)
    check(
        "an expired access token is refreshed without the person",
        person.asked == 1
        and "hello" in echoed
        and kept.tokens.access_token != before.access_token
        and kept.tokens.refresh_token != before.refresh_token,
    )

    before = kept.tokens
    kept.tokens = before.model_copy(update={"access_token": "mcp_at_no_longer_good", "expires_in": -1})
    await use(kept, person)
    # This SDK asks the person again if a token that it considers valid is refused; after that it must be connected.
    check("a token that is no longer good is replaced", kept.tokens.access_token != "mcp_at_no_longer_good")

    async with httpx2.AsyncClient() as http:
        async def post(path: str, **form: str):
            return await http.post(urljoin(URL, path), data={"client_id": kept.client.client_id, **form})

        revoked = await post("/revoke", token=kept.tokens.refresh_token)
        check("revoked", revoked.status_code == 200)
        refused = await post("/token", grant_type="refresh_token", refresh_token=kept.tokens.refresh_token)
        check("its refresh token ended with that", refused.json()["error"] == "invalid_grant")

    asked = person.asked
    await use(kept, person)
    check("after that the person is asked again", person.asked == asked + 1)


asyncio.run(main())
