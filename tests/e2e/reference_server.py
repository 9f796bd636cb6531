"""An MCP server on the Python SDK with what the conformance suite asks servers for, so that as many of its checks as
possible mean something on both sides of the proxy.

Usage: reference_server.py streamable-http PORT
"""

import base64
import sys

import mcp.types as types
from mcp.server import MCPServer
from mcp.server.mcpserver import AssistantMessage, Context, UserMessage
from pydantic import BaseModel

# A red dot, and the shortest sound.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
WAV = base64.b64encode(b"RIFF$\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0@\x1f\0\0@\x1f\0\0\1\0\x08\0data\0\0\0\0").decode()

server = MCPServer("reference")


def embedded(uri: str, text: str) -> types.EmbeddedResource:
    contents = types.TextResourceContents(uri=uri, mime_type="text/plain", text=text)
    return types.EmbeddedResource(type="resource", resource=contents)


def image() -> types.ImageContent:
    return types.ImageContent(type="image", data=PNG, mime_type="image/png")


@server.tool()
def test_simple_text() -> str:
    return "This is a simple text response for testing."


@server.tool()
def test_image_content() -> list[types.ImageContent]:
    return [image()]


@server.tool()
def test_audio_content() -> list[types.AudioContent]:
    return [types.AudioContent(type="audio", data=WAV, mime_type="audio/wav")]


@server.tool()
def test_embedded_resource() -> list[types.EmbeddedResource]:
    return [embedded("test://embedded-resource", "This is an embedded resource content.")]


@server.tool()
def test_multiple_content_types() -> list[types.ContentBlock]:
    text = types.TextContent(type="text", text="Multiple content types test:")
    return [text, image(), embedded("test://mixed-content-resource", '{"test":"data","value":123}')]


@server.tool()
async def test_tool_with_logging(context: Context) -> str:
    for step in ("started", "processing data", "completed"):
        await context.info(f"Tool execution {step}")
    return "logged"


@server.tool()
def test_error_handling() -> str:
    raise RuntimeError("This tool intentionally returns an error for testing")


@server.tool()
async def test_tool_with_progress(context: Context) -> str:
    for step in (0, 50, 100):
        await context.report_progress(step, 100)
    return "done"


@server.tool()
async def test_sampling(prompt: str, context: Context) -> str:
    content = types.TextContent(type="text", text=prompt)
    message = types.SamplingMessage(role="user", content=content)
    answer = await context.session.create_message([message], max_tokens=100, related_request_id=context.request_id)
    return f"LLM response: {answer.content}"


class Person(BaseModel):
    username: str
    email: str


@server.tool()
async def test_elicitation(message: str, context: Context) -> str:
    answer = await context.elicit(message, Person)
    return f"User response: {answer}"


@server.resource("test://static-text", mime_type="text/plain")
def static_text() -> str:
    return "This is the content of the static text resource."


@server.resource("test://static-binary", mime_type="image/png")
def static_binary() -> bytes:
    return base64.b64decode(PNG)


@server.resource("test://template/{id}/data", mime_type="application/json")
def template(id: str) -> str:
    return f'{{"id":"{id}","templateTest":true,"data":"Data for ID: {id}"}}'


@server.prompt()
def test_simple_prompt() -> str:
    return "This is a simple prompt for testing."


@server.prompt()
def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
    return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"


@server.prompt()
def test_prompt_with_embedded_resource(resourceUri: str) -> list:
    resource = embedded(resourceUri, "Embedded resource content for testing.")
    return [UserMessage(content=resource), AssistantMessage(content="Please process it.")]


@server.prompt()
def test_prompt_with_image() -> list:
    return [UserMessage(content=image()), UserMessage(content="Please analyze the image above.")]


@server.completion()
async def complete(reference, argument, context) -> types.Completion:
    return types.Completion(values=["paris", "park"], total=2, has_more=False)


server.run(transport=sys.argv[1], port=int(sys.argv[2]))
