"""An OpenAI-compatible server on loopback that plays faults, and else reads what it is sent and answers."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Turn = Callable[[BaseHTTPRequestHandler, str], None]
"""What is done with one request: its handler, and the text that is to be judged."""


class RubricServer:
    """Faults are played in turn, one a request, whichever comes first; without faults left each request is answered.

    answers(the marked text) -> the model's reply. takes(body) -> what a 400 says, or "" where the request is fine.
    delay: seconds before each answer.
    """

    def __init__(
        self,
        answers: Callable[[str], str],
        *faults: Turn,
        takes: Callable[[dict[str, Any]], str] = lambda _: "",
        delay: float = 0.0,
    ) -> None:
        self.answers, self.faults, self.takes, self.delay = answers, list(faults), takes, delay
        self.seen: list[dict[str, Any]] = []
        """The bodies of all requests."""
        self.replied: list[str] = []
        """The texts that were answered."""
        self.most_at_once = self._at_once = 0
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer._lock:
                    outer.seen.append(body)
                    outer._at_once += 1
                    outer.most_at_once = max(outer.most_at_once, outer._at_once)
                    turn = outer.faults.pop(0) if outer.faults else outer._answered
                try:
                    if wrong := outer.takes(body):
                        send(self, 400, json.dumps({"error": {"message": wrong}}).encode())
                    else:
                        turn(self, body["messages"][-1]["content"])
                finally:
                    with outer._lock:
                        outer._at_once -= 1

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Http(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that went away is what some tests are about."""

        self.http = Http(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    def _answered(self, handler: BaseHTTPRequestHandler, judged: str) -> None:
        time.sleep(self.delay)
        with self._lock:
            self.replied.append(judged)
        send(handler, 200, completion(self.answers(judged)))

    def stop(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


def completion(text: object) -> bytes:
    """A chat completion with this text."""
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    return json.dumps({"choices": [{"message": {"content": text}}], "usage": usage}).encode()


def send(
    handler: BaseHTTPRequestHandler, status: int, body: bytes, kind: str = "application/json", **headers: str
) -> None:
    handler.send_response(status)
    told = {"Content-Type": kind, "Content-Length": str(len(body))}
    for name, value in {**told, **{name.replace("_", "-"): value for name, value in headers.items()}}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def status(code: int, **headers: str) -> Turn:
    """A refusal with this status."""
    return lambda handler, _: send(handler, code, b'{"error": {"message": "not now"}}', **headers)


def says(text: object) -> Turn:
    """A reply with this text."""
    return lambda handler, _: send(handler, 200, completion(text))


def page(handler: BaseHTTPRequestHandler, _: str) -> None:
    """The login page of a proxy, with a friendly status."""
    send(handler, 200, b"<html><body>Please log in</body></html>", "text/html")


def empty(handler: BaseHTTPRequestHandler, _: str) -> None:
    """A reply without a body."""
    send(handler, 200, b"")


def closed(handler: BaseHTTPRequestHandler, _: str) -> None:
    """The connection ends without a word."""
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def reset(handler: BaseHTTPRequestHandler, _: str) -> None:
    """The connection is reset."""
    handler.close_connection = True
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def cut(handler: BaseHTTPRequestHandler, _: str) -> None:
    """The body ends before its promised length."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(completion("half")[:40])
    handler.close_connection = True


def silent(seconds: float) -> Turn:
    """Nothing at all for so long."""

    def turn(handler: BaseHTTPRequestHandler, _: str) -> None:
        time.sleep(seconds)
        handler.close_connection = True

    return turn


def redirect(to: str) -> Turn:
    """Elsewhere."""
    return lambda handler, _: send(handler, 302, b"", Location=to)
