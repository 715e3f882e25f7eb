"""A small name server on loopback, over UDP and TCP, for what a file says.

    server.py ZONE LOG      prints its port

ZONE is read at each question: lines `name seconds kind value`, such as `api.psp.test 30 A 127.0.0.1`; a name that is not in
it does not exist. LOG gets a line for each question: how it came, kind, name.
"""

import sys
import time

from dnslib import QTYPE, RCODE, RR
from dnslib.server import BaseResolver, DNSHandler, DNSServer

zone, log = sys.argv[1:]


class FromFile(BaseResolver):
    def resolve(self, request, handler):
        name, kind = str(request.q.qname).lower(), QTYPE[request.q.qtype]
        with open(log, "a") as file:
            print(handler.protocol, kind, name.rstrip("."), file=file, flush=True)
        with open(zone) as file:
            lines = [line.split() for line in file if line.strip()]
        reply = request.reply()
        wanted, known = name, False
        while wanted:
            mine = [line for line in lines if line[0] + "." == wanted]
            known |= bool(mine)
            for owner, seconds, of_kind, value in mine:
                if of_kind in (kind, "CNAME"):
                    reply.add_answer(*RR.fromZone(f"{owner}. {seconds} IN {of_kind} {value}"))
            wanted = next((line[3] for line in mine if line[2] == "CNAME"), None)
        if not known:
            reply.header.rcode = RCODE.NXDOMAIN
        return reply


class Datagrams(DNSHandler):
    udplen = 512


def start():
    """Both protocols at one port, which may be taken for the second one."""
    while True:
        udp = DNSServer(FromFile(), port=0, address="127.0.0.1", handler=Datagrams)
        port = udp.server.server_address[1]
        try:
            tcp = DNSServer(FromFile(), port=port, address="127.0.0.1", tcp=True, handler=Datagrams)
        except OSError:
            udp.server.server_close()
            continue
        udp.start_thread()
        tcp.start_thread()
        return port


print(start(), flush=True)
# Until whoever started it goes away.
sys.stdin.read()
