"""Authlib: OAuth without MCP, here with requests. The endpoints are from the documents."""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "matrix"))

import requests
from authlib.common.security import generate_token
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url

from oauth import CALLBACK, MESSAGE, URL, done, landed, open_browser, store, stored

ORIGIN = URL.removesuffix("/mcp")
AS = AuthorizationServerMetadata(requests.get(get_well_known_url(ORIGIN, external=True)).json())
AS.validate()

if "client" not in stored():
    wanted = {
        "client_name": "Authlib",
        "redirect_uris": [CALLBACK],
        "token_endpoint_auth_method": "client_secret_post",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
    }
    answer = requests.post(AS["registration_endpoint"], json=wanted)
    assert answer.status_code == 201, answer.text
    store("client", answer.json())

CLIENT = stored()["client"]
session = OAuth2Session(
    CLIENT["client_id"],
    CLIENT["client_secret"],
    token_endpoint_auth_method=CLIENT["token_endpoint_auth_method"],
    redirect_uri=CALLBACK,
    code_challenge_method="S256",
    token_endpoint=AS["token_endpoint"],
    token=stored().get("tokens"),
    update_token=lambda token, **_: store("tokens", token),
)


def sign_in() -> None:
    verifier = generate_token(48)
    url, state = session.create_authorization_url(AS["authorization_endpoint"], code_verifier=verifier, resource=URL)
    open_browser(url)
    token = session.fetch_token(
        AS["token_endpoint"], authorization_response=landed(), state=state, code_verifier=verifier, resource=URL
    )
    store("tokens", token)


def ask(method: str, params: dict, number: int | None = None, mcp_session: str | None = None):
    headers = {"Accept": "application/json, text/event-stream"}
    if mcp_session:
        headers["Mcp-Session-Id"] = mcp_session
    request = {"jsonrpc": "2.0", "method": method, "params": params} | ({"id": number} if number else {})
    answer = session.post(URL, json=request, headers=headers)
    if answer.status_code == 401:
        return answer, None
    assert answer.ok, answer.text
    data = [line[5:] for line in answer.text.splitlines() if line.startswith("data:") and line[5:].strip()]
    text = data[0] if data else answer.text
    return answer, json.loads(text)["result"] if number else None


def begin() -> str | None:
    info = {"name": "matrix", "version": "1"}
    answer, result = ask("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info}, 1)
    return result and answer.headers["Mcp-Session-Id"]


def refresh_or_sign_in() -> None:
    try:
        store("tokens", session.refresh_token(AS["token_endpoint"], refresh_token=stored()["tokens"]["refresh_token"]))
    except OAuthError as error:
        assert error.error == "invalid_grant", error
        sign_in()


if "tokens" not in stored():
    sign_in()
elif stored()["tokens"]["expires_at"] <= time.time():
    refresh_or_sign_in()
mcp_session = begin()
if mcp_session is None:
    refresh_or_sign_in()
    mcp_session = begin()
ask("notifications/initialized", {}, mcp_session=mcp_session)
tools = ask("tools/list", {}, 2, mcp_session)[1]["tools"]
called = ask("tools/call", {"name": "echo", "arguments": {"message": MESSAGE}}, 3, mcp_session)[1]
done([tool["name"] for tool in tools], called["content"][0]["text"])
