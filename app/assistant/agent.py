"""A LangChain agent that answers from passages and can search for more: it has the tool ``retrieve`` and no other."""

from collections.abc import Iterator
from threading import Event as Flag
from typing import TYPE_CHECKING

from app.assistant.backends.base import Event, Request, Token, ToolStep
from app.assistant.backends.prompt import RULES, TOOL_RULES, messages, numbered

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.tools import BaseTool

_MOST_SEARCHES = 3
_QUERY_CHARACTERS = 400


def retrieve_tool(request: Request) -> "BaseTool":
    """The tool ``retrieve``: its content are passages for the model, its artifact (their numbers, the hits)."""
    from langchain_core.tools import tool

    calls = 0

    @tool(response_format="content_and_artifact")
    def retrieve(query: str) -> tuple[str, tuple[list[int], list]]:
        """Search the paper for passages about a short query. Returns numbered passages."""
        nonlocal calls
        calls += 1
        if calls > _MOST_SEARCHES:
            return "No more searches. Answer from the passages that you have.", ([], [])
        hits = request.retrieve(query[:_QUERY_CHARACTERS]) if any(map(str.isalpha, query)) else []
        text, numbers = numbered(request.passages, hits)
        return text, (numbers, hits)

    return retrieve


def answer_with_agent(model: "BaseChatModel", request: Request, stop: Flag) -> Iterator[Event]:
    """The agent's answer with its searches as :class:`ToolStep` events, one when a search begins and one when it is
    done. The passages found for the question are given from the start: small models call tools badly."""
    from langchain.agents import create_agent
    from langgraph.errors import GraphRecursionError

    agent = create_agent(model, [retrieve_tool(request)], system_prompt=RULES + TOOL_RULES)
    queries: dict[str, str] = {}
    given = {"messages": messages(request)[1:]}
    steps = agent.stream(given, stream_mode=["messages", "updates"], config={"recursion_limit": 2 * _MOST_SEARCHES + 6})
    try:
        for mode, data in steps:
            if stop.is_set():
                return
            if mode == "messages":
                message, origin = data
                if origin.get("langgraph_node") == "model" and (text := message.text):
                    yield Token(text)
                continue
            for message in (data.get("model") or {}).get("messages", ()):
                for call in message.tool_calls:
                    queries[call["id"]] = str(call["args"].get("query", ""))
                    yield ToolStep(call["name"], queries[call["id"]])
            for message in (data.get("tools") or {}).get("messages", ()):
                numbers = message.artifact[0] if message.artifact else []
                yield ToolStep(message.name or "", queries.get(message.tool_call_id, ""), tuple(numbers), done=True)
    except GraphRecursionError:
        return  # it only ever searched: what it said so far is judged as it is
    finally:
        steps.close()


def answer_without_tools(model: "BaseChatModel", request: Request, stop: Flag) -> Iterator[Event]:
    """The answer of a model that cannot call tools, from the passages found for the question."""
    for message in model.stream(messages(request)):
        if stop.is_set():
            return
        if text := message.text:
            yield Token(text)
