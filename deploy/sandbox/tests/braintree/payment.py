"""Sales with the official Braintree client, which speaks XML, as an orchestrator would write them. Prints one JSON line.

The number may be a card number (straight to the sandbox PSP) or a token (through the proxy): the code is the same.
"""

import argparse
import json
import os
import socket

import braintree
from braintree.util.http import Http


def resolve(name: str, address: str) -> None:
    ask = socket.getaddrinfo
    socket.getaddrinfo = lambda host, *rest, **more: ask(address if host == name else host, *rest, **more)


class Here(braintree.Environment):
    """Its own takes TLS for granted on port 443 only."""

    protocol = "https://"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", required=True)
    parser.add_argument("--ca", required=True)
    parser.add_argument("--cert", help="client certificate, PEM")
    parser.add_argument("--key", help="its key, PEM")
    parser.add_argument("--public-key", required=True)
    parser.add_argument("--private-key", required=True)
    parser.add_argument("--number", required=True)
    parser.add_argument("--held", required=True, help="for a second sale: a token's code serves one")
    parser.add_argument("--declined", required=True)
    parser.add_argument("--echoed", required=True)
    parser.add_argument("--refused", action="append", default=[], help="a number or token that is not taken")
    parser.add_argument("--resolve", metavar="HOST=ADDRESS", help="stands in for an entry in the DNS")
    given = parser.parse_args()
    os.environ["NO_PROXY"] = "*"
    if given.resolve:
        resolve(*given.resolve.split("="))

    class WithCertificate(Http):
        def _get_session(self):
            session = super()._get_session()
            if given.cert:
                session.cert = (given.cert, given.key)
            return session

    gateway = braintree.BraintreeGateway(
        braintree.Configuration(
            environment=Here("here", given.host, given.port, "", True, given.ca),
            merchant_id="acme",
            public_key=given.public_key,
            private_key=given.private_key,
            http_strategy=WithCertificate,
        )
    )

    def sale(number: str, settle: bool):
        return gateway.transaction.sale(
            {
                "amount": "10.99",
                "order_id": "order <7> & more",
                "credit_card": {"number": number, "cvv": "737", "expiration_date": "12/2034"},
                "options": {"submit_for_settlement": settle},
            }
        )

    approved = sale(given.number, True).transaction
    found = gateway.transaction.find(approved.id)
    held = sale(given.held, False).transaction
    declined = sale(given.declined, True)
    echoed = sale(given.echoed, True).transaction
    refused = []
    for number in given.refused:
        try:
            sale(number, True)
        except Exception as error:  # noqa: BLE001 - whichever it is, it must be one
            refused.append(type(error).__name__)
    print(
        json.dumps(
            {
                "approved": [approved.status, str(approved.amount), approved.credit_card_details.last_4],
                "expires": approved.credit_card_details.expiration_date,
                "found": [found.id == approved.id, found.status, found.order_id],
                "held": held.status,
                "declined": [
                    declined.is_success,
                    declined.message,
                    declined.transaction.status,
                    declined.transaction.processor_response_code,
                ],
                "echoed": str(echoed.echo),
                "refused": refused,
            }
        )
    )


if __name__ == "__main__":
    main()
