// A person's Teams, as the simulator shows it: the app, and the chat with the bot.
import { button, newPage } from "./browser.js";
import * as hub from "./hub.js";

const chat = (page) => page.frameLocator("iframe");

/** The person's Teams, with the app installed. */
export async function teams(browser, upn, locale) {
  const page = await newPage(browser);
  const { object_id } = await hub.person(upn);
  await page.goto(`${hub.simulatorUrl}/teams/${object_id}`);
  if (locale) {
    await page.getByLabel("Language").selectOption(locale);
    await button(page, "Use this language").click();
  }
  const install = button(page, "Install the app");
  if (await install.isVisible()) await install.click();
  return page;
}

export async function say(page, text) {
  await page.getByLabel("Message to the bot").fill(text);
  await button(page, "Send").click();
}

/** Waits until the chat shows this. */
export function said(page, text) {
  return chat(page).getByText(text).first().waitFor();
}

/** Types `login`, and answers where the newest card leads, after so many before it. */
export async function login(page, before = 0) {
  await say(page, "login");
  const links = chat(page).locator("a[href*='/sign-in/']");
  await links.nth(before).waitFor();
  return links.first().getAttribute("href");
}
