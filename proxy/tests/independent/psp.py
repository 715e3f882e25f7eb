"""What five PSPs compute of a request that reached them, from their documentation, with Python's own library.

    psp.py KIND SECRET < the request as its bytes came     prints `good`, or what is wrong
"""

import base64
import hashlib
import hmac
import json
import sys

kind, secret = sys.argv[1], sys.argv[2]
head, body = sys.stdin.buffer.read().split(b"\r\n\r\n", 1)
first, *lines = head.decode().split("\r\n")
method, target, _ = first.split(" ")
headers = {}
for line in lines:
    name, value = line.split(": ", 1)
    assert name.lower() not in headers, f"{name} twice"
    headers[name.lower()] = value
digest = base64.b64encode(hashlib.sha256(body).digest()).decode()


def mac(key, text):
    return hmac.new(key, text, hashlib.sha256)


def unpadded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def cybersource_http():
    parts = dict(part.strip().split("=", 1) for part in headers["signature"].split(","))
    parts = {name: value.strip('"') for name, value in parts.items()}
    values = headers | {"request-target": f"{method.lower()} {target}"}
    if body:
        assert headers["digest"] == "SHA-256=" + digest, "digest"
        assert "digest" in parts["headers"].split(" ")
    text = "\n".join(f"{name}: {values[name]}" for name in parts["headers"].split(" "))
    expected = base64.b64encode(mac(base64.b64decode(secret), text.encode()).digest()).decode()
    return parts["signature"], expected


def cybersource_jwt():
    token = headers["authorization"].removeprefix("Bearer ")
    signed, signature = token.rsplit(".", 1)
    assert json.loads(unpadded(signed.split(".")[1]))["digest"] == digest, "digest"
    return unpadded(signature), mac(base64.b64decode(secret), signed.encode()).digest()


def rapyd():
    compact = json.dumps(json.loads(body), separators=(",", ":"), ensure_ascii=False) if body else ""
    text = method.lower() + target + headers["salt"] + headers["timestamp"] + headers["access_key"] + secret + compact
    return headers["signature"], base64.b64encode(mac(secret.encode(), text.encode()).hexdigest().encode()).decode()


def dlocal():
    text = headers["x-login"].encode() + headers["x-date"].encode() + body
    return headers["authorization"], "V2-HMAC-SHA256, Signature: " + mac(secret.encode(), text).hexdigest()


def fiserv():
    text = (headers["api-key"] + headers["client-request-id"] + headers["timestamp"]).encode() + body
    return headers["message-signature"], base64.b64encode(mac(secret.encode(), text).digest()).decode()


def nuvei():
    """The order its Node client concatenates in (safecharge 1.0.1)."""
    said = json.loads(body)
    names = {
        "getSessionToken": "merchantId merchantSiteId clientRequestId timeStamp",
        "payment": "merchantId merchantSiteId clientRequestId amount currency timeStamp",
        "refundTransaction": "merchantId merchantSiteId clientRequestId clientUniqueId amount currency relatedTransactionId authCode "
        "comment notificationUrl timeStamp",
    }[target.rsplit("/", 1)[1].removesuffix(".do")]
    said["notificationUrl"] = said.get("urlDetails", {}).get("notificationUrl", "")
    text = "".join(str(said.get(name, "")) for name in names.split(" ")) + secret
    return said["checksum"], hashlib.sha256(text.encode()).hexdigest()


given, expected = {
    "cybersource-http": cybersource_http, "cybersource-jwt": cybersource_jwt, "rapyd": rapyd, "dlocal": dlocal, "fiserv": fiserv,
    "nuvei": nuvei,
}[kind]()
print("good" if given == expected else f"given {given}, expected {expected}")
