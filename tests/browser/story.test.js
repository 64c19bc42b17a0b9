// The whole story from the person's side, for two who come in by the two ways, and one whose link was passed on.
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

test("a person installs the bot, comes in with Office 365, is written to on both surfaces, and leaves", async () => {
  const upn = "dmitri@contoso.example";
  const chat = await teams(browser, upn);
  await said(chat, "login – connect your account");
  await screenshot(chat, "story-installed");
  await say(chat, "status");
  await said(chat, "You are not connected. Type login");

  const link = await login(chat);
  const page = await newPage(browser);
  await page.goto(link);
  await page.getByText("Dmitri").first().waitFor();
  await button(page, "Sign in with Office 365").click();
  await agree(page, upn);
  await heading(page, "You are connected");
  await pictures(page, "story-connected");
  await inspect(page);
  await said(chat, "You are connected. Messages for you will arrive in Teams.");

  await hub.sendBy("graph", upn, "As you would write it.");
  await said(chat, "As you would write it.");
  await hub.sendBy("bot", upn, "As the bot says it.");
  await said(chat, "As the bot says it.");
  await say(chat, "status");
  await chat.frameLocator("iframe").getByText("You are connected.").nth(1).waitFor();
  await screenshot(chat, "story-messages");
  await say(chat, "logout");
  await said(chat, "You are disconnected. Type login to connect again.");

  // The link has done its work, and its time goes by as that of a new one.
  const used = await newPage(browser);
  await used.goto(link);
  await pictures(used, "story-used-link");
  await inspect(used);
  assert.equal(await used.getByRole("button").count(), 0, "nothing can be done with it any more");
  const unused = await login(chat, 1);
  await hub.advance("11m");
  const late = await newPage(browser);
  await late.goto(unused);
  await heading(late, "This link is too old");
  await pictures(late, "story-old-link");
  await inspect(late);
});

test("another comes in by the product's password, and is written to by the bot", async () => {
  const chat = await teams(browser, "ada@fabrikam.example");
  const page = await newPage(browser);
  await page.goto(await login(chat));
  await page.getByLabel("User name", { exact: true }).fill("bruno");
  await page.getByLabel("Password", { exact: true }).fill("correct-horse");
  await button(page, "Sign in").last().click();
  await heading(page, "One more step");
  await pictures(page, "story-code");
  await inspect(page);
  await say(chat, await page.locator(".code").innerText());
  await said(chat, "You are connected (account: u-1002).");
  await page.reload();
  await heading(page, "You are connected");
  await inspect(page);
  await hub.sendBy("bot", "ada@fabrikam.example", "Welcome, says the bot.");
  await said(chat, "Welcome, says the bot.");
  await say(chat, "status");
  await screenshot(chat, "story-password");
});

test("a link that was passed on gives nobody the account of whoever opens it", async () => {
  const [sender, receiver] = [await teams(browser, "emeka@fabrikam.example"), await teams(browser, "bruno@contoso.example")];
  await say(sender, "logout");
  const link = await login(sender);
  const page = await newPage(browser);
  await page.goto(link);
  // Who opens it sees for whom it was made.
  await page.getByText("Emeka").first().waitFor();
  await page.getByLabel("User name", { exact: true }).fill("ada");
  await page.getByLabel("Password", { exact: true }).fill("correct-horse");
  await button(page, "Sign in").last().click();
  await heading(page, "One more step");
  await page.getByText("Only if you typed login as Emeka").waitFor();
  await pictures(page, "story-forwarded-password");
  await inspect(page);
  await say(receiver, await page.locator(".code").innerText());
  await said(receiver, "help – read this again");
  await say(sender, "status");
  await said(sender, "You are not connected. Type login");

  // At Microsoft it is refused at once.
  const other = await newPage(browser);
  await other.goto(await login(sender, 1));
  await button(other, "Sign in with Office 365").click();
  await agree(other, "farah@fabrikam.example");
  await heading(other, "You are not connected yet");
  await pictures(other, "story-forwarded");
  await inspect(other);
  await page.reload();
  await heading(page, "This link does not count any more");
  await pictures(page, "story-voided");
  await inspect(page);
});
