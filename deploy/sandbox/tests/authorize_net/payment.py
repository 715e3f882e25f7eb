"""Payments with Authorize.Net's official client for Python, which speaks XML, as an orchestrator would write them. Prints one JSON line.

The number may be a card number (straight to the sandbox PSP) or sixteen digits that stand for one (through the proxy): the code is
the same, and the client checks the length.
"""

import argparse
import json

from authorizenet import apicontractsv1 as contracts
from authorizenet.apicontrollers import createTransactionController


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--login", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--number", required=True)
    parser.add_argument("--last4", required=True)
    parser.add_argument("--declined", required=True)
    parser.add_argument("--refused", action="append", default=[], help="a number or token that is not taken")
    given = parser.parse_args()

    def send(kind: str, amount: str, number: str, expires: str, code: str | None = None, of: str | None = None):
        authentication = contracts.merchantAuthenticationType(name=given.login, transactionKey=given.key)
        card = contracts.creditCardType(cardNumber=number, expirationDate=expires)
        if code:
            card.cardCode = code
        transaction = contracts.transactionRequestType(transactionType=kind, amount=amount)
        transaction.payment = contracts.paymentType(creditCard=card)
        transaction.order = contracts.orderType(invoiceNumber="order-7")
        if of:
            transaction.refTransId = of
        whole = contracts.createTransactionRequest(
            merchantAuthentication=authentication, refId="r-7 & more", transactionRequest=transaction
        )
        controller = createTransactionController(whole)
        controller.setenvironment(given.url)
        controller.execute()
        return controller.getresponse()

    def sale(number: str):
        return send("authCaptureTransaction", "10.99", number, "2034-12", "737")

    def told(answer):
        if answer is None:
            return None
        result = str(answer.messages.resultCode)
        if not hasattr(answer, "transactionResponse"):
            return [result, str(answer.messages.message[0]["code"])]
        transaction = answer.transactionResponse
        if hasattr(transaction, "errors"):
            text = str(transaction.errors.error[0].errorText)
        else:
            text = str(transaction.messages.message[0].description)
        return [result, str(answer.refId), str(transaction.responseCode), str(transaction.accountNumber), text]

    paid = sale(given.number)
    refund = send("refundTransaction", "0.99", given.last4, "XXXX", of=str(paid.transactionResponse.transId))
    print(
        json.dumps(
            {
                "paid": told(paid),
                "refund": told(refund),
                "declined": told(sale(given.declined)),
                # On an HTTP error the client has no response.
                "refused": [told(sale(number)) for number in given.refused],
            }
        )
    )


if __name__ == "__main__":
    main()
