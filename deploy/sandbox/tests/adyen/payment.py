"""Payments with Adyen's official client, as an orchestrator would write them. Prints one JSON line.

The number may be a card number (straight to the sandbox PSP) or a token (through the proxy): the code is the same, and so is
the base address where the environment names a proxy.
"""

import argparse
import json
import uuid

import Adyen
from Adyen.exceptions import AdyenError


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--api-key", required=True)
    parser.add_argument("--number", required=True)
    parser.add_argument("--declined", required=True)
    parser.add_argument("--invalid", required=True, help="for a request that is none: a token's code serves one")
    parser.add_argument("--refused", action="append", default=[], help="a number or token that is not taken")
    given = parser.parse_args()

    adyen = Adyen.Adyen(xapikey=given.api_key, platform="test")
    adyen.checkout.payments_api.baseUrl = given.url
    adyen.checkout.modifications_api.baseUrl = given.url

    def pay(number: str, key: str | None = None, **more):
        request = {
            "amount": {"currency": "EUR", "value": 1099},
            "reference": "order-7",
            "merchantAccount": "AcmeECOM",
            "paymentMethod": {
                "type": "scheme",
                "number": number,
                "cvc": "737",
                "expiryMonth": "12",
                "expiryYear": "2034",
                "holderName": "J. Smith & Sons",
            },
            "returnUrl": "https://shop.example/return",
        }
        return adyen.checkout.payments_api.payments(request | more, idempotency_key=key).message

    def failure(number: str, **more):
        try:
            return pay(number, **more)["resultCode"]
        except AdyenError as error:
            kind = error.message.get("errorType") if isinstance(error.message, dict) else None
            return {
                "error": type(error).__name__,
                "status": error.status_code,
                "code": error.error_code,
                "type": kind,
            }

    paid = pay(given.number, str(uuid.uuid4()))
    refund = adyen.checkout.modifications_api.refund_captured_payment(
        {"merchantAccount": "AcmeECOM", "amount": {"currency": "EUR", "value": 99}}, paid["pspReference"]
    ).message
    declined = pay(given.declined)
    print(
        json.dumps(
            {
                "paid": [
                    paid["resultCode"],
                    paid["merchantReference"],
                    paid["amount"]["value"],
                    paid["additionalData"]["cardSummary"],
                ],
                "expires": paid["additionalData"]["expiryDate"],
                "refund": [refund["status"], refund["amount"]["value"]],
                "declined": [declined["resultCode"], declined["refusalReason"], declined["refusalReasonCode"]],
                "invalid": failure(given.invalid, amount=None),
                "refused": [failure(number) for number in given.refused],
            }
        )
    )


if __name__ == "__main__":
    main()
