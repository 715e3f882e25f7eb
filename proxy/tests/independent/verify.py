"""Judges what the proxy signed and encrypted, with implementations that are not ours.

    verify.py keys FOLDER    makes a key of each kind there
    verify.py check FOLDER   verifies FOLDER/messages.json and prints the names of what held
"""

import base64
import hashlib
import json
import os
import sys
import types

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from http_message_signatures import HTTPMessageVerifier, MappingKeyResolver, algorithms
from jwcrypto import jwe, jwk, jws

ALGORITHMS = {
    "rsa-pss-sha512": algorithms.RSA_PSS_SHA512,
    "rsa-v1_5-sha256": algorithms.RSA_V1_5_SHA256,
    "ecdsa-p256-sha256": algorithms.ECDSA_P256_SHA256,
    "ecdsa-p384-sha384": algorithms.ECDSA_P384_SHA384,
    "ed25519": algorithms.ED25519,
}


def keys(folder):
    made = {
        "rsa": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "short": rsa.generate_private_key(public_exponent=65537, key_size=1024),
        "p256": ec.generate_private_key(ec.SECP256R1()),
        "p384": ec.generate_private_key(ec.SECP384R1()),
        "ed25519": ed25519.Ed25519PrivateKey.generate(),
    }
    for name, key in made.items():
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                serialization.NoEncryption())
        public = key.public_key().public_bytes(serialization.Encoding.PEM,
                                               serialization.PublicFormat.SubjectPublicKeyInfo)
        with open(os.open(f"{folder}/{name}.pem", os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            file.write(pem)
        with open(f"{folder}/{name}.pub.pem", "wb") as file:
            file.write(public)


def read(folder, name):
    with open(f"{folder}/{name}.pem", "rb") as file:
        return file.read()


def check_message(folder, case):
    resolver = MappingKeyResolver(public_keys={"key-one": read(folder, case["key"] + ".pub")}, private_keys={})
    verifier = HTTPMessageVerifier(signature_algorithm=ALGORITHMS[case["algorithm"]], key_resolver=resolver)
    message = types.SimpleNamespace(method=case["method"], url=case["url"], headers=case["headers"])
    results = verifier.verify(message, max_age=None, require_components=case["components"], body=case["body"].encode())
    assert len(results) == 1
    digest = base64.b64encode(hashlib.sha256(case["body"].encode()).digest()).decode()
    assert case["headers"]["content-digest"] == f"sha-256=:{digest}:"


def check_jwt(folder, case):
    token = jws.JWS()
    token.deserialize(case["token"], jwk.JWK.from_pem(read(folder, "rsa.pub")))
    assert token.jose_header["kid"] == "key-one" and token.jose_header["alg"] == "RS256"
    claims = json.loads(token.payload)
    assert claims["digest"] == base64.b64encode(hashlib.sha256(case["body"].encode()).digest()).decode()
    assert {name: value for name, value in claims.items() if name != "digest"} == case["claims"]


def check_jwe(folder, case):
    token = jwe.JWE()
    token.allowed_algs = ["RSA-OAEP-256", "A256GCM"]
    token.deserialize(case["token"], jwk.JWK.from_pem(read(folder, "rsa")))
    assert token.payload.decode() == case["plaintext"]
    assert token.jose_header == {"alg": "RSA-OAEP-256", "enc": "A256GCM", "kid": "psp-key"}


if sys.argv[1] == "keys":
    keys(sys.argv[2])
else:
    with open(f"{sys.argv[2]}/messages.json") as file:
        for case in json.load(file):
            {"message": check_message, "jwt": check_jwt, "jwe": check_jwe}[case["kind"]](sys.argv[2], case)
            print(case["name"])
