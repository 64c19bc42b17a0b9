// From `login` in Teams to the login panel, and both ways in from there.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { agree, button, heading, inspect, launch, newPage, pictures, screenshot } from "./browser.js";
import * as hub from "./hub.js";
import { login, said, say, teams } from "./teams.js";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

test("the panel offers both ways, strictly, and readable on every screen", async () => {
  const page = await newPage(browser);
  await page.goto(await login(await teams(browser, "ada@contoso.example")));
  await pictures(page, "panel");
  await inspect(page);
});

test("the panel speaks German to whose Teams does, and the page with the code as well", async () => {
  const page = await newPage(browser);
  await page.goto(await login(await teams(browser, "farah@fabrikam.example", "de-DE")));
  await heading(page, "Mit Microsoft Teams verbinden");
  await page.getByText(", Fabrikam").waitFor();
  await pictures(page, "panel-german");
  await inspect(page);
  await page.getByLabel("Benutzername", { exact: true }).fill("bruno");
  await page.getByLabel("Passwort", { exact: true }).fill("correct-horse");
  await page.keyboard.press("Enter");
  await heading(page, "Noch ein Schritt");
  await screenshot(page, "panel-german-code");
  await inspect(page);
});

test("a person comes in with Office 365, by a link that nobody else can use", async () => {
  const chat = await teams(browser, "ada@contoso.example");
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
  const chat = await teams(browser, "chiara@contoso.example");
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
  assert.equal(await page.getByLabel("User name", { exact: true }).inputValue(), "chiara");
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
  await person.goto(await login(await teams(browser, "bruno@contoso.example")));
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
