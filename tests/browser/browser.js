// A Chromium, and what people do with it.
import assert from "node:assert/strict";
import { join } from "node:path";
import axe from "axe-core";
import { chromium } from "playwright-core";

/** A browser with a profile of its own, which is deleted with it. */
export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: [
      "--headless=new",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/**
 * A page in a browser that knows no cookie yet. It keeps what the console complained of in `page.complaints`, and how
 * its document came in `page.document`.
 */
export async function newPage(browser, options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.complaints = [];
  page.on("response", (response) => {
    if (response.request().isNavigationRequest()) page.document = response;
  });
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  page.on("console", (message) => {
    // A page that says what is wrong comes with a status that says so too, and Chromium remarks on that.
    const remark = message.text().startsWith("Failed to load resource") && message.location().url === page.document.url();
    if (["error", "warning"].includes(message.type()) && !remark) page.complaints.push(message.text());
  });
  return page;
}

export const button = (page, name) => page.getByRole("button", { name });

/** Waits until the page says this as its heading. */
export async function heading(page, text) {
  await page.getByRole("heading", { level: 1, name: text, exact: true }).waitFor();
}

/** Opens the link and presses the button, which leads to Microsoft. */
export async function press(page, link) {
  await page.goto(link);
  await button(page, "Continue with Microsoft").click();
  await heading(page, "Pick an account");
}

/** Picks a person at Microsoft, by their user name, and agrees to what is asked there; it is asked only once. */
export async function agree(page, upn) {
  await button(page, upn).click();
  await page.locator("h1", { hasNotText: "Pick an account" }).waitFor();
  const accept = button(page, "Accept");
  if (await accept.isVisible()) await accept.click();
}

export function screenshot(page, name) {
  const path = join(process.env.SCREENSHOTS, `${name}.png`);
  // Hiding the caret would leave a style attribute behind.
  return page.screenshot({ path, fullPage: true, caret: "initial" });
}

/** Pictures of it in light and dark, on a desk and on a telephone. */
export async function pictures(page, name) {
  for (const [look, width, colorScheme] of [
    ["light", 1280, "light"],
    ["dark", 1280, "dark"],
    ["narrow", 360, "light"],
    ["narrow-dark", 360, "dark"],
  ]) {
    await page.setViewportSize({ width, height: 720 });
    await page.emulateMedia({ colorScheme });
    await screenshot(page, `${name}-${look}`);
  }
}

/** Holds a page of ours to what is promised of all of them, in light and dark, on a desk and on a telephone. */
export async function inspect(page) {
  const policy = await page.document.headerValue("content-security-policy");
  assert.match(policy ?? "", /default-src 'none'; style-src 'self'; .*frame-ancestors 'none'; base-uri 'none'/);
  assert.equal(await page.locator("script, style, [style]").count(), 0, "a page has no script and no inline style");
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    for (const width of [1280, 360]) {
      await page.setViewportSize({ width, height: 720 });
      const overhang = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      assert.ok(overhang <= 0, `${page.url()} is ${overhang} pixels too wide at ${width}`);
    }
    await page.evaluate(axe.source);
    const { violations } = await page.evaluate(() => window.axe.run());
    assert.deepEqual(violations.map((it) => [it.id, it.nodes.map((node) => node.html)]), [], `${page.url()}, ${colorScheme}`);
  }
  assert.deepEqual(page.complaints, []);
}
