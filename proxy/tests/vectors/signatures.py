"""Makes signatures.json: what the PSPs' own signers, and other independent ones, say of the same requests.

    pip install cybersource-rest-client-python==0.0.80 rapyd-sdk==1.0.12 botocore==1.44.8
    python signatures.py > signatures.json

Where a PSP publishes a signer, it is that one; dLocal and Fiserv publish a formula, written here with Python's hmac.
Every secret is a sentence of this file.
"""

import base64
import hashlib
import hmac
import json
import time
import types
import uuid

import CyberSource  # noqa: F401, first: its modules import each other in a circle
from authenticationsdk.http.HTTPSignatureToken import HTTPSignatureToken
from authenticationsdk.jwt.Token import JwtSignatureToken
from authenticationsdk.payloaddigest.PayLoadDigest import DigestAndPayload
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
import botocore.auth
import botocore.compat
import rapyd_sdk.hooks.hook as rapyd

SENTENCE = "a secret of the tests and of nothing else"
SECRET = base64.b64encode(SENTENCE.encode()).decode()
OTHER = base64.b64encode(b"a secret of the caller, which leaves nothing").decode()
NOW = 1618884475
DATE = "Tue, 20 Apr 2021 02:07:55 GMT"
HOST = "apitest.cybersource.com"
SENT = '{ "card": {"number":"4111111111111111", "note":"two  words"}, "amount":"7" }'
CAME = SENT.replace("4111111111111111", "tok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv")

time.time = lambda: NOW
uuid.uuid4 = lambda: uuid.UUID(int=7)


def cybersource_config(secret, key_id):
    return types.SimpleNamespace(
        merchant_keyid=key_id, merchant_secretkey=secret, merchant_id="merchant_one", portfolio_id="",
        use_metakey=False, request_host=HOST, run_environment=HOST, is_shared_secret_key_type=lambda: True,
    )


def cybersource_http(secret, key_id, method, body):
    token = HTTPSignatureToken()
    token.http_signature_token(cybersource_config(secret, key_id), DATE, method, "/pts/v2/payments", body)
    headers = {"host": HOST, "date": DATE, "v-c-merchant-id": "merchant_one", "signature": token.get_token()}
    if method == "POST":
        headers["digest"] = "SHA-256=" + DigestAndPayload().string_digest_generation(body).decode()
    return headers


def cybersource_jwt(secret, key_id, method, body):
    token = JwtSignatureToken()
    token.jwt_signature_token(cybersource_config(secret, key_id), DATE, method, "/pts/v2/payments", body)
    return {"host": HOST, "authorization": "Bearer " + token.get_token()}


def minified(text):
    return json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False)


def rapyd_headers(body):
    rapyd.generate_salt = lambda length=12: "saltsaltsalt"
    _, salt, timestamp, signature = rapyd.pre_call("access-one", SENTENCE, "post", "/v1/payments", json.loads(body))
    return {"access_key": "access-one", "salt": salt, "timestamp": str(timestamp), "signature": signature.decode()}


def mac(text):
    return hmac.new(SENTENCE.encode(), text.encode(), hashlib.sha256)


def dlocal_headers(body):
    login, date = "login-one", "2021-04-20T02:07:55.000Z"
    signature = mac(login + date + body).hexdigest()
    return {"x-login": login, "x-date": date, "authorization": "V2-HMAC-SHA256, Signature: " + signature}


def fiserv_headers(body):
    key, request, moment = "api-key-one", "request-one", str(NOW * 1000)
    signature = base64.b64encode(mac(key + request + moment + body).digest()).decode()
    return {"api-key": key, "client-request-id": request, "timestamp": moment, "message-signature": signature}


def aws_headers(method, target, body):
    import datetime
    moment = datetime.datetime(2021, 4, 20, 2, 7, 55, tzinfo=datetime.timezone.utc)
    botocore.auth.get_current_datetime = lambda remove_tzinfo=True: moment.replace(tzinfo=None) if remove_tzinfo else moment
    headers = {"content-type": "application/json", "x-amz-meta-note": "a   b",
               "x-amz-content-sha256": hashlib.sha256(body.encode()).hexdigest()}
    request = AWSRequest(method=method, url="https://api.psp.example" + target, data=body, headers=headers)
    SigV4Auth(Credentials("key-one", SENTENCE), "execute-api", "eu-west-1").add_auth(request)
    signed = {name.lower(): value for name, value in request.headers.items()}
    return signed | {"host": "api.psp.example"}


def one(name, method, target, came, sent, body_came, body_sent):
    return {"name": name, "method": method, "target": target, "came": came, "sent": sent,
            "body_came": body_came, "body_sent": body_sent}


print(json.dumps({
    "secret": SENTENCE, "secret_base64": SECRET, "now": NOW,
    "cases": [
        one("cybersource-http", "POST", "/pts/v2/payments", cybersource_http(OTHER, "strongroom", "POST", CAME),
            cybersource_http(SECRET, "key-one", "POST", SENT), CAME, SENT),
        one("cybersource-http", "GET", "/pts/v2/payments", cybersource_http(OTHER, "key-one", "GET", ""),
            cybersource_http(SECRET, "key-one", "GET", ""), "", ""),
        one("cybersource-jwt", "POST", "/pts/v2/payments", cybersource_jwt(OTHER, "strongroom", "POST", CAME),
            cybersource_jwt(SECRET, "key-one", "POST", SENT), CAME, SENT),
        one("cybersource-jwt", "GET", "/pts/v2/payments", cybersource_jwt(OTHER, "key-one", "GET", ""),
            cybersource_jwt(SECRET, "key-one", "GET", ""), "", ""),
        one("rapyd", "POST", "/v1/payments", rapyd_headers(CAME), rapyd_headers(SENT), CAME, minified(SENT)),
        one("dlocal", "POST", "/secure_payments", dlocal_headers(CAME), dlocal_headers(SENT), CAME, SENT),
        one("fiserv", "POST", "/ipp/payments-gateway/v2/payments", fiserv_headers(CAME), fiserv_headers(SENT), CAME, SENT),
        one("aws", "POST", "/v1/pay?b=2&a=x%20y&a=%2Fz", aws_headers("POST", "/v1/pay", CAME),
            aws_headers("POST", "/v1/pay?b=2&a=x%20y&a=%2Fz", SENT), CAME, SENT),
        one("aws", "GET", "/v1/pay", aws_headers("GET", "/v1/pay", ""), aws_headers("GET", "/v1/pay", ""), "", ""),
    ],
}, indent=1))
