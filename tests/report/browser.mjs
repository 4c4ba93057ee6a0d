// Draws a page in Chromium and says as JSON what came of it: screenshots, requests, axe, pages.
// node browser.mjs FOLDER_OF_NODE_MODULES CHROMIUM ADDRESS OUT
import { createRequire } from "node:module";
import { readFileSync, writeFileSync } from "node:fs";

const [, , modules, chromium, address, out] = process.argv;
const require = createRequire(`${modules}/`);
const puppeteer = require("puppeteer-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const browser = await puppeteer.launch({
  executablePath: chromium,
  headless: "shell",
  args: ["--no-sandbox", "--no-zygote", "--single-process", "--use-gl=angle",
    "--use-angle=swiftshader", "--in-process-gpu"],
});
const seen = [];
for (const width of [1280, 390]) {
  for (const scheme of ["light", "dark"]) {
    const page = await browser.newPage();
    const requests = [], errors = [];
    page.on("request", (request) => requests.push(request.url().slice(0, 60)));
    page.on("console", (message) => errors.push(message.text()));
    page.on("pageerror", (error) => errors.push(error.message));
    await page.setViewport({ width, height: 900 });
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
    await page.setBypassCSP(true); // for axe alone, which is a script
    await page.goto(address);
    await page.screenshot({ path: `${out}/${width}-${scheme}.png`, fullPage: true });
    const scrolled = await page.evaluate(() => document.documentElement.scrollWidth);
    await page.evaluate(axe);
    const faults = await page.evaluate(async () => (await window.axe.run()).violations);
    seen.push({ width, scheme, scrolled, requests, errors,
      faults: faults.map((each) => `${each.id}: ${each.nodes[0].html}`) });
    await page.close();
  }
}
const page = await browser.newPage();
await page.goto(address);
const printed = Buffer.from(await page.pdf({ preferCSSPageSize: true, printBackground: true }));
writeFileSync(`${out}/printed.pdf`, printed);
const pages = (printed.toString("latin1").match(/\/Type\s*\/Page[^s]/g) || []).length;
await browser.close();
console.log(JSON.stringify({ seen, pages }));
