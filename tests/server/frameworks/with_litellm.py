"""litellm: one router over two models and one that is not there, whose calls fall back to the clerk's; a chunk builder."""
import json

import litellm
from task import (AGAIN, ANSWER_TOKENS, CALL_TOKENS, CLERK, CLERKS_MODEL, FOR_THE_POET, KEY, POET, POETS_MODEL, QUESTION, URL, look_up, report)

WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "Says what the weather is in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}


def deployment(name, model):
    return {"model_name": name, "litellm_params": {"model": f"openai/{model}", "api_base": f"{URL}/v1", "api_key": KEY, "temperature": 0,
                                                   "timeout": 120, "max_retries": 0}}


router = litellm.Router([deployment("clerk", CLERKS_MODEL), deployment("poet", POETS_MODEL), deployment("lost", "no-such-model")],
                        fallbacks=[{"lost": ["clerk"]}], num_retries=0)
talk = [{"role": "system", "content": CLERK}, {"role": "user", "content": QUESTION}]
first = router.completion("lost", talk, tools=[WEATHER], tool_choice="required", parallel_tool_calls=False, max_tokens=CALL_TOKENS)
message = first.choices[0].message
talk.append(message.model_dump())  # with all that the framework adds to it
for call in message.tool_calls:
    talk.append({"role": "tool", "tool_call_id": call.id, "content": look_up(**json.loads(call.function.arguments))})
answer = router.completion("clerk", talk, tools=[WEATHER], max_tokens=ANSWER_TOKENS).choices[0].message
talk += [answer.model_dump(), {"role": "user", "content": AGAIN}]

line = router.completion("poet", [{"role": "system", "content": POET}, {"role": "user", "content": FOR_THE_POET + answer.content}],
                         max_tokens=ANSWER_TOKENS).choices[0].message.content

chunks = list(router.completion("clerk", talk, tools=[WEATHER], max_tokens=ANSWER_TOKENS, stream=True, stream_options={"include_usage": True}))
again = litellm.stream_chunk_builder(chunks, messages=talk)
n_pieces = sum(bool(c.choices and c.choices[0].delta.content) for c in chunks)
report(answer.content, line, again.choices[0].message.content, n_pieces, again.usage.prompt_tokens, again.usage.prompt_tokens_details.cached_tokens,
       answered=first.model)
