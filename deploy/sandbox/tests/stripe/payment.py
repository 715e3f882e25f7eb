"""A payment with the official Stripe client, as an orchestrator would write it. Prints one JSON line.

The number may be a card number (straight to the sandbox PSP) or a token (through the proxy): the code is the same.
"""

import argparse
import json
import socket
import ssl

import requests
import stripe


def resolve(name: str, address: str) -> None:
    ask = socket.getaddrinfo
    socket.getaddrinfo = lambda host, *rest, **more: ask(address if host == name else host, *rest, **more)


class ThroughProxy(requests.adapters.HTTPAdapter):
    """Presents a client certificate to the proxy: `requests` has no setting for it, urllib3 has."""

    def __init__(self, ca: str, cert: str, key: str):
        self.context = ssl.create_default_context(cafile=ca)
        self.context.load_cert_chain(cert, key)
        super().__init__()

    def proxy_manager_for(self, proxy, **more):
        return super().proxy_manager_for(proxy, proxy_ssl_context=self.context, **more)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--ca", required=True)
    parser.add_argument("--cert", help="client certificate, PEM")
    parser.add_argument("--key", help="its key, PEM")
    parser.add_argument("--proxy", help="an https proxy that wants the client certificate; the ca file is for inside")
    parser.add_argument("--proxy-ca", help="signs the proxy")
    parser.add_argument("--environment", action="store_true", help="take HTTPS_PROXY from the environment")
    parser.add_argument("--api-key", required=True)
    parser.add_argument("--number", required=True)
    parser.add_argument("--cvc", help="absent where the token carries it")
    parser.add_argument("--declined", required=True)
    parser.add_argument("--refused", action="append", default=[], help="a number or token that is not taken")
    parser.add_argument("--resolve", metavar="HOST=ADDRESS", help="stands in for an entry in the DNS")
    given = parser.parse_args()
    if given.resolve:
        resolve(*given.resolve.split("="))

    session = requests.Session()
    session.trust_env = given.environment
    if given.proxy:
        session.mount("https://", ThroughProxy(given.proxy_ca, given.cert, given.key))
        session.proxies = {"https": given.proxy}
    elif given.cert:
        session.cert = (given.cert, given.key)
    stripe.ca_bundle_path = given.ca
    client = stripe.StripeClient(
        given.api_key,
        base_addresses={"api": given.url},
        http_client=stripe.RequestsClient(session=session),
        max_network_retries=2,
    )

    def method(number: str):
        card = {"number": number, "exp_month": 12, "exp_year": 2034}
        if given.cvc:
            card["cvc"] = given.cvc
        return client.v1.payment_methods.create({"type": "card", "card": card})

    created = method(given.number)
    shown = client.v1.payment_methods.retrieve(created.id)
    intent = client.v1.payment_intents.create(
        {"amount": 1099, "currency": "eur", "payment_method": created.id, "metadata": {"order": "7"}}
    )
    confirmed = client.v1.payment_intents.confirm(intent.id)
    retrieved = client.v1.payment_intents.retrieve(intent.id)
    refund = client.v1.refunds.create({"payment_intent": intent.id, "amount": 99})

    held = client.v1.payment_intents.create(
        {
            "amount": 500,
            "currency": "eur",
            "capture_method": "manual",
            "confirm": True,
            "payment_method": created.id,
        }
    )
    captured = client.v1.payment_intents.capture(held.id, {"amount_to_capture": 400})
    canceled = client.v1.payment_intents.create({"amount": 1, "currency": "eur"})
    canceled = client.v1.payment_intents.cancel(canceled.id)

    declined = {}
    try:
        client.v1.payment_intents.create(
            {
                "amount": 1099,
                "currency": "eur",
                "payment_method": method(given.declined).id,
                "confirm": True,
            }
        )
    except stripe.CardError as error:
        declined = {"code": error.code, "decline_code": error.error.decline_code, "status": error.http_status}

    refused = []
    for number in given.refused:
        try:
            method(number)
        except stripe.StripeError as error:
            refused.append({"error": type(error).__name__, "status": error.http_status, "code": error.code})

    print(
        json.dumps(
            {
                "method": created.id,
                "last4": created.card.last4,
                "same": shown.card.fingerprint == created.card.fingerprint,
                "before": intent.status,
                "confirmed": confirmed.status,
                "retrieved": retrieved.status,
                "order": retrieved.metadata["order"],
                "refund": refund.status,
                "refunded": refund.amount,
                "held": held.status,
                "captured": captured.amount_received,
                "canceled": canceled.status,
                "declined": declined,
                "refused": refused,
            }
        )
    )


if __name__ == "__main__":
    main()
