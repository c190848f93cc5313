"""The public endpoints, called as a program would: through gradio's client and as MCP tools."""

import json

import pytest

from app.endpoints import ENDPOINTS, ask, memory_estimate, quantize, retrieve
from app.interface import build_interface
from qlora.errors import InputError
from qlora.quantization.codebook import codebook
from tests.app.conftest import awaited

NAMES = {endpoint.__name__ for endpoint in ENDPOINTS}


@pytest.fixture(scope="module")
def server():
    pytest.importorskip("mcp")
    blocks = build_interface().queue()
    _, url, _ = blocks.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False, server_port=None, mcp_server=True)
    yield url
    blocks.close(verbose=False)


@pytest.fixture(scope="module")
def client(server):
    from gradio_client import Client

    return Client(server, verbose=False)


def test_these_are_public_and_everything_else_is_private(client):
    assert {name.lstrip("/") for name in client.view_api(return_format="dict")["named_endpoints"]} == NAMES
    assert not client.view_api(return_format="dict")["unnamed_endpoints"]
    public = [function.api_name for function in build_interface().fns.values() if function.api_visibility != "private"]
    assert set(public) == NAMES and len(public) == len(NAMES)


def test_a_program_gets_numbers_passages_and_an_answer(client):
    estimated = client.predict("llama-65b", "qlora", 1, 512, 64, "paged-adamw-32bit", api_name="/memory_estimate")
    assert estimated["components"]["base_weights"] == pytest.approx(65e9 / 2, rel=0.02)
    values = [0.0, 0.5, -1.0, 1.0]
    found = client.predict(values, "nf4", 64, False, api_name="/quantize")
    levels = codebook("nf4").tolist()
    assert found["decoded"] == [levels[code] for code in found["codes"]] and found["absmax"] == [1.0]
    assert found["decoded"][0] == 0.0 and found["decoded"][2:] == [-1.0, 1.0]
    passages = client.predict("What is double quantization?", 3, api_name="/retrieve")
    assert len(passages) == 3 and all(passage["text"] and passage["pdf_page"] for passage in passages)
    answer = client.predict("What is double quantization?", api_name="/ask")
    assert not answer["declined"] and answer["citations"][0]["quote"]
    assert {"question", "answer", "declined", "citations", "seconds"} <= set(answer)
    for papers in ("qlora", ["qlora"], " qlora, "):
        again = client.predict("What is double quantization?", papers, api_name="/ask")
        assert again["answer"] == answer["answer"]


def test_what_is_wrong_with_the_input_comes_back_as_a_sentence(client):
    from gradio_client.exceptions import AppError

    with pytest.raises(AppError, match=r"The model must be one of .*, not '/etc/passwd'"):
        client.predict("/etc/passwd", "qlora", 1, 512, 64, "paged-adamw-32bit", api_name="/memory_estimate")
    with pytest.raises(AppError, match="Type a question first"):
        client.predict(" ", api_name="/ask")


def test_the_same_are_mcp_tools(server):
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    async def talk():
        async with (
            streamablehttp_client(f"{server}gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = (await session.list_tools()).tools
            result = await session.call_tool(
                next(tool.name for tool in tools if tool.name.endswith("quantize")), {"values": [0.25, -1.0]}
            )
            return {tool.name: tool.description for tool in tools}, result

    tools, result = awaited(talk())
    assert {name.removeprefix("app_") for name in tools} == NAMES or set(tools) == NAMES
    assert all("Args" in text or len(text) > 40 for text in tools.values()), "else a model is not told what it does"
    assert not result.isError and json.loads(result.content[0].text.replace("'", '"'))["absmax"] == [1.0]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ask("What is NF4?", "qlora, none"), "There is no paper “none” in the library"),
        (lambda: ask("What is NF4?", ["qlora", 3]), "papers must be a list of identifiers"),
        (lambda: ask("What is NF4?", "qlora", True), "A comparison needs two papers or more"),
        (lambda: retrieve("What is NF4?", 0), "k must be a whole number from 1 to 20, not 0"),
        (lambda: retrieve("What is NF4?", True), "k must be a whole number"),
        (lambda: ask("x" * 3000), "at most 2,000 are read"),
        (lambda: memory_estimate(model="owner/name"), "The model must be one of llama-7b"),
        (lambda: memory_estimate(r=0), "The rank must be a whole number from 1"),
        (lambda: quantize([]), "a list of 1 to 65,536 numbers"),
        (lambda: quantize([1.0] * 65_537), "a list of 1 to 65,536 numbers"),
        (lambda: quantize([1.0, "a"]), "number 2 is 'a'"),
        (lambda: quantize([1.0, float("nan")]), "got 1 NaN or infinite of 2"),
        (lambda: quantize([10**400]), "too large|finite"),
        (lambda: quantize([1.0], "nf9"), "quant_type must be one of"),
        (lambda: quantize([1.0], block_size=7), "power of two"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(InputError, match=words):
        call()
