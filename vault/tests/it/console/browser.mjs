// Drives Chromium over its debugging pipe, and says what it saw as JSON. Needs Node alone; axe-core is injected as text.
import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

const plan = JSON.parse(readFileSync(process.argv[2], "utf8"));
const browser = spawn(
  "chromium",
  [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--force-color-profile=srgb", "--remote-debugging-pipe",
    `--user-data-dir=${plan.profile}`,
  ],
  { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"], env: { ...process.env, HOME: plan.home } },
);
const waiting = new Map();
const heard = [];
let listeners = [];
let rest = "";
let last = 0;
browser.stdio[4].on("data", (bytes) => {
  const parts = (rest + bytes).split("\0");
  rest = parts.pop();
  for (const part of parts) {
    const message = JSON.parse(part);
    if (message.id) {
      const { done, fail } = waiting.get(message.id);
      message.error ? fail(new Error(JSON.stringify(message.error))) : done(message.result);
    } else {
      heard.push(message);
      listeners = listeners.filter((listener) => !listener(message));
    }
  }
});
browser.on("exit", (code) => waiting.forEach(({ fail }) => fail(new Error(`chromium ended with ${code}`))));
let session;
const call = (method, params = {}, sessionId = session) =>
  new Promise((done, fail) => {
    last += 1;
    waiting.set(last, { done, fail });
    browser.stdio[3].write(JSON.stringify({ id: last, method, params, sessionId }) + "\0");
  });
const event = (method, fits = () => true) =>
  new Promise((done) => listeners.push((message) => message.method === method && fits(message.params) && (done(message.params), true)));
const evaluate = async (expression) => {
  const { result, exceptionDetails } = await call("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
  if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
  return result.value;
};
const until = async (expression) => {
  while (!(await evaluate(expression))) await new Promise((done) => setTimeout(done, 50));
};
// What the browser has to say since `from`: its console, errors, and what a page's policy stopped.
const said = (from) =>
  heard.slice(from).flatMap(({ method, params }) => {
    if (method === "Log.entryAdded") return [`${params.entry.source}: ${params.entry.text}`];
    if (method === "Runtime.consoleAPICalled") return [`console: ${JSON.stringify(params.args.map((each) => each.value))}`];
    if (method === "Runtime.exceptionThrown") return [`exception: ${params.exceptionDetails.text}`];
    return [];
  });
const go = async (path) => {
  const answered = event("Network.responseReceived", (params) => params.type === "Document");
  const loaded = event("Page.loadEventFired");
  const { errorText } = await call("Page.navigate", { url: plan.origin + path });
  if (errorText) throw new Error(`${path}: ${errorText}`);
  const { response } = await answered;
  await loaded;
  return response;
};
const picture = async (name, height = 800) => {
  await call("Emulation.setDeviceMetricsOverride", { width: 1200, height, deviceScaleFactor: 1, mobile: false });
  const { data } = await call("Page.captureScreenshot", { format: "png" });
  writeFileSync(`${plan.pictures}/${name}.png`, Buffer.from(data, "base64"));
};
// axe-core is kept out of the page's own world only by name; the pages have no other script it could meet.
const judged = async () => {
  if (!(await evaluate("typeof axe === 'object'"))) await evaluate(readFileSync(plan.axe, "utf8") + "; true");
  const found = await evaluate(
    "axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }).then((result) => " +
      "JSON.stringify({ passes: result.passes.length, violations: result.violations.map((each) => [each.id, each.nodes.map((node) => node.html.slice(0, 200))]) }))",
  );
  return JSON.parse(found);
};

const result = { pages: {} };
try {
  const { targetId } = await call("Target.createTarget", { url: "about:blank" });
  session = (await call("Target.attachToTarget", { targetId, flatten: true })).sessionId;
  for (const domain of ["Page", "Runtime", "Log", "Network"]) await call(`${domain}.enable`);
  await call("Emulation.setDeviceMetricsOverride", { width: 1200, height: 800, deviceScaleFactor: 1, mobile: false });
  for (const { name, path, height } of plan.pages) {
    const from = heard.length;
    const response = await go(path);
    const seen = { status: response.status, tls: response.securityDetails?.protocol, title: await evaluate("document.title") };
    await picture(name, height);
    seen.light = await judged();
    await call("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: "dark" }] });
    if (plan.dark.includes(name)) await picture(`${name}-dark`, height);
    seen.dark = await judged();
    await call("Emulation.setEmulatedMedia", { features: [] });
    await call("Emulation.setDeviceMetricsOverride", { width: 320, height: 800, deviceScaleFactor: 1, mobile: false });
    seen.sideways = await evaluate("Math.max(0, document.documentElement.scrollWidth - document.documentElement.clientWidth)");
    await call("Emulation.setDeviceMetricsOverride", { width: 1200, height: 800, deviceScaleFactor: 1, mobile: false });
    seen.said = said(from);
    result.pages[name] = seen;
  }
  result.refused = await refused();
  result.live = await live();
  result.token = await byToken();
  result.bundle = await bundle();
  result.plain = await withoutScript();
} catch (error) {
  result.error = String(error.stack ?? error);
} finally {
  await call("Browser.close", {}, undefined).catch(() => {});
}
console.log(JSON.stringify(result));

// The overview is read again when somebody says so, and not while it is paused.
async function live() {
  const from = heard.length;
  await go("/console");
  const button = "document.querySelector('#live-control button')";
  const before = await evaluate(`window.before = document.getElementById('live'); ${button}.textContent`);
  await evaluate(`${button}.click()`);
  const paused = await evaluate(`${button}.textContent`);
  await evaluate(`${button}.click()`);
  await until("document.getElementById('live') !== window.before");
  return { before, paused, said: said(from) };
}

// Typed and sent as people do; where the browser then is.
async function byToken() {
  const from = heard.length;
  await go("/console/search");
  const loaded = event("Page.loadEventFired");
  await evaluate(`document.getElementById('token').value = ${JSON.stringify(plan.token)}; document.querySelector('form.ask').requestSubmit()`);
  await loaded;
  const { entries } = await call("Page.getNavigationHistory");
  const page = await evaluate("document.documentElement.outerHTML");
  return { addresses: entries.map(({ url }) => url), shown: page.includes("pan.tokenize"), holds: page.includes(plan.token), said: said(from) };
}

// The form is filled in already: a file comes.
async function bundle() {
  const from = heard.length;
  await call("Browser.setDownloadBehavior", { behavior: "allow", downloadPath: plan.downloads, eventsEnabled: true }, undefined);
  await go("/console/evidence");
  const began = event("Browser.downloadWillBegin");
  const ended = event("Browser.downloadProgress", ({ state }) => state !== "inProgress");
  await evaluate("document.querySelector('form.ask').requestSubmit()");
  const { suggestedFilename } = await began;
  const { state, receivedBytes } = await ended;
  return { name: suggestedFilename, state, bytes: receivedBytes, said: said(from) };
}

// That the browser would say so: a style that is not the page's is stopped and told.
async function refused() {
  await go("/console/access");
  const from = heard.length;
  await evaluate("document.head.append(Object.assign(document.createElement('style'), { textContent: 'body { display: none }' })); true");
  await evaluate("try { document.body.innerHTML = '<b>x</b>' } catch (error) { } true");
  await evaluate("fetch('https://localhost:1/').catch(() => {}).then(() => true)");
  return said(from);
}

async function withoutScript() {
  await call("Emulation.setScriptExecutionDisabled", { value: true });
  await go("/console");
  const { root } = await call("DOM.getDocument");
  const { nodeId } = await call("DOM.querySelector", { nodeId: root.nodeId, selector: "#live-control" });
  const { outerHTML } = await call("DOM.getOuterHTML", { nodeId });
  return outerHTML;
}
