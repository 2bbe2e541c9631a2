// The official Anthropic client for Node, unchanged, against hotseat.
import { assert, check, counting, key, load, model, rejects, runAll, url } from "./check.mjs";

const Anthropic = load("@anthropic-ai/sdk");
const options = { baseURL: url, apiKey: key, maxRetries: 0, timeout: 120_000 };
const client = new Anthropic(options);
const count = [{ role: "user", content: "Count from one to five, in digits." }];
const weather = {
  name: "get_weather",
  description: "Says what the weather is in a city.",
  input_schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};
const ask = (params) => ({ model, messages: count, temperature: 0, max_tokens: 24, ...params });
const textOf = (message) => message.content.filter((b) => b.type === "text").map((b) => b.text).join("");
const promptOf = (usage) => usage.input_tokens + usage.cache_read_input_tokens;

check("stream_equals_whole", async () => {
  const whole = await client.messages.create(ask({ system: "You are brief." }));
  assert.ok(whole._request_id && whole.id.startsWith("msg_") && textOf(whole).includes("5"), JSON.stringify(whole));
  const stream = client.messages.stream(ask({ system: "You are brief." }));
  let text = "", pieces = 0;
  stream.on("text", (piece) => ((text += piece), pieces++));
  const final = await stream.finalMessage();
  assert.ok(pieces > 3);
  assert.equal(text, textOf(whole));
  assert.equal(textOf(final), text);
  assert.deepEqual([final.stop_reason, final.usage.output_tokens], [whole.stop_reason, whole.usage.output_tokens]);
  assert.equal(promptOf(final.usage), promptOf(whole.usage));
  assert.ok(final.usage.cache_read_input_tokens > 0);
  const kinds = [];
  for await (const e of await client.messages.create(ask({ stream: true, max_tokens: 4 }))) kinds.push(e.type);
  assert.deepEqual(kinds.slice(0, 2), ["message_start", "content_block_start"]);
  assert.deepEqual(kinds.slice(-3), ["content_block_stop", "message_delta", "message_stop"]);
});

const toolsLoop = (streamed) => async () => {
  const say = (params) => (streamed ? client.messages.stream(ask(params)).finalMessage() : client.messages.create(ask(params)));
  const messages = [{ role: "user", content: "What is the weather in Paris?" }];
  const first = await say({ messages, tools: [weather], tool_choice: { type: "any" }, max_tokens: 80 });
  assert.equal(first.stop_reason, "tool_use");
  const call = first.content.at(-1);
  assert.equal(call.name, "get_weather");
  assert.match(call.input.city, /paris/i);
  messages.push({ role: "assistant", content: first.content }, { role: "user", content: [
    { type: "tool_result", tool_use_id: call.id, content: "18 degrees, light rain" }, { type: "text", text: "Say it in one short sentence." }] });
  const second = await say({ messages, tools: [weather], tool_choice: { type: "none" } });
  assert.equal(second.stop_reason, "end_turn");
  assert.match(textOf(second), /18|rain/);
  assert.ok(second.usage.cache_read_input_tokens > 0);
};
check("tools_whole", toolsLoop(false));
check("tools_streamed", toolsLoop(true));

check("counts", async () => {
  const params = { model, messages: [{ role: "user", content: "What is the weather in Rome?" }], tools: [weather] };
  const { input_tokens } = await client.messages.countTokens(params);
  assert.equal(promptOf((await client.messages.create({ ...params, max_tokens: 2 })).usage), input_tokens);
});

check("structured_output", async () => {
  const schema = { type: "object", properties: { city: { type: "string" }, country: { type: "string" } }, required: ["city", "country"],
    additionalProperties: false };
  const message = await client.messages.create(ask({ messages: [{ role: "user", content: "Name the capital of France, as JSON." }], max_tokens: 60,
    output_config: { format: { type: "json_schema", schema } } }));
  assert.deepEqual(Object.keys(JSON.parse(textOf(message))).sort(), ["city", "country"]);
});

check("errors_in_its_own_classes", async () => {
  await rejects(client.messages.create(ask({ model: "no-such-model" })), Anthropic.NotFoundError,
    (e) => e.status === 404 && e.error.error.type === "not_found_error" && e.requestID);
  await rejects(client.messages.create(ask({ temperature: 1.5 })), Anthropic.BadRequestError, (e) => e.message.includes("temperature: must be from 0 to 1"));
  await rejects(client.messages.create(ask({ messages: [{ role: "user", content: "word ".repeat(20000) }] })), Anthropic.BadRequestError,
    (e) => e.message.includes("context"));
  await rejects(new Anthropic({ ...options, apiKey: "wrong" }).messages.create(ask()), Anthropic.AuthenticationError,
    (e) => e.error.error.type === "authentication_error");
});

check("an_error_in_a_stream", async () => {
  const stream = client.messages.stream(ask({ max_tokens: 3000, messages: [{ role: "user", content: "Write a very long story." }] }),
    { headers: { "X-Hotseat-Timeout-S": "0.7" } });
  await rejects(stream.finalMessage(), Anthropic.APIError, (e) => e.error.error.type === "timeout_error");
});

check("retries_and_timeouts", async () => {
  const counted = counting();
  const again = new Anthropic({ ...options, fetch: counted, maxRetries: 1 });
  await rejects(again.messages.create(ask(), { headers: { "X-Hotseat-Timeout-S": "0.001" } }), Anthropic.APIError, (e) => e.status === 408);
  assert.equal(counted.calls, 2);
  const long = ask({ max_tokens: 3000, messages: [{ role: "user", content: "Write a very long story." }] });
  await rejects(client.messages.create(long, { timeout: 300 }), Anthropic.APIConnectionTimeoutError);
});

check("cancel_in_the_middle", async () => {
  const stream = client.messages.stream(ask({ max_tokens: 3000, messages: [{ role: "user", content: "Write a very long story." }] }));
  let n = 0;
  stream.on("text", () => ++n === 3 && stream.abort());
  await rejects(stream.done(), Anthropic.APIUserAbortError);
  assert.ok(n >= 3 && stream.aborted);
  assert.ok((await client.messages.create(ask({ max_tokens: 2 }))).usage.output_tokens <= 2);
});

await runAll();
