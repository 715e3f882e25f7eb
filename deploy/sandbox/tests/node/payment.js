// A payment with the official Stripe client for Node, as an orchestrator would write it. Prints one JSON line.
// Only the agent knows of a proxy; host and port are the PSP's own.

const { readFileSync } = require("node:fs");
const { HttpsProxyAgent } = require("https-proxy-agent");
const Stripe = require("stripe");

const given = JSON.parse(process.argv[2]);
const read = (path) => path && readFileSync(path);
// With a certificate the proxy is the forward listener itself; without one it is a relay on loopback. The agent's `ca` is
// for the proxy alone: inside the tunnel Node trusts NODE_EXTRA_CA_CERTS.
const agent = new HttpsProxyAgent(given.proxy, {
  cert: read(given.cert),
  key: read(given.key),
  ca: read(given.ca),
  keepAlive: true,
});
const stripe = new Stripe("strongroom", {
  host: given.host,
  port: given.port,
  protocol: "https",
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
  const unknown = await method(given.unknown).then(() => "taken", failure);
  // A proxy asked for another address: what it refuses with must look like an error to the client.
  const elsewhere = new Stripe("strongroom", {
    host: "evil.example",
    protocol: "https",
    httpAgent: agent,
    maxNetworkRetries: 0,
  });
  const refused = await elsewhere.balance.retrieve().then(() => "answered", failure);
  agent.destroy();
  return { last4: created.card.last4, paid: intent.status, refund: refund.status, declined, unknown, refused };
}

main().then(
  (told) => console.log(JSON.stringify(told)),
  (error) => {
    console.error(error);
    process.exit(1);
  }
);
