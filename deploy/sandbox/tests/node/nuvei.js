// Payments with Nuvei's official client for Node, as an orchestrator would write them. Prints one JSON line. Its address is fixed:
// what differs between the PSP itself and the proxy is HTTPS_PROXY alone.

const net = require("node:net");

const given = JSON.parse(process.argv[2]);

// Stands in for an entry in the DNS and for port 443: a tunnel to where the PSP really is, looked into by nobody.
function way(port) {
  const server = net.createServer((caller) => {
    caller.once("data", () => {
      const psp = net.connect(port, "127.0.0.1", () => {
        caller.write("HTTP/1.1 200 OK\r\n\r\n");
        caller.pipe(psp).pipe(caller);
      });
      psp.on("error", () => caller.destroy());
      caller.on("error", () => psp.destroy());
    });
  });
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(`http://127.0.0.1:${server.address().port}`)));
}

async function main() {
  process.env.HTTPS_PROXY = given.proxy || (await way(given.port));
  for (const name of ["https_proxy", "NO_PROXY", "no_proxy"]) delete process.env[name];
  const safecharge = require("safecharge");
  safecharge.initiate("1001", "2002", given.secret, "test");

  const call = (name, data) =>
    new Promise((resolve) => safecharge[name](data, (error, body) => resolve(error ? { error } : body)));
  const pay = (number, amount = "10.99") =>
    call("payment", {
      sessionToken: "s-1",
      currency: "EUR",
      amount,
      userTokenId: "u-1",
      clientUniqueId: "order-7",
      paymentOption: {
        card: { cardNumber: number, cardHolderName: "J. Smith & Sons", expirationMonth: "12", expirationYear: "2034", CVV: "737" },
      },
      deviceDetails: { ipAddress: "127.0.0.1" },
    });
  const told = (body) => {
    if (body.error) {
      return { status: body.error.status, code: body.error.errCode || body.error.errorCode, reason: body.error.reason };
    }
    const card = body.paymentOption && body.paymentOption.card;
    return [body.status, body.transactionStatus, body.clientUniqueId, body.gwErrorReason, card && card.ccCardNumber];
  };

  const paid = await pay(given.number);
  const refund = await call("refundTransaction", {
    currency: "EUR",
    amount: "0.99",
    relatedTransactionId: paid.transactionId,
    authCode: "",
    comment: "a bit back",
    clientUniqueId: "order-7",
  });
  const all = {
    paid: told(paid),
    refund: told(refund),
    declined: told(await pay(given.declined)),
    invalid: told(await pay(given.invalid, "ten")),
    refused: [],
  };
  for (const number of given.refused) {
    all.refused.push(told(await pay(number)));
  }
  return all;
}

main().then(
  (all) => process.stdout.write(JSON.stringify(all) + "\n", () => process.exit(0)),
  (error) => {
    console.error(error);
    process.exit(1);
  }
);
