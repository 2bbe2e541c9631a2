// The official OpenAI client for Node, unchanged, against hotseat.
import { assert, check, counting, key, load, model, rejects, runAll, url } from "./check.mjs";

const OpenAI = load("openai");
const options = { baseURL: `${url}/v1`, apiKey: key, maxRetries: 0, timeout: 120_000 };
const client = new OpenAI(options);
const count = [{ role: "user", content: "Count from one to five, in digits." }];
const weather = {
  name: "get_weather",
  description: "Says what the weather is in a city.",
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};
const ask = (params) => ({ model, messages: count, temperature: 0, max_tokens: 24, ...params });

check("models", async () => {
  const ids = [];
  for await (const m of client.models.list()) ids.push(m.id);
  assert.deepEqual(ids, [model]);
  assert.equal((await client.models.retrieve(model)).object, "model");
});

check("stream_equals_whole", async () => {
  const { data: whole, request_id } = await client.chat.completions.create(ask()).withResponse();
  assert.ok(request_id && whole.choices[0].message.content.includes("5"), JSON.stringify(whole));
  assert.equal(whole.usage.total_tokens, whole.usage.prompt_tokens + whole.usage.completion_tokens);
  let text = "", usage = null, finish = null, pieces = 0;
  for await (const chunk of await client.chat.completions.create(ask({ stream: true, stream_options: { include_usage: true } }))) {
    assert.equal(chunk.object, "chat.completion.chunk");
    usage = chunk.usage ?? usage;
    finish = chunk.choices[0]?.finish_reason ?? finish;
    pieces += Boolean(chunk.choices[0]?.delta.content);
    text += chunk.choices[0]?.delta.content ?? "";
  }
  assert.ok(pieces > 3);
  assert.equal(text, whole.choices[0].message.content);
  assert.equal(finish, whole.choices[0].finish_reason);
  assert.equal(usage.completion_tokens, whole.usage.completion_tokens);
  assert.ok(usage.prompt_tokens_details.cached_tokens > 0);
});

check("completions", async () => {
  const answer = await client.completions.create({ model, prompt: "The capital of France is", temperature: 0, max_tokens: 4 });
  assert.match(answer.choices[0].text, /Paris/);
});

// The small model calls a tool only when it must; with a named one the client's loop ends at the tool's result.
check("tools_by_the_clients_own_loop", async () => {
  const asked = [];
  const tool = { type: "function", function: { ...weather, parse: JSON.parse, function: ({ city }) => (asked.push(city), "18 degrees, light rain") } };
  const loop = client.chat.completions.runTools(ask({
    messages: [{ role: "user", content: "What is the weather in Paris?" }], tools: [tool], max_tokens: 80,
    tool_choice: { type: "function", function: { name: weather.name } },
  }));
  await loop.done();
  assert.equal(asked.length, 1);
  assert.match(asked[0], /paris/i);
  assert.deepEqual(loop.messages.map((m) => m.role), ["user", "assistant", "tool"]);
  const answer = await client.chat.completions.create(ask({
    messages: [...loop.messages, { role: "user", content: "Say it in one short sentence." }], tools: [{ type: "function", function: weather }], tool_choice: "none",
  }));
  assert.equal(answer.choices[0].finish_reason, "stop");
  assert.match(answer.choices[0].message.content, /18|rain/);
  assert.ok(answer.usage.prompt_tokens_details.cached_tokens > 0);
});

check("tools_streamed", async () => {
  const stream = client.chat.completions.stream(ask({
    messages: [{ role: "user", content: "What is the weather in Paris?" }], tools: [{ type: "function", function: weather }],
    tool_choice: "required", max_tokens: 80,
  }));
  const choice = (await stream.finalChatCompletion()).choices[0];
  assert.equal(choice.finish_reason, "tool_calls");
  assert.equal(choice.message.tool_calls.length, 1);
  assert.match(JSON.parse(choice.message.tool_calls[0].function.arguments).city, /paris/i);
});

check("structured_output", async () => {
  const schema = { type: "object", properties: { city: { type: "string" }, country: { type: "string" } }, required: ["city", "country"],
    additionalProperties: false };
  const answer = await client.chat.completions.create(ask({
    messages: [{ role: "user", content: "Name the capital of France, as JSON." }], max_tokens: 60,
    response_format: { type: "json_schema", json_schema: { name: "capital", strict: true, schema } },
  }));
  assert.deepEqual(Object.keys(JSON.parse(answer.choices[0].message.content)).sort(), ["city", "country"]);
});

check("errors_in_its_own_classes", async () => {
  await rejects(client.chat.completions.create(ask({ model: "no-such-model" })), OpenAI.NotFoundError,
    (e) => e.status === 404 && e.code === "model_not_found" && e.requestID);
  await rejects(client.chat.completions.create(ask({ temperature: 17 })), OpenAI.BadRequestError, (e) => e.param === "temperature");
  await rejects(client.chat.completions.create(ask({ messages: [{ role: "user", content: "word ".repeat(20000) }] })), OpenAI.BadRequestError,
    (e) => e.code === "context_length_exceeded");
  await rejects(new OpenAI({ ...options, apiKey: "wrong" }).models.list(), OpenAI.AuthenticationError, (e) => e.code === "invalid_api_key");
});

check("an_error_in_a_stream", async () => {
  const stream = await client.chat.completions.create(ask({ stream: true, max_tokens: 3000, ignore_eos: true }), { headers: { "X-Hotseat-Timeout-S": "0.7" } });
  const read = async () => {
    let n = 0;
    for await (const _ of stream) n++;
    return n;
  };
  await rejects(read(), OpenAI.APIError, (e) => e.code === "timeout");
});

check("retries_and_timeouts", async () => {
  const counted = counting();
  const again = new OpenAI({ ...options, fetch: counted, maxRetries: 1 });
  await rejects(again.chat.completions.create(ask(), { headers: { "X-Hotseat-Timeout-S": "0.001" } }), OpenAI.APIError, (e) => e.status === 408);
  assert.equal(counted.calls, 2);
  assert.equal(counted.headers.get("x-stainless-retry-count"), "1");
  await rejects(client.chat.completions.create(ask({ max_tokens: 3000, ignore_eos: true }), { timeout: 300 }), OpenAI.APIConnectionTimeoutError);
});

check("cancel_in_the_middle", async () => {
  const stream = await client.chat.completions.create(ask({ stream: true, max_tokens: 3000, ignore_eos: true }));
  let n = 0;
  for await (const _ of stream) if (++n === 4) break;
  assert.equal(n, 4);
  const abort = new AbortController();
  setTimeout(() => abort.abort(), 100);
  await rejects(client.chat.completions.create(ask({ max_tokens: 3000, ignore_eos: true }), { signal: abort.signal }), OpenAI.APIUserAbortError);
  assert.ok((await client.chat.completions.create(ask({ max_tokens: 2 }))).usage.completion_tokens <= 2);
});

await runAll();
