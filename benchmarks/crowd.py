"""``python -m benchmarks.crowd HOST PORT CLIENTS SECONDS``: clients that ask again and again.

The requests come as a JSON list, one for each client in turn; one JSON line says how many whole
answers came. One thread and ``select``: the crowd costs as little as it can, for it shares the
cores with the server.
"""

import itertools
import json
import selectors
import socket
import sys
import time

_END = b"\r\n\r\n"
_CHUNK = 2**20


class _Client:
    """One kept connection that sends the next request when the answer is whole."""

    def __init__(self, address: tuple[str, int], request: bytes) -> None:
        self.socket = socket.create_connection(address, timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = request
        self._missing = -1
        self._head = b""

    def ask(self) -> None:
        self._missing, self._head = -1, b""
        self.socket.sendall(self._request)

    def is_answered(self) -> bool:
        """Read what is there; tell whether the answer is whole."""
        data = self.socket.recv(_CHUNK)
        if not data:
            raise SystemExit("the server closed the connection")
        if self._missing < 0:
            self._head += data
            head, mark, rest = self._head.partition(_END)
            if not mark:
                return False
            if head[9:10] != b"2":
                raise SystemExit(head.decode(errors="replace"))
            self._missing, data = _length(head), rest
        self._missing -= len(data)
        return self._missing == 0


def _length(head: bytes) -> int:
    at = head.lower().index(b"content-length:")
    return int(head[at + 15 :].split(b"\r\n", 1)[0])


def main() -> None:
    """Ask until the time is up."""
    host, port, count, seconds = sys.argv[1:]
    requests = itertools.cycle(request.encode() for request in json.load(sys.stdin))
    selector = selectors.DefaultSelector()
    clients = [_Client((host, int(port)), next(requests)) for _ in range(int(count))]
    for client in clients:
        selector.register(client.socket, selectors.EVENT_READ, client)
    began = time.perf_counter()
    for client in clients:
        client.ask()
    answers = 0
    while time.perf_counter() - began < float(seconds):
        for key, _events in selector.select(1):
            if key.data.is_answered():
                answers += 1
                key.data.ask()
    print(json.dumps({"answers": answers, "seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    main()
