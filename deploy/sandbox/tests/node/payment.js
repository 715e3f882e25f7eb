// A payment with the official Stripe client for Node, as an orchestrator would write it. Prints one JSON line.
// With a proxy only the agent knows of it, and host and port are the PSP's own; without one host and port are all that differs.

const { readFileSync } = require("node:fs");
const http = require("node:http");
const https = require("node:https");
const { HttpsProxyAgent } = require("https-proxy-agent");
const Stripe = require("stripe");

const given = JSON.parse(process.argv[2]);
const read = (path) => path && readFileSync(path);
const certificate = { cert: read(given.cert), key: read(given.key), ca: read(given.ca) };
// Stands in for an entry in the DNS.
const lookup = (_, options, done) =>
  options.all ? done(null, [{ address: "127.0.0.1", family: 4 }]) : done(null, "127.0.0.1", 4);
function agentFor() {
  if (given.proxy) {
    // With a certificate the proxy is the forward listener itself; without one it is a relay on loopback. The agent's `ca` is
    // for the proxy alone: inside the tunnel Node trusts NODE_EXTRA_CA_CERTS.
    return new HttpsProxyAgent(given.proxy, { ...certificate, keepAlive: true });
  }
  const plain = given.protocol === "http";
  return plain ? new http.Agent({ keepAlive: true }) : new https.Agent({ ...certificate, lookup, keepAlive: true });
}
const agent = agentFor();
const stripe = new Stripe(given.apiKey || "strongroom", {
  host: given.host,
  port: given.port,
  protocol: given.protocol || "https",
  httpAgent: agent,
  maxNetworkRetries: 0,
});

const method = (number) =>
  stripe.paymentMethods.create({ type: "card", card: { number, exp_month: 12, exp_year: 2034, cvc: "000" } });
const failure = (error) => ({ type: error.type, code: error.code, status: error.statusCode });

async function main() {
  const created = await method(given.number);
  const intent = await stripe.paymentIntents.create({
    amount: 1099,
    currency: "eur",
    payment_method: created.id,
    confirm: true,
  });
  const refund = await stripe.refunds.create({ payment_intent: intent.id, amount: 99 });
  const declined = await method(given.declined)
    .then((other) =>
      stripe.paymentIntents.create({ amount: 1, currency: "eur", payment_method: other.id, confirm: true })
    )
    .then(() => "paid", failure);
  const told = { last4: created.card.last4, paid: intent.status, refund: refund.status, declined };
  if (given.unknown) {
    told.unknown = await method(given.unknown).then(() => "taken", failure);
  }
  if (!given.proxy) {
    return told;
  }
  // A proxy asked for another address: what it refuses with must look like an error to the client.
  const elsewhere = new Stripe("strongroom", {
    host: "evil.example",
    protocol: "https",
    httpAgent: agent,
    maxNetworkRetries: 0,
  });
  told.refused = await elsewhere.balance.retrieve().then(() => "answered", failure);
  return told;
}

main().then(
  (told) => {
    agent.destroy();
    console.log(JSON.stringify(told));
  },
  (error) => {
    console.error(error);
    process.exit(1);
  }
);
