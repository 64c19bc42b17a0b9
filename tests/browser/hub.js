// The running hub as the product and its developer see it: the API, the clock, and the people of the simulator.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

const directory = process.env.HUB_DIRECTORY;
const dev = JSON.parse(readFileSync(join(directory, ".chancery", "dev.json"), "utf8"));

export const url = dev.url;
export const simulatorUrl = dev.simulator_url;

/** A sign-in link for an account that nobody has used yet, or for the one given: `{ id, url, … }`. */
export function invite({ account = `u-${randomUUID()}`, expected } = {}) {
  return api("POST", "/v1/sign-ins", { account, expected });
}

/** What became of a sign-in: `open`, `provisional`, `completed`, `refused` or `lapsed`. */
export async function status(signIn) {
  return (await api("GET", `/v1/sign-ins/${signIn.id}`)).status;
}

export function send(account, text) {
  return api("POST", "/v1/messages", { recipient: { account }, content: { type: "text", text } });
}

/** Sends a text to a person that way: `graph` or `bot`. */
export async function sendBy(surface, upn, text) {
  return api("POST", "/v1/messages", { recipient: await person(upn), content: { type: "text", text }, surface });
}

/** The reference of one of the simulator's people, as the API takes it. */
export async function person(upn) {
  const people = await json("GET", `${simulatorUrl}/control/people`, dev.control_token);
  const { tid, oid } = people.find((it) => it.upn === upn);
  return { tenant: tid, object_id: oid };
}

/** Moves the clock of hub and simulator, as a developer does: `10m`, `2h`. */
export async function advance(by) {
  await promisify(execFile)(process.env.CHANCERY, ["dev", "clock", "advance", by], { cwd: directory });
}

function api(method, path, body) {
  return json(method, url + path, dev.api_key, body);
}

async function json(method, address, token, body) {
  const headers = { Authorization: `Bearer ${token}` };
  if (body) Object.assign(headers, { "Content-Type": "application/json", "Idempotency-Key": randomUUID() });
  const answer = await fetch(address, { method, headers, body: body && JSON.stringify(body) });
  const text = await answer.text();
  assert.ok(answer.ok, `${method} ${address}: ${answer.status} ${text}`);
  return JSON.parse(text);
}
