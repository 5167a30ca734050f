"""What may stand behind a port instead of our server: `python strange_server.py KIND`; it writes `server.json` itself.

Kinds: `http`, another program; `old-welcome` and `old-error`, a genuine CURVE server that speaks an older version and
says so by its welcome or by an error; `old-record`, one whose record says so.
"""

from __future__ import annotations

import http.server
import os
import sys

import zmq
from limbeck_protocol.codec import decode_request, encode_message
from limbeck_protocol.discovery import KeyPair, ServerRecord, create_or_load_keys, server_keys_path, write_server_record
from limbeck_protocol.errors import ErrorCode
from limbeck_protocol.messages import ErrorReply, Hello, Welcome


def record(port: int, keys: KeyPair, major: int) -> None:
    write_server_record(
        ServerRecord(
            endpoint=f"tcp://127.0.0.1:{port}",
            server_key=keys.public_key,
            major_min=major,
            major_max=major,
            pid=os.getpid(),
            boot_id=f"strange-{os.getpid()}",
            store_id="strange",
            version="0.0.1",
        )
    )


def serve_http(keys: KeyPair) -> None:
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    record(server.server_port, keys, 1)
    server.serve_forever()


def serve_old(keys: KeyPair, kind: str) -> None:
    router = zmq.Context().socket(zmq.ROUTER)
    router.setsockopt(zmq.LINGER, 0)
    router.setsockopt(zmq.CURVE_SERVER, 1)
    router.setsockopt(zmq.CURVE_PUBLICKEY, keys.public_key.encode())
    router.setsockopt(zmq.CURVE_SECRETKEY, keys.secret_key.encode())
    port = router.bind_to_random_port("tcp://127.0.0.1")
    record(port, keys, 0 if kind == "old-record" else 1)
    while True:
        connection, *frames = router.recv_multipart()
        envelope = decode_request(frames)
        assert isinstance(envelope.message, Hello), envelope
        welcome = Welcome(major=0, minor=9, server="limbeck-server 0.0.1", store_id="old", boot_id="old", limits={})
        refusal = ErrorReply(code=ErrorCode.PROTOCOL_UNSUPPORTED, message="This server speaks protocol 0 only.")
        reply = refusal if kind == "old-error" else welcome
        router.send_multipart([connection, *encode_message(reply, request_id="s1", reply_to=envelope.request_id)])


if __name__ == "__main__":
    own_keys = create_or_load_keys(server_keys_path())
    if sys.argv[1] == "http":
        serve_http(own_keys)
    else:
        serve_old(own_keys, sys.argv[1])
