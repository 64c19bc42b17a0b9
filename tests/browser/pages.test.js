// Each page of ours: no script, a strict policy, nothing in the console, readable for everybody, on every screen.
import { after, before, test } from "node:test";
import { agree, button, heading, inspect, launch, newPage, pictures, press, screenshot } from "./browser.js";
import * as hub from "./hub.js";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

test("the sign-in page is strict, and readable on every screen", async () => {
  const page = await newPage(browser);
  await page.goto((await hub.invite()).url);
  await pictures(page, "sign-in");
  await inspect(page);
});

test("so are the page after a sign-in that was cancelled, and the sign-in page after that", async () => {
  const page = await newPage(browser);
  await press(page, (await hub.invite()).url);
  await button(page, "Cancel").click();
  await heading(page, "You are not connected yet");
  await screenshot(page, "cancelled");
  await inspect(page);
  await page.getByRole("link", { name: "Try again" }).click();
  await page.getByRole("status").waitFor();
  await screenshot(page, "sign-in-again");
  await inspect(page);
});

test("so is the page of a finished sign-in", async () => {
  const page = await newPage(browser);
  await press(page, (await hub.invite({ expected: await hub.person("ada@contoso.example") })).url);
  await agree(page, "ada@contoso.example");
  await heading(page, "You are connected");
  await screenshot(page, "connected");
  await inspect(page);
});

test("so are the pages of links that do not work", async () => {
  const broken = await newPage(browser);
  await broken.goto(`${hub.url}/sign-in/cut-off`);
  await heading(broken, "This link does not work");
  await screenshot(broken, "broken-link");
  await inspect(broken);

  const signIn = await hub.invite();
  await press(await newPage(browser), signIn.url);
  const elsewhere = await newPage(browser);
  await elsewhere.goto(signIn.url);
  await heading(elsewhere, "This link is used in another browser");
  await inspect(elsewhere);

  await hub.advance("11m");
  const lapsed = await newPage(browser);
  await lapsed.goto(signIn.url);
  await heading(lapsed, "This link is too old");
  await screenshot(lapsed, "lapsed-link");
  await inspect(lapsed);
});

test("so is the page for a browser that keeps no cookies", async () => {
  const page = await newPage(browser);
  await page.goto((await hub.invite()).url);
  await page.context().clearCookies();
  await button(page, "Continue with Microsoft").click();
  await heading(page, "Please start again");
  await screenshot(page, "no-cookies");
  await inspect(page);
});

test("so are the pages that play the product", async () => {
  const page = await newPage(browser);
  await page.goto(`${hub.url}/dev`);
  await screenshot(page, "product");
  await inspect(page);
  await page.getByLabel("Account").fill("u-emeka");
  await button(page, "Connect Microsoft Teams").click();
  await button(page, "Continue with Microsoft").click();
  await screenshot(page, "microsoft-accounts");
  await agree(page, "emeka@fabrikam.example");
  await page.getByText("You are connected.").waitFor();
  await inspect(page);
});

test("so is the page of templates, with everything on it unfolded", async () => {
  const page = await newPage(browser);
  await page.goto(`${hub.url}/dev/templates`);
  await screenshot(page, "templates");
  for (const fold of await page.locator("summary").all()) await fold.click();
  await inspect(page);
});
