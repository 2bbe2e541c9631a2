"""openai-agents: a tool loop, a hand-off to an agent on another model, a streamed turn."""
import asyncio

from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, Runner, function_tool, handoff, set_tracing_disabled
from agents.extensions.handoff_filters import remove_all_tools
from openai import AsyncOpenAI
from task import AGAIN, ANSWER_TOKENS, CALL_TOKENS, CLERK, CLERKS_MODEL, KEY, POET, POETS_MODEL, QUESTION, URL, look_up, report

set_tracing_disabled(True)


@function_tool
def get_weather(city: str) -> str:
    """Says what the weather is in a city."""
    return look_up(city=city)


def said(text):
    return [{"role": "user", "content": text}]


async def main():
    client = AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0, timeout=120)
    poet = Agent("poet", instructions=POET, model=OpenAIChatCompletionsModel(POETS_MODEL, client),
                 model_settings=ModelSettings(temperature=0, max_tokens=ANSWER_TOKENS))
    clerk = Agent("clerk", instructions=CLERK, model=OpenAIChatCompletionsModel(CLERKS_MODEL, client), tools=[get_weather],
                  model_settings=ModelSettings(temperature=0, max_tokens=CALL_TOKENS, tool_choice="required", parallel_tool_calls=False))
    first = await Runner.run(clerk, QUESTION)  # the framework lets go of "required" after the call

    desk = clerk.clone(tools=[], handoffs=[handoff(poet, input_filter=remove_all_tools)])
    second = await Runner.run(desk, first.to_input_list() + said("Hand this over to the poet."))

    talks = clerk.clone(model_settings=ModelSettings(temperature=0, max_tokens=ANSWER_TOKENS, include_usage=True))
    third = Runner.run_streamed(talks, first.to_input_list() + said(AGAIN))
    n_pieces = 0
    async for event in third.stream_events():
        n_pieces += event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
    usage = third.raw_responses[0].usage
    report(first.final_output, second.final_output, third.final_output, n_pieces, usage.input_tokens, usage.input_tokens_details.cached_tokens,
           spoke_last=second.last_agent.name)


asyncio.run(main())
