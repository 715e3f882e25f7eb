"""What a broker's secure listener does, in front of a broker that has none: TLS, a client certificate, SASL.
SIGUSR1 ends every connection where it is.

Usage: gate.py TLS_VERSION CERTIFICATE KEY CLIENT_CA UPSTREAM_PORT [USER PASSWORD]. Prints its port. Signing in is by PLAIN, or by SCRAM of the
scramp library (RFC 5802, RFC 7677); everything else goes to the broker as it comes. Nothing gets there before somebody signed in, but ApiVersions.
"""

import asyncio
import signal
import ssl
import struct
import sys

from scramp import ScramMechanism

tls, certificate, key, authority, upstream = sys.argv[1:6]
user, password = (sys.argv[6:8] + [None, None])[:2]
API_VERSIONS, SASL_HANDSHAKE, SASL_AUTHENTICATE = 18, 17, 36
CLIENTS = set()
MECHANISMS = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


class Refused(Exception):
    pass


async def frame(reader):
    (length,) = struct.unpack(">i", await reader.readexactly(4))
    return await reader.readexactly(length)


def framed(body):
    return struct.pack(">i", len(body)) + body


def text(body, at):
    (length,) = struct.unpack_from(">h", body, at)
    return body[at + 2 : at + 2 + max(length, 0)], at + 2 + max(length, 0)


def compact(data):
    assert len(data) < 16_000
    size = len(data) + 1
    return (bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])) + data


def uvarint(body, at):
    value = shift = 0
    while True:
        byte, at = body[at], at + 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def authenticate_answer(version, correlation, error, message, data):
    if version >= 2:
        told = b"\0" if message is None else compact(message)
        return correlation + b"\0" + struct.pack(">h", error) + told + compact(data) + struct.pack(">q", 0) + b"\0"
    told = struct.pack(">h", -1) if message is None else struct.pack(">h", len(message)) + message
    answer = correlation + struct.pack(">h", error) + told + struct.pack(">i", len(data)) + data
    return answer + (struct.pack(">q", 0) if version == 1 else b"")


class Plain:
    """RFC 4616, spoken to like a server of scramp that has one step."""

    def set_client_final(self, said):
        if said.split("\0")[1:] != [user, password]:
            raise Refused("password")

    def get_server_final(self):
        return ""


def server_of(name):
    if name == "PLAIN":
        return Plain()
    mechanism = ScramMechanism(name)
    stored = mechanism.make_auth_info(password)
    return mechanism.make_server(lambda who: stored if who == user else absent(who))


async def sign_in(reader, writer, broker_reader, broker_writer):
    server, begun = None, False
    while True:
        body = await frame(reader)
        api, version = struct.unpack_from(">hh", body)
        correlation = body[4:8]
        _, at = text(body, 8)
        if api == API_VERSIONS:
            broker_writer.write(framed(body))
            writer.write(framed(await frame(broker_reader)))
        elif api == SASL_HANDSHAKE:
            wanted = text(body, at)[0].decode()
            known = wanted in MECHANISMS
            names = b"".join(struct.pack(">h", len(name)) + name.encode() for name in MECHANISMS)
            writer.write(framed(correlation + struct.pack(">hi", 0 if known else 33, len(MECHANISMS)) + names))
            if not known:
                raise Refused("mechanism")
            server, begun = server_of(wanted), wanted == "PLAIN"
        elif api == SASL_AUTHENTICATE and server is not None:
            if version >= 2:
                length, at = uvarint(body, at + 1)
                said = body[at : at + length - 1]
            else:
                (length,) = struct.unpack_from(">i", body, at)
                said = body[at + 4 : at + 4 + length]
            try:
                if not begun:
                    server.set_client_first(said.decode())
                    data = server.get_server_first().encode()
                else:
                    server.set_client_final(said.decode())
                    data = server.get_server_final().encode()
            except Exception as error:
                writer.write(framed(authenticate_answer(version, correlation, 58, b"who is that", b"")))
                await writer.drain()
                raise Refused(type(error).__name__) from error
            writer.write(framed(authenticate_answer(version, correlation, 0, None, data)))
            await writer.drain()
            if begun:
                return
            begun = True
        else:
            raise Refused(f"api {api} before signing in")
        await writer.drain()


def absent(name):
    raise KeyError(name)


async def pump(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def serve(reader, writer):
    broker_writer = None
    CLIENTS.add(writer)
    try:
        broker_reader, broker_writer = await asyncio.open_connection("127.0.0.1", int(upstream))
        if user is not None:
            await sign_in(reader, writer, broker_reader, broker_writer)
        pumps = [asyncio.create_task(pump(reader, broker_writer)), asyncio.create_task(pump(broker_reader, writer))]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
    except (OSError, EOFError, Refused):
        pass
    finally:
        CLIENTS.discard(writer)
        for one in (writer, broker_writer):
            if one is not None:
                one.close()


def cut():
    for client in CLIENTS:
        client.transport.abort()


async def main():
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, cut)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = ssl.TLSVersion["TLSv" + tls.replace(".", "_")]
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
