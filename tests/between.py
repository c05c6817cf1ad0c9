"""A place between a client and a server, where what goes through can be spoilt."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import struct
import threading
import time


@dataclasses.dataclass
class Between:
    """Stands between client and store, and can spoil what goes through.

    Attributes
    ----------
    spoilt
        For each of the first connections: an answer to give in place of the store's; nothing is a reset.
    limit
        Bytes from the client after which a connection is reset.
    pause
        Seconds to wait at every 64 KiB from the client.
    """

    store: tuple[str, int]
    spoilt: list[bytes] = dataclasses.field(default_factory=list)
    limit: int | None = None
    pause: float = 0
    passed: int = 0

    def __post_init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            if self.spoilt:
                answer = self.spoilt.pop(0)
                client.recv(2**16)
                self._reset(client) if not answer else client.sendall(answer)
                return
            with socket.create_connection(self.store) as server, contextlib.suppress(OSError):
                back = threading.Thread(target=self._back, args=[server, client], daemon=True)
                back.start()
                self._forth(client, server)
                server.shutdown(socket.SHUT_RDWR)
                back.join()

    def _forth(self, client: socket.socket, server: socket.socket) -> None:
        seen = 0
        while data := client.recv(2**16):
            seen += len(data)
            self.passed += len(data)
            if self.limit is not None and seen > self.limit:
                self._reset(client)
                return
            time.sleep(self.pause)
            server.sendall(data)

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(2**16):
                client.sendall(data)

    def _reset(self, client: socket.socket) -> None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
