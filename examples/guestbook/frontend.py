#!/usr/bin/env python3
"""The guestbook's web page: keeps messages in redis, by the addresses of its Services.

Where redis is, it knows from the environment that Kubernetes gives a pod (the tutorial's
GET_HOSTS_FROM=env): REDIS_LEADER_SERVICE_HOST and _PORT for writing, REDIS_FOLLOWER_... for reading.

    GET /                read the messages
    GET /?message=TEXT   add one, then read

The answer is one JSON object: who answered, which store it read from, the messages.
"""

import http.server
import json
import os
import socket
import socketserver
import sys
import urllib.parse


def redis(service, *commands):
    """Sends commands to a redis Service and returns their answers."""
    host = os.environ[f"{service}_SERVICE_HOST"]
    port = int(os.environ[f"{service}_SERVICE_PORT"])
    with socket.create_connection((host, port), timeout=5) as connection:
        stream = connection.makefile("rwb")
        for command in commands:
            stream.write(b"*%d\r\n" % len(command))
            for word in command:
                word = word.encode()
                stream.write(b"$%d\r\n%s\r\n" % (len(word), word))
        stream.flush()
        return [answer(stream) for _ in commands]


def answer(stream):
    """Reads one answer in redis' protocol."""
    line = stream.readline().rstrip(b"\r\n")
    kind, rest = line[:1], line[1:].decode()
    if kind == b"$":
        return None if rest == "-1" else stream.read(int(rest) + 2)[:-2].decode()
    if kind == b"*":
        return [answer(stream) for _ in range(int(rest))]
    if kind == b":":
        return int(rest)
    if kind == b"+":
        return rest
    raise OSError(f"redis answered {line!r}")


class Page(http.server.BaseHTTPRequestHandler):
    """One request."""

    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        try:
            for message in query.get("message", []):
                redis("REDIS_LEADER", ["RPUSH", "messages", message])
            messages, client = redis("REDIS_FOLLOWER", ["LRANGE", "messages", "0", "-1"], ["CLIENT", "INFO"])
        except OSError as error:
            self.reply(502, {"pod": os.environ["HOSTNAME"], "error": str(error)})
            return
        # `laddr` is the store's own address for this connection: which of the followers it is.
        store = dict(word.split("=", 1) for word in client.split())["laddr"]
        self.reply(200, {"pod": os.environ["HOSTNAME"], "store": store, "messages": messages})

    def reply(self, status, content):
        """Sends the answer as one line."""
        body = json.dumps(content).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Says nothing: the demo counts the answers."""


class Server(socketserver.ThreadingTCPServer):
    """With room for many at once. (http.server's own asks DNS for its name when it starts.)"""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    Server(("", int(sys.argv[1]) if len(sys.argv) > 1 else 80), Page).serve_forever()
