// What a person goes through between the product and Teams.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { agree, button, heading, launch, newPage, press, screenshot } from "./browser.js";
import * as hub from "./hub.js";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

test("a person signs in through the product, and its messages arrive in Teams, also when the token has expired", async () => {
  const page = await newPage(browser);
  await page.goto(`${hub.url}/dev`);
  await page.getByLabel("Account").fill("u-1001");
  await button(page, "Connect Microsoft Teams").click();
  await heading(page, "Connect Microsoft Teams");
  await button(page, "Continue with Microsoft").click();
  await agree(page, "ada@contoso.example");
  await page.getByText("You are connected. The product has confirmed that it was you.").waitFor();
  assert.ok(page.url().startsWith(`${hub.url}/dev/return?`));
  await screenshot(page, "product-connected");

  await hub.send("u-1001", "Your weekly check-in is due.");
  await page.getByRole("link", { name: "Go to Teams" }).click();
  await page.getByRole("link", { name: "Ada Bergström" }).click();
  const chat = page.frameLocator("iframe");
  await chat.getByText("Your weekly check-in is due.").waitFor();

  await hub.advance("2h");
  await hub.send("u-1001", "Two hours later");
  await chat.getByText("Two hours later").waitFor();
  await screenshot(page, "teams");
  assert.deepEqual(page.complaints, []);
});

test("the cookie of the sign-in page is kept by the browser, out of reach of scripts, for this host alone", async () => {
  const page = await newPage(browser);
  await page.goto((await hub.invite()).url);
  const [cookie, ...others] = await page.context().cookies();
  assert.deepEqual(others, []);
  const { name, domain, path, secure, httpOnly, sameSite } = cookie;
  assert.deepEqual(
    { name, domain, path, secure, httpOnly, sameSite },
    { name: "__Host-chancery", domain: "localhost", path: "/", secure: true, httpOnly: true, sameSite: "Lax" },
  );
});

test("opening a link changes nothing, and leaves it good for another browser", async () => {
  const signIn = await hub.invite();
  for (const page of [await newPage(browser), await newPage(browser)]) {
    await page.goto(signIn.url);
    await heading(page, "Connect Microsoft Teams");
    assert.equal(await hub.status(signIn), "open");
  }
  await press(await newPage(browser), signIn.url);
});

test("a link whose button was pressed in one browser says so in another, and goes on working in the first", async () => {
  const signIn = await hub.invite();
  const [first, second] = [await newPage(browser), await newPage(browser)];
  await second.goto(signIn.url);
  await press(first, signIn.url);
  await button(second, "Continue with Microsoft").click();
  await heading(second, "This link is used in another browser");
  await second.goto(signIn.url);
  await heading(second, "This link is used in another browser");
  await agree(first, "bruno@contoso.example");
  await first.getByText("You are connected.").waitFor();
  assert.equal(await hub.status(signIn), "completed");
});

test("a link that has lapsed says so kindly", async () => {
  const signIn = await hub.invite();
  const [before, later] = [await newPage(browser), await newPage(browser)];
  await before.goto(signIn.url);
  await hub.advance("11m");
  await later.goto(signIn.url);
  await heading(later, "This link is too old");
  await later.getByText("Type login to the bot for a new one, or ask where you got this one.").waitFor();
  await button(before, "Continue with Microsoft").click();
  await heading(before, "This link is too old");
  assert.equal(await hub.status(signIn), "lapsed");
});

test("who cancels at Microsoft is told so, and can try again", async () => {
  const signIn = await hub.invite();
  const page = await newPage(browser);
  await press(page, signIn.url);
  await button(page, "Cancel").click();
  await heading(page, "You are not connected yet");
  await page.getByText("You cancelled at Microsoft").waitFor();
  assert.equal(await hub.status(signIn), "open");

  await page.getByRole("link", { name: "Try again" }).click();
  await page.getByRole("status").getByText("You cancelled at Microsoft").waitFor();
  await button(page, "Continue with Microsoft").click();
  await agree(page, "chiara@contoso.example");
  await page.getByText("You are connected.").waitFor();
  assert.equal(await hub.status(signIn), "completed");
});

test("only the person whom the link was made for gets in by it", async () => {
  const signIn = await hub.invite({ expected: await hub.person("ada@contoso.example") });
  const page = await newPage(browser);
  await press(page, signIn.url);
  await agree(page, "bruno@contoso.example");
  await page.getByText("You signed in with another account").waitFor();
  await page.getByRole("link", { name: "Try again" }).click();
  await button(page, "Continue with Microsoft").click();
  await agree(page, "ada@contoso.example");
  await heading(page, "You are connected");
  assert.equal(await hub.status(signIn), "completed");
});

test("a person can sign in by the keyboard alone", async () => {
  const signIn = await hub.invite();
  const page = await newPage(browser);
  await page.goto(signIn.url);
  await activate(page, "Continue with Microsoft");
  await heading(page, "Pick an account");
  await activate(page, "farah@fabrikam.example");
  await heading(page, "Permissions requested");
  await activate(page, "Accept");
  await page.getByText("You are connected.").waitFor();
  assert.equal(await hub.status(signIn), "completed");
});

/** Goes to a button by the Tab key, sees that it has the focus, and presses it by Enter. */
async function activate(page, name) {
  const focused = page.locator("button:focus-visible", { hasText: name });
  for (let tabs = 0; tabs < 30 && (await focused.count()) === 0; tabs += 1) await page.keyboard.press("Tab");
  assert.equal(await focused.evaluate((it) => getComputedStyle(it).outlineStyle), "solid");
  await page.keyboard.press("Enter");
}
