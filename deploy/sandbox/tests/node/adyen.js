// Payments with Adyen's official client for Node, as an orchestrator would write them. Prints one JSON line.
// What differs between the PSP itself and the proxy is in `given`: the base address, or the proxy.

const { randomUUID } = require("node:crypto");
const { readFileSync } = require("node:fs");
const { CheckoutAPI, Client } = require("@adyen/api-library");

const given = JSON.parse(process.argv[2]);
const read = (path) => path && readFileSync(path);
const client = new Client({ apiKey: given.apiKey, environment: "TEST" });
const certificate = { cert: read(given.cert), key: read(given.key), ca: read(given.ca) };
if (given.proxy) {
  // Inside the tunnel Node trusts NODE_EXTRA_CA_CERTS; what is here is for the proxy alone.
  client.httpClient.proxy = { ...given.proxy, ...certificate };
} else {
  client.httpClient.agentOptions = { ...certificate };
  if (given.resolve) {
    // Stands in for an entry in the DNS.
    client.httpClient.agentOptions.lookup = (_, options, done) =>
      options.all ? done(null, [{ address: "127.0.0.1", family: 4 }]) : done(null, "127.0.0.1", 4);
  }
}
const { PaymentsApi: payments, ModificationsApi: modifications } = new CheckoutAPI(client);
payments.baseUrl = given.url;
modifications.baseUrl = given.url;

const request = (number) => ({
  amount: { currency: "EUR", value: 1099 },
  reference: "order-7",
  merchantAccount: "AcmeECOM",
  paymentMethod: { type: "scheme", number, cvc: "737", expiryMonth: "12", expiryYear: "2034", holderName: "J. Smith & Sons" },
  returnUrl: "https://shop.example/return",
});
const failure = (error) => ({
  error: error.name,
  status: error.statusCode,
  code: error.errorCode,
  type: error.apiError && error.apiError.errorType,
});

async function main() {
  const paid = await payments.payments(request(given.number), { idempotencyKey: randomUUID() });
  const refund = await modifications.refundCapturedPayment(paid.pspReference, {
    merchantAccount: "AcmeECOM",
    amount: { currency: "EUR", value: 99 },
  });
  const declined = await payments.payments(request(given.declined));
  const invalid = await payments.payments({ ...request(given.invalid), amount: undefined }).then(() => "paid", failure);
  const refused = [];
  for (const number of given.refused) {
    refused.push(await payments.payments(request(number)).then(() => "paid", failure));
  }
  return {
    paid: [paid.resultCode, paid.merchantReference, paid.amount.value, paid.additionalData.cardSummary],
    expires: paid.additionalData.expiryDate,
    refund: [refund.status, refund.amount.value],
    declined: [declined.resultCode, declined.refusalReason, declined.refusalReasonCode],
    invalid,
    refused,
  };
}

main().then(
  (told) => console.log(JSON.stringify(told)),
  (error) => {
    console.error(error);
    process.exit(1);
  }
);
