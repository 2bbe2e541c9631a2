"""langchain-openai: bound tools, a chain whose second half is another model, structured output, a streamed turn."""
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel
from task import (AGAIN, ANSWER_TOKENS, AS_JSON, CALL_TOKENS, CLERK, CLERKS_MODEL, FOR_THE_POET, KEY, POET, POETS_MODEL, QUESTION, URL, look_up,
                  report)


@tool
def get_weather(city: str) -> str:
    """Says what the weather is in a city."""
    return look_up(city=city)


class Weather(BaseModel):
    """The weather of a city."""
    city: str
    degrees: int


def model(name, max_tokens):
    return ChatOpenAI(model=name, base_url=f"{URL}/v1", api_key=KEY, temperature=0, max_tokens=max_tokens, max_retries=0, timeout=120,
                      stream_usage=True)


clerk = model(CLERKS_MODEL, CALL_TOKENS)
talk = [SystemMessage(CLERK), HumanMessage(QUESTION)]
talk.append(clerk.bind_tools([get_weather], tool_choice="required", parallel_tool_calls=False).invoke(talk))
talk += [get_weather.invoke(call) for call in talk[-1].tool_calls]
assert isinstance(talk[-1], ToolMessage), talk
talk.append(clerk.bind_tools([get_weather]).invoke(talk))
answer = talk[-1].content

prompt = ChatPromptTemplate.from_messages([("system", POET), ("human", FOR_THE_POET + "{answer}")])
line = (prompt | model(POETS_MODEL, ANSWER_TOKENS) | StrOutputParser()).invoke({"answer": answer})

talk.append(HumanMessage(AGAIN))
whole, n_pieces = None, 0
for chunk in clerk.bind_tools([get_weather]).stream(talk):
    whole = chunk if whole is None else whole + chunk
    n_pieces += bool(chunk.content)
parsed = clerk.with_structured_output(Weather, method="json_schema", strict=True).invoke([HumanMessage(AS_JSON)])
usage = whole.usage_metadata
report(answer, line, whole.content, n_pieces, usage["input_tokens"], usage["input_token_details"]["cache_read"], parsed=parsed.model_dump())
