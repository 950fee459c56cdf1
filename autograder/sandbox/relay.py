"""Carries bytes between our side of a kernel's channel and the kernel's, and counts what the kernel sends.

Whatever a hostile kernel does to the protocol, not more than the counted bytes reach this process.
"""

import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any


def listen(path: Path) -> socket.socket:
    """A unix socket that waits for connections at a path."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o666)  # the sandbox's user is another one; the folder around is private
    listener.listen(16)
    return listener


def relay(listener: socket.socket, target: Path, spend: Callable[[int], None], refused: Callable[[], None]) -> None:
    """Pass every connection on to the socket at `target`, until the listener is shut.

    Args:
        spend: called with the number of bytes of each piece that the kernel sent.
        refused: called when our side hung up on what the kernel sent (a message too large, or none at all).
    """
    with listener:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            kernel = socket.socket(socket.AF_UNIX)
            try:
                kernel.connect(str(target))
            except OSError:  # it has gone; zmq tries again
                client.close()
                kernel.close()
                time.sleep(0.05)
                continue
            first = threading.Lock()  # for who hangs up first
            start_thread(_pump, client, kernel, lambda count: None, partial(_end, first, refused), partial(_end, first))
            start_thread(_pump, kernel, client, spend, partial(_end, first), partial(_end, first, refused))


def _end(first: threading.Lock, then: Callable[[], None] | None = None) -> None:
    if first.acquire(blocking=False) and then:
        then()


def _pump(
    source: socket.socket,
    target: socket.socket,
    spend: Callable[[int], None],
    source_gone: Callable[[], None],
    target_gone: Callable[[], None],
) -> None:
    while data := _receive(source):
        spend(len(data))
        try:
            target.sendall(data)
        except OSError:
            target_gone()
            break
    else:
        source_gone()
    shut(source)
    shut(target)


def _receive(source: socket.socket) -> bytes:
    try:
        return source.recv(65536)
    except OSError:
        return b""


def shut(end: socket.socket) -> None:
    """Wake everyone who waits for the socket."""
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:  # it was shut already
        pass


def start_thread(function: Callable, *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread
