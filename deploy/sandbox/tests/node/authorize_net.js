// Payments with Authorize.Net's official client for Node, as an orchestrator would write them. Prints one JSON line.
// What differs between the PSP itself and the proxy is in `given`: the address, or the proxy.

const { APIContracts: contracts, APIControllers: controllers } = require("authorizenet");
const { config } = require("authorizenet/lib/config");

const given = JSON.parse(process.argv[2]);
if (given.proxy) {
  config.proxy = { setProxy: true, proxyUrl: given.proxy };
}
// On an HTTP error the client calls nobody back.
const PATIENCE_MS = 60_000;

function transaction(kind, amount, card, more = {}) {
  const authentication = new contracts.MerchantAuthenticationType();
  authentication.setName(given.login);
  authentication.setTransactionKey(given.key);
  const creditCard = new contracts.CreditCardType();
  creditCard.setCardNumber(card.number);
  creditCard.setExpirationDate(card.expires);
  if (card.code) creditCard.setCardCode(card.code);
  const payment = new contracts.PaymentType();
  payment.setCreditCard(creditCard);
  const order = new contracts.OrderType();
  order.setInvoiceNumber("order-7");
  const request = new contracts.TransactionRequestType();
  request.setTransactionType(kind);
  request.setAmount(amount);
  request.setPayment(payment);
  if (more.of) request.setRefTransId(more.of);
  request.setOrder(order);
  const whole = new contracts.CreateTransactionRequest();
  whole.setMerchantAuthentication(authentication);
  whole.setRefId("r-7 & more");
  whole.setTransactionRequest(request);
  return whole;
}

function send(whole) {
  const controller = new controllers.CreateTransactionController(whole.getJSON());
  controller.setEnvironment(given.url);
  const answered = new Promise((resolve) => controller.execute(() => resolve(controller.getResponse())));
  const failed = new Promise((resolve, reject) => {
    const began = Date.now();
    const look = setInterval(() => {
      const error = controller.getError();
      if (error) {
        clearInterval(look);
        resolve({ failed: [error.response && error.response.status, error.response && error.response.data.errorCode] });
      } else if (Date.now() - began > PATIENCE_MS) {
        clearInterval(look);
        reject(new Error("neither an answer nor an error"));
      }
    }, 20);
    answered.then(() => clearInterval(look));
  });
  return Promise.race([answered, failed]);
}

const sale = (number, amount = "10.99") =>
  send(transaction("authCaptureTransaction", amount, { number, expires: "2034-12", code: "737" }));

function told(answer) {
  if (answer.failed) return answer.failed;
  const response = new contracts.CreateTransactionResponse(answer);
  const transaction = response.getTransactionResponse();
  const result = response.getMessages().getResultCode();
  if (!transaction) return [result, response.getMessages().getMessage()[0].getCode()];
  const error = transaction.getErrors() && transaction.getErrors().getError()[0];
  return [
    result,
    response.getRefId(),
    transaction.getResponseCode(),
    transaction.getAccountNumber(),
    error ? error.getErrorText() : transaction.getMessages().getMessage()[0].getDescription(),
  ];
}

async function main() {
  const paid = await sale(given.number);
  const of = paid.transactionResponse.transId;
  const refund = transaction("refundTransaction", "0.99", { number: given.last4, expires: "XXXX" }, { of });
  const all = {
    paid: told(paid),
    refund: told(await send(refund)),
    declined: told(await sale(given.declined)),
    invalid: told(await sale(given.invalid, "ten")),
    refused: [],
  };
  for (const number of given.refused) {
    all.refused.push(told(await sale(number)));
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
