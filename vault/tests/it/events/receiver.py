"""A receiver of events that shares no code with the vault: the standardwebhooks library verifies, the CloudEvents SDK parses.

Usage: receiver.py CERTIFICATE KEY SECRET_FILE. Prints its port, then one JSON line for each event that holds. The secret
is read anew for each request; what does not hold is answered 401, as a receiver should.
"""

import http.server
import json
import ssl
import sys

from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from standardwebhooks import Webhook

certificate, key, secret_file = sys.argv[1:]


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            with open(secret_file) as secret:
                Webhook(secret.read().strip()).verify(body, dict(self.headers))
            event = from_http_event(HTTPMessage({k.lower(): v for k, v in self.headers.items()}, body))
            assert event.get_id() == self.headers["webhook-id"]
        except Exception as error:
            print(json.dumps({"refused": type(error).__name__}), flush=True)
            return self.answer(401)
        told = {
            "id": event.get_id(),
            "source": event.get_source(),
            "type": event.get_type(),
            "subject": event.get_subject(),
            "time": event.get_time().isoformat(),
            "sequence": event.get_extension("sequence"),
            "data": event.get_data(),
            "signatures": len(self.headers["webhook-signature"].split(" ")),
        }
        print(json.dumps(told), flush=True)
        self.answer(204)

    def answer(self, status):
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.minimum_version = ssl.TLSVersion.TLSv1_3
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
