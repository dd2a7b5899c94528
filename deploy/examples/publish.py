#!/usr/bin/env python3
"""Publishes one scan event to decom and waits until the stream has stored it.

    ./publish.py HOST PORT SITE DEVICE SCAN
    ./publish.py 127.0.0.1 4222 chu-nord desk $']d20103400930000007217X4F8L2\\x1d17281100\\x1d10LOT42'

Standard library only: no login, no TLS. A device wants a real client library; this shows
what goes over the wire. Exit code 0 only when it is stored.

A republication after a lost answer must be the same event: set ID and AT to repeat one by
hand. A device must keep both until the stream has answered.
"""

import json
import os
import socket
import sys
import uuid
from datetime import datetime, timezone


class Nats:
    """As much of the NATS protocol as one publish with an answer needs."""

    def __init__(self, host, port):
        self.sock = socket.create_connection((host, port), timeout=5)
        self.lines = self.sock.makefile("rb")
        # no_responders: a subject which no stream takes is said at once.
        options = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True,
                   "name": "publish.py", "lang": "python", "version": "1"}
        self.inbox = "_INBOX." + uuid.uuid4().hex
        self.sock.sendall(b"CONNECT %s\r\nSUB %s 1\r\n" % (json.dumps(options).encode(), self.inbox.encode()))

    def publish(self, subject, msg_id, body):
        head = b"NATS/1.0\r\nNats-Msg-Id: %s\r\n\r\n" % msg_id.encode()
        self.sock.sendall(b"HPUB %s %s %d %d\r\n%s%s\r\n" % (
            subject.encode(), self.inbox.encode(), len(head), len(head) + len(body), head, body))

    def answer(self):
        """Returns the stream's answer; None when nobody listens there. TimeoutError: not known."""
        while True:
            line = self.lines.readline()
            if not line:
                raise ConnectionError("the server closed the connection")
            word, *args = line.split()
            if word == b"PING":
                self.sock.sendall(b"PONG\r\n")
            elif word == b"-ERR":
                raise PermissionError(line.decode().strip())
            elif word in (b"MSG", b"HMSG"):
                payload = self.lines.read(int(args[-1]) + 2)[:-2]
                return None if word == b"HMSG" else json.loads(payload)


def main(host, port, site, device, scan):
    msg_id = os.environ.get("ID") or uuid.uuid4().hex  # one for this scan, for ever
    at = os.environ.get("AT") or datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    body = json.dumps({"v": 1, "id": msg_id, "op": "supply", "scan": scan, "at": at}).encode()

    for attempt in (1, 2, 3):
        try:
            nats = Nats(host, int(port))  # after silence, the old connection says nothing any more
            nats.publish(f"decom.scan.{site}.{device}", msg_id, body)
            ack = nats.answer()
        except (TimeoutError, ConnectionError) as why:
            print(f"no answer (try {attempt}): {why}; it may be stored or not, the same event is sent again", file=sys.stderr)
            continue
        if ack is None:
            sys.exit(f"no stream takes decom.scan.{site}.{device}: has decom setup been run?")
        if "error" in ack or ack.get("stream") != "DECOM_SCANS":
            sys.exit(f"not stored: {ack}")
        print(f"stored: id {msg_id} at {at}, {json.dumps(ack)}")
        return
    sys.exit(f"not known to be stored: publish it again with ID={msg_id} AT={at}")


if __name__ == "__main__":
    if len(sys.argv) != 6:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    main(*sys.argv[1:])
