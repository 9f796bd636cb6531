"""For the Python clients: the SDK's OAuth provider with a file as its storage, for both lines of the SDK."""

import asyncio
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

URL, HOME, MESSAGE = sys.argv[1:]
PORT = 33419
CALLBACK = f"http://127.0.0.1:{PORT}/callback"
FILE = Path(HOME) / "stored.json"


def stored() -> dict:
    return json.loads(FILE.read_text()) if FILE.exists() else {}


def store(name: str, value: object) -> None:
    FILE.write_text(json.dumps({**stored(), name: value}))


def open_browser(url: str) -> None:
    with open(os.environ["OPENED_URLS"], "a") as opened:
        opened.write(f"{url}\n")


def landed() -> str:
    """Waits for one request at the callback, and returns its URL."""
    paths = []

    class Callback(BaseHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", PORT), Callback) as server:
        server.handle_request()
    return f"http://127.0.0.1:{PORT}{paths[0]}"


def done(tools: list, text: str) -> None:
    print(f"\n{json.dumps({'tools': tools, 'text': text})}", flush=True)


def provider(name: str):
    from mcp.client import auth
    from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

    class Storage(auth.TokenStorage):
        async def get_tokens(self):
            return (found := stored().get("tokens")) and OAuthToken.model_validate(found)

        async def set_tokens(self, tokens):
            store("tokens", tokens.model_dump(mode="json", exclude_none=True))

        async def get_client_info(self):
            return (found := stored().get("client")) and OAuthClientInformationFull.model_validate(found)

        async def set_client_info(self, client_info):
            store("client", client_info.model_dump(mode="json", exclude_none=True))

    async def redirect(url: str) -> None:
        open_browser(url)

    async def result():
        query = parse_qs(urlsplit(await asyncio.to_thread(landed)).query)
        code, state, iss = (query[field][0] for field in ("code", "state", "iss"))
        # The older line returns a pair.
        result_type = getattr(auth, "AuthorizationCodeResult", None)
        return result_type(code=code, state=state, iss=iss) if result_type else (code, state)

    metadata = OAuthClientMetadata(client_name=name, redirect_uris=[CALLBACK])
    return auth.OAuthClientProvider(URL, metadata, Storage(), redirect, result)
