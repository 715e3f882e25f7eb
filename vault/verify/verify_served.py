#!/usr/bin/env python3
"""Verify the audit log a Strongroom vault serves, without Strongroom.

    pip install cryptography
    python3 verify_served.py https://HOST --certificate FILE --key FILE --ca FILE --vkey 'ORIGIN+ID+KEY'

Reads the files of `/v1/audit/log/` over mutual TLS with a certificate of the security team and does with them what `verify_log.py`
does with a folder. The log goes on meanwhile: checkpoints after the first one read are not judged.
"""
import argparse, http.client, pathlib, ssl, sys, urllib.parse  # noqa: E401

import verify_log


def reader(url, certificate, key, ca):
    place = urllib.parse.urlsplit(url)
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, key)
    line = http.client.HTTPSConnection(place.hostname, place.port or 443, timeout=60, context=context)

    def read(file):
        try:
            line.request("GET", f"/v1/audit/log/{file}")
            answer = line.getresponse()
        except (http.client.HTTPException, OSError):  # connections end with their age
            line.close()
            line.request("GET", f"/v1/audit/log/{file}")
            answer = line.getresponse()
        data = answer.read()
        if answer.status not in (200, 404):
            sys.exit(f"{file} is refused with {answer.status}")
        return data if answer.status == 200 else None

    return read


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("url")
    for name in ["certificate", "key", "ca", "vkey"]:
        asked.add_argument(f"--{name}", required=True)
    given = asked.parse_args()
    verify_log.read = reader(given.url, given.certificate, given.key, given.ca)
    try:
        print(verify_log.verify(pathlib.PurePosixPath(), verify_log.Key(given.vkey), grows=True))
    except verify_log.Damage as damage:
        print(f"first: {damage}")
        sys.exit(1)
