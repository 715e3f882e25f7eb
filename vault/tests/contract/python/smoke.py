"""A merchant's life through the client that openapi-python-client makes of vault/openapi.json: package `vault_client`.

python smoke.py URL PKI-FOLDER TENANT, with the package on PYTHONPATH. Prints what it saw as JSON.
"""

import json
import ssl
import sys

from vault_client import Client
from vault_client.api.cards import create_card, create_cards, erase_card, list_cards, lookup_cards, show_card
from vault_client.api.tenants import put_tenant, show_tenant
from vault_client.models import CardLookup, NewCard, NewCards, Problem, Tenant
from vault_client.types import UNSET, Unset

url, pki, tenant = sys.argv[1:]


def presenting(workload: str) -> Client:
    """A client with a workload's certificate."""
    context = ssl.create_default_context(cafile=f"{pki}/workload-ca.pem")
    context.load_cert_chain(f"{pki}/{workload}.pem", f"{pki}/{workload}.key")
    return Client(base_url=url, verify_ssl=context, timeout=None)


platform, checkout, orchestrator = map(presenting, ("platform", "checkout", "orchestrator"))


def taken(answer):
    """What a call that must succeed answered."""
    if isinstance(answer.parsed, Problem):
        raise SystemExit(f"{answer.status_code}: {answer.parsed.detail}")
    return answer.parsed


def or_none(value):
    return None if isinstance(value, Unset) else value


def refusal(answer):
    """The problem of a call that must be refused."""
    problem = answer.parsed
    assert isinstance(problem, Problem), problem
    return {"status": int(answer.status_code), "type": problem.type_, "pointer": or_none(problem.pointer)}


def card(number: str) -> NewCard:
    return NewCard(number=number, exp_month=12, exp_year=2034, holder="JANE Q CARDHOLDER")


def create(number: str, key: str):
    return create_card.sync_detailed(tenant, client=checkout, body=card(number), idempotency_key=key)


put = put_tenant.sync_detailed(tenant, client=platform, body=Tenant(groups=["merchants"]))
shown = taken(show_tenant.sync_detailed(tenant, client=platform))

made = taken(create("4242424242424242", "one"))
again = taken(create("4242424242424242", "one"))
wrong = create("4242424242424243", "two")
two = NewCards(cards=[card("5555555555554444"), card("4242424242424243")])
batch = taken(create_cards.sync_detailed(tenant, client=checkout, body=two))

facts = taken(show_card.sync_detailed(tenant, made.token, client=orchestrator))
unknown = "tok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv"
asked = CardLookup(tokens=[made.token, unknown])
found = taken(lookup_cards.sync_detailed(tenant, client=orchestrator, body=asked))

listed, cursor = [], None
while True:
    page = taken(list_cards.sync_detailed(tenant, client=orchestrator, limit=1, cursor=cursor or UNSET))
    listed += [listed_card.last4 for listed_card in page.cards]
    cursor = or_none(page.next_cursor)
    if not cursor:
        break

erased = erase_card.sync_detailed(tenant, made.token, client=orchestrator)
gone = show_card.sync_detailed(tenant, made.token, client=orchestrator)


def part(result, name):
    """A field of the card or problem of one item; none if it has neither."""
    of = or_none(result.card) if name == "last4" else or_none(result.problem)
    return or_none(getattr(of, name)) if of else None


json.dump(
    {
        "onboarded": int(put.status_code),
        "groups": shown.groups,
        "same": made.token == again.token,
        "facts": {"brand": facts.brand, "last4": facts.last4, "exp_year": facts.exp_year},
        "invalid": refusal(wrong),
        "batch": [[result.status, part(result, "pointer")] for result in batch.results],
        "found": [[result.status, part(result, "last4")] for result in found.results],
        "listed": listed,
        "erased": int(erased.status_code),
        "gone": refusal(gone),
    },
    sys.stdout,
)
