// What goes to Teams, read by its makers' own validators; and that they refuse what is broken.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import appManifest from "@microsoft/app-manifest";
import cards from "adaptivecards/dist/adaptivecards.js";
import Ajv from "ajv/dist/2020.js";
import addFormats from "ajv-formats";

const read = (...path) => JSON.parse(readFileSync(join(...path), "utf8"));
const broken = (name) => read("broken", name);

/** The problems of a card, also of what its own version does not have yet. */
function problemsOfCard(json) {
  const version = cards.Version.parse(json.version, new cards.SerializationContext());
  const context = new cards.SerializationContext(version);
  const card = new cards.AdaptiveCard();
  card.parse(json, context);
  const events = Array.from({ length: context.eventCount }, (_, at) => context.getEventAt(at));
  const problems = [...events, ...card.validateProperties().validationEvents].map((event) => event.message);
  if (version.compareTo(cards.Versions.v1_5) > 0) problems.push(`Teams does not show version ${json.version}`);
  return problems;
}

for (const name of readdirSync(process.env.CARDS)) {
  test(`the card ${name} is good`, () => {
    const card = read(process.env.CARDS, name);
    assert.deepEqual(problemsOfCard(card), []);
    assert.ok(card.fallbackText, "a card says in text what it says");
  });
}

test("there are cards, the bot's own among them", () => {
  const names = readdirSync(process.env.CARDS);
  assert.ok(names.filter((name) => !name.startsWith("bot_")).length >= 4);
  assert.deepEqual(names.filter((name) => name.startsWith("bot_login.")).sort(), ["bot_login.de.json", "bot_login.en.json"]);
});

test("a broken card is refused for each of its faults", () => {
  const problems = problemsOfCard(broken("card.json")).join("\n");
  for (const fault of [/"Purple"/, /"ProgressBar"/, /"url" must be set/]) assert.match(problems, fault);
  assert.match(problemsOfCard({ ...broken("card.json"), version: "1.6" }).join("\n"), /does not show version 1.6/);
  assert.match(problemsOfCard({ type: "AdaptiveCard", version: "1.4", body: [{ type: "Table" }] }).join("\n"), /"Table"/);
});

test("the manifest of the package is good", async () => {
  const manifest = read(process.env.PACKAGE, "manifest.json");
  assert.deepEqual(await appManifest.AppManifestUtils.validateAgainstSchema(manifest), []);
  assert.deepEqual(manifest.bots[0].commandLists[0].commands.map((it) => it.title), ["login", "logout", "status", "help"]);
});

test("the package holds what its manifest names, and nothing else", () => {
  const { icons } = read(process.env.PACKAGE, "manifest.json");
  assert.deepEqual(readdirSync(process.env.PACKAGE).sort(), ["manifest.json", icons.color, icons.outline].sort());
  for (const [name, size] of [[icons.color, 192], [icons.outline, 32]]) {
    const png = readFileSync(join(process.env.PACKAGE, name));
    assert.deepEqual([png.readUInt32BE(16), png.readUInt32BE(20)], [size, size]);
  }
});

test("a broken manifest is refused for each of its faults", async () => {
  const problems = (await appManifest.AppManifestUtils.validateAgainstSchema(broken("manifest.json"))).join("\n");
  for (const fault of [/\/id must match/, /termsOfUseUrl/, /\/name\/short must NOT have more than 30/, /botId/]) {
    assert.match(problems, fault);
  }
});

for (const name of readdirSync(process.env.SCHEMAS)) {
  test(`the schema ${name} takes its examples and nothing beside`, () => {
    const schema = read(process.env.SCHEMAS, name);
    const ajv = new Ajv({ allErrors: true, allowUnionTypes: true });
    addFormats(ajv);
    // Sizes of numbers, which only say how a program may keep them.
    for (const format of ["uint8", "uint16", "uint32"]) ajv.addFormat(format, true);
    const takes = ajv.compile(schema);
    assert.ok(schema.examples.length > 0);
    for (const example of schema.examples) {
      assert.ok(takes(example), JSON.stringify(takes.errors));
      assert.ok(!takes({ ...example, colour: "red" }));
      assert.ok(!takes({ ...example, title: "" }));
      assert.ok(!takes({ ...example, link: "http://product.example.com" }));
      assert.ok(!takes({ ...example, link: "https://user:password@product.example.com" }));
    }
  });
}
