// What the scripts beside this share: the pinned clients, named checks that run in their order, one line of JSON a check.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

export const { HOTSEAT_URL: url, HOTSEAT_MODEL: model, HOTSEAT_KEY: key } = process.env;
export const load = createRequire(`${process.env.HOTSEAT_NODE_DIR}/package.json`);
export { assert };

const checks = [];
export const check = (name, run) => checks.push([name, run]);

export async function runAll() {
  for (const [name, run] of checks) {
    const began = Date.now();
    let error = null;
    try {
      await run();
    } catch (e) {
      error = e?.stack ?? String(e);
    }
    console.log(JSON.stringify({ name, error, ms: Date.now() - began }));
  }
}

// A fetch that counts, and keeps the last request's headers.
export function counting() {
  const f = async (...args) => {
    f.calls++;
    f.headers = new Headers(args[1]?.headers);
    return fetch(...args);
  };
  f.calls = 0;
  return f;
}

export async function rejects(promise, type, looks = () => true) {
  const e = await promise.then((v) => assert.fail(`no error but ${JSON.stringify(v)}`), (e) => e);
  assert.ok(e instanceof type, `${e?.constructor?.name} instead of ${type.name}: ${e?.stack}`);
  assert.ok(looks(e), `it looks otherwise: ${JSON.stringify(e)} ${e}`);
  return e;
}
