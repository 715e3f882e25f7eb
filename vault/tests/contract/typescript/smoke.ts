// A merchant's life through the client that openapi-typescript makes of vault/openapi.json. Prints what it saw as JSON.
//
// node built/smoke.js URL PKI-FOLDER TENANT

import { readFileSync } from "node:fs";
import { Agent, request as send } from "node:https";
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Problem = components["schemas"]["Problem"];

const [url, pki, tenant] = process.argv.slice(2);
if (url === undefined || pki === undefined || tenant === undefined) {
  throw new Error("usage: smoke.js URL PKI-FOLDER TENANT");
}

/** `fetch` that presents a workload's certificate. */
function presenting(workload: string): (request: Request) => Promise<Response> {
  const agent = new Agent({
    ca: readFileSync(`${pki}/workload-ca.pem`),
    cert: readFileSync(`${pki}/${workload}.pem`),
    key: readFileSync(`${pki}/${workload}.key`),
  });
  return async (request) => {
    const body = Buffer.from(await request.arrayBuffer());
    const headers = Object.fromEntries(request.headers);
    return new Promise((resolve, reject) => {
      const outgoing = send(request.url, { agent, method: request.method, headers }, (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
        incoming.on("error", reject);
        incoming.on("end", () => {
          const status = incoming.statusCode ?? 0;
          const type = incoming.headers["content-type"] ?? "";
          const answer = status === 204 ? null : Buffer.concat(chunks);
          resolve(new Response(answer, { status, headers: { "content-type": type } }));
        });
      });
      outgoing.on("error", reject);
      outgoing.end(body);
    });
  };
}

const as = (workload: string) => createClient<paths>({ baseUrl: url, fetch: presenting(workload) });
const [platform, checkout, orchestrator] = [as("platform"), as("checkout"), as("orchestrator")];

/** What a call that must succeed answered. */
function taken<T>(answer: { data?: T; error?: Problem; response: Response }): T {
  if (answer.data === undefined) {
    throw new Error(`${answer.response.status}: ${answer.error?.detail}`);
  }
  return answer.data;
}

/** The problem of a call that must be refused. */
function refusal(answer: { error?: Problem; response: Response }) {
  const { error, response } = answer;
  return { status: response.status, type: error?.type, pointer: error?.pointer ?? null };
}

const card = (number: string) => ({ number, exp_month: 12, exp_year: 2034, holder: "JANE Q CARDHOLDER" });
const ofTenant = { path: { tenant } };

const put = await platform.PUT("/v1/tenants/{tenant}", { params: ofTenant, body: { groups: ["merchants"] } });
const shown = taken(await platform.GET("/v1/tenants/{tenant}", { params: ofTenant }));

const create = (number: string, key: string) =>
  checkout.POST("/v1/tenants/{tenant}/cards", {
    params: { ...ofTenant, header: { "Idempotency-Key": key } },
    body: card(number),
  });
const made = taken(await create("4242424242424242", "one"));
const again = taken(await create("4242424242424242", "one"));
const wrong = await create("4242424242424243", "two");
const batch = taken(
  await checkout.POST("/v1/tenants/{tenant}/cards/batch", {
    params: ofTenant,
    body: { cards: [card("5555555555554444"), card("4242424242424243")] },
  }),
);

const ofCard = { path: { tenant, token: made.token } };
const facts = taken(await orchestrator.GET("/v1/tenants/{tenant}/cards/{token}", { params: ofCard }));
const unknown = "tok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv";
const found = taken(
  await orchestrator.POST("/v1/tenants/{tenant}/cards/lookup", {
    params: ofTenant,
    body: { tokens: [made.token, unknown] },
  }),
);

const listed: string[] = [];
let cursor: string | null | undefined;
do {
  const query = { limit: 1, ...(cursor ? { cursor } : {}) };
  const page = taken(
    await orchestrator.GET("/v1/tenants/{tenant}/cards", { params: { ...ofTenant, query } }),
  );
  listed.push(...page.cards.map((listedCard) => listedCard.last4 ?? ""));
  cursor = page.next_cursor;
} while (cursor);

const erased = await orchestrator.DELETE("/v1/tenants/{tenant}/cards/{token}", { params: ofCard });
const gone = await orchestrator.GET("/v1/tenants/{tenant}/cards/{token}", { params: ofCard });

process.stdout.write(
  JSON.stringify({
    onboarded: put.response.status,
    groups: shown.groups,
    same: made.token === again.token,
    facts: { brand: facts.brand, last4: facts.last4, exp_year: facts.exp_year },
    invalid: refusal(wrong),
    batch: batch.results.map((result) => [result.status, result.problem?.pointer ?? null]),
    found: found.results.map((result) => [result.status, result.card?.last4 ?? null]),
    listed,
    erased: erased.response.status,
    gone: refusal(gone),
  }),
);
