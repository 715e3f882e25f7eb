// Payments with CyberSource's official client for Node, which signs its bodies, as an orchestrator would write them. Prints one
// JSON line. What differs between the PSP itself and the proxy is in `given.config`.

const dns = require("node:dns");
const cybersource = require("cybersource-rest-client");

const given = JSON.parse(process.argv[2]);
if (given.resolve) {
  // Stands in for an entry in the DNS.
  const ask = dns.lookup;
  dns.lookup = (host, ...rest) => ask(host === given.resolve ? "127.0.0.1" : host, ...rest);
}
const config = { merchantID: "acme", jwtKeyType: "SHARED_SECRET", logConfiguration: { enableLog: false }, ...given.config };

const request = (number, amount = "10.99") => ({
  clientReferenceInformation: { code: "order-7" },
  paymentInformation: { card: { number, securityCode: "737", expirationMonth: "12", expirationYear: "2034" } },
  orderInformation: {
    amountDetails: { totalAmount: amount, currency: "USD" },
    billTo: { firstName: "Jané", lastName: "Doe & Sons", country: "US" },
  },
});

const pay = (body, changed) =>
  new Promise((resolve) => {
    const api = new cybersource.PaymentsApi({ ...config, ...changed });
    api.createPayment(body, (error, data) => {
      if (error) {
        const told = error.response && error.response.text ? JSON.parse(error.response.text) : { message: String(error) };
        return resolve({
          status: error.status,
          reason: told.reason || told.errorCode || (told.response && told.response.rmsg) || told.message,
        });
      }
      const amount = data.orderInformation.amountDetails.authorizedAmount;
      const refused = data.errorInformation && data.errorInformation.reason;
      resolve([data.status, amount || null, data.clientReferenceInformation.code, refused || null]);
    });
  });

async function main() {
  const told = {
    paid: await pay(request(given.number)),
    declined: await pay(request(given.declined)),
    invalid: await pay(request(given.invalid, "ten")),
    refused: [],
  };
  for (const number of given.refused) {
    told.refused.push(await pay(request(number)));
  }
  for (const changed of given.changed || []) {
    told.refused.push(await pay(request(given.invalid), changed));
  }
  return told;
}

main().then(
  (told) => process.stdout.write(JSON.stringify(told) + "\n", () => process.exit(0)),
  (error) => {
    console.error(error);
    process.exit(1);
  }
);
