// @ai-sdk/openai-compatible: the task that task.py describes; a tool loop in steps, structured output, a streamed turn.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const load = createRequire(`${process.env.HOTSEAT_NODE_DIR}/package.json`);
const { createOpenAICompatible } = load("@ai-sdk/openai-compatible");
const { generateText, jsonSchema, Output, stepCountIs, streamText, tool } = load("ai");
const { HOTSEAT_URL: url, HOTSEAT_KEY: apiKey, HOTSEAT_CLERK: clerksModel, HOTSEAT_POET: poetsModel } = process.env;
const words = JSON.parse(readFileSync(new URL("task.json", import.meta.url), "utf8"));

const hotseat = createOpenAICompatible({ name: "hotseat", baseURL: `${url}/v1`, apiKey, includeUsage: true, supportsStructuredOutputs: true });
const settings = { temperature: 0, maxRetries: 0 };
const object = (properties) => jsonSchema({ type: "object", properties, required: Object.keys(properties), additionalProperties: false });
const calls = [];
const get_weather = tool({
  description: "Says what the weather is in a city.",
  inputSchema: object({ city: { type: "string" } }),
  execute: ({ city }) => (calls.push({ city }), words.WEATHER[city.toLowerCase()] ?? "unknown"),
});
const clerk = { ...settings, model: hotseat(clerksModel), system: words.CLERK, tools: { get_weather }, maxOutputTokens: words.CALL_TOKENS };

const first = await generateText({
  ...clerk, prompt: words.QUESTION, stopWhen: stepCountIs(2),
  prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? "required" : "auto" }),
});
const poet = await generateText({
  ...settings, model: hotseat(poetsModel), system: words.POET, prompt: words.FOR_THE_POET + first.text, maxOutputTokens: words.ANSWER_TOKENS,
});
const again = streamText({
  ...clerk, onError: ({ error }) => { throw error; },
  messages: [{ role: "user", content: words.QUESTION }, ...first.response.messages, { role: "user", content: words.AGAIN }],
});
let said = "", n_pieces = 0;
for await (const piece of again.textStream) {
  said += piece;
  n_pieces++;
}
const parsed = (await generateText({
  ...settings, model: hotseat(clerksModel), prompt: words.AS_JSON, maxOutputTokens: words.CALL_TOKENS,
  output: Output.object({ schema: object({ city: { type: "string" }, degrees: { type: "integer" } }) }),
})).output;
const usage = await again.usage;
console.log(JSON.stringify({
  calls, answer: first.text, line: poet.text, again: said, n_pieces, prompt: usage.inputTokens, cached: usage.inputTokenDetails.cacheReadTokens, parsed,
}));
