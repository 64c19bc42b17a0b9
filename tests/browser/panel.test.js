// From `login` in Teams to the login panel, and both ways in from there.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { agree, button, heading, inspect, launch, newPage, screenshot } from "./browser.js";
import * as hub from "./hub.js";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

/** The person's Teams, with the app installed. */
async function teams(upn) {
  const page = await newPage(browser);
  const { object_id } = await hub.person(upn);
  await page.goto(`${hub.simulatorUrl}/teams/${object_id}`);
  const install = button(page, "Install the app");
  if (await install.isVisible()) await install.click();
  return page;
}

async function say(page, text) {
  await page.getByLabel("Message to the bot").fill(text);
  await button(page, "Send").click();
}

/** Waits until the bot says this. */
function said(page, text) {
  return page.frameLocator("iframe").getByText(text).first().waitFor();
}

/** Types `login`, and answers where the newest card leads. */
async function login(page, before = 0) {
  await say(page, "login");
  const links = page.frameLocator("iframe").locator("a[href*='/sign-in/']");
  while ((await links.count()) <= before) await page.frameLocator("iframe").locator("body").waitFor();
  return links.first().getAttribute("href");
}

test("the panel offers both ways, strictly, and readable on every screen", async () => {
  const link = await login(await teams("ada@contoso.example"));
  for (const [name, width, colorScheme] of [
    ["light", 1280, "light"],
    ["dark", 1280, "dark"],
    ["narrow", 360, "light"],
    ["narrow-dark", 360, "dark"],
  ]) {
    const page = await newPage(browser, { viewport: { width, height: 720 }, colorScheme });
    await page.goto(link);
    await screenshot(page, `panel-${name}`);
  }
  const page = await newPage(browser);
  await page.goto(link);
  await inspect(page);
});

test("a person comes in with Office 365, by a link that nobody else can use", async () => {
  const chat = await teams("ada@contoso.example");
  const link = await login(chat, 1);
  const stranger = await newPage(browser);
  await stranger.goto(link);
  await button(stranger, "Sign in with Office 365").click();
  await agree(stranger, "bruno@contoso.example");
  await heading(stranger, "You are not connected yet");
  await screenshot(stranger, "panel-forwarded");
  await inspect(stranger);

  const again = await login(chat, 2);
  const page = await newPage(browser);
  await page.goto(again);
  await button(page, "Sign in with Office 365").click();
  await agree(page, "ada@contoso.example");
  await heading(page, "You are connected");
  await said(chat, "connected");
  await page.goto(link);
  await heading(page, "This link does not count any more");
  await screenshot(page, "panel-voided");
  await inspect(page);
});

test("another comes in by the product's password and a code typed in the chat, by the keyboard alone", async () => {
  const chat = await teams("chiara@contoso.example");
  const page = await newPage(browser);
  await page.goto(await login(chat));
  await page.getByLabel("User name", { exact: true }).focus();
  await page.keyboard.type("chiara");
  await page.keyboard.press("Tab");
  await page.keyboard.type("wrong");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").waitFor();
  await screenshot(page, "panel-wrong-password");
  await inspect(page);
  await page.getByLabel("User name", { exact: true }).fill("chiara");
  await page.getByLabel("Password", { exact: true }).fill("correct-horse");
  await page.keyboard.press("Enter");
  await heading(page, "One more step");
  await screenshot(page, "panel-code");
  await inspect(page);
  await say(chat, await page.locator(".code").innerText());
  await said(chat, "connected");
  await page.reload();
  await heading(page, "You are connected");
  assert.deepEqual(page.complaints, []);
});

test("an administrator approves for the organisation", async () => {
  const person = await newPage(browser);
  await person.goto(await login(await teams("bruno@contoso.example")));
  const page = await newPage(browser);
  await page.goto(hub.url + (await person.getByRole("link", { name: "my organisation must approve" }).getAttribute("href")));
  await heading(page, "Approve this app for your organisation");
  await screenshot(page, "consent");
  await inspect(page);
  await button(page, "Continue to Microsoft").click();
  await button(page, "Accept").click();
  await heading(page, "Thank you");
  await screenshot(page, "consent-reported");
  await inspect(page);
});
