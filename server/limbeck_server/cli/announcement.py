"""What `limbeck serve` says once clients can connect: where it listens, and the line for clients elsewhere to paste."""

from __future__ import annotations

import ipaddress
import socket as sockets

from limbeck_protocol.discovery import ServerRecord, connection_line

# Of the ranges kept for documentation: choosing a route to them sends nothing.
_SOMEWHERE = {sockets.AF_INET: "192.0.2.1", sockets.AF_INET6: "2001:db8::1"}


def announce(record: ServerRecord, bind: str) -> list[str]:
    """Return the sentences for a server that was told to listen at `bind`.

    The line is there only where other machines reach the server; where it listens at every address of this machine,
    the line names the one that faces the network, or the machine's name where there is none.
    """
    lines = [f"Limbeck listens on {record.endpoint}. Ctrl-C stops it."]
    (host, _), (bound, port) = _host_and_port(bind), _host_and_port(record.endpoint)
    if host in {"0.0.0.0", "::", "*"}:  # noqa: S104  (compared, not bound)
        host = outward_address(sockets.AF_INET6 if host == "::" else sockets.AF_INET) or sockets.gethostname()
    elif not _is_address(host):
        host = bound  # an interface's name says nothing elsewhere
    if _is_loopback(host):
        return lines
    address = f"[{host}]" if ":" in host else host
    return [
        *lines,
        "Paste this line into Blender on the other computer (Limbeck > Server > Paste Server's Line):",
        connection_line(f"tcp://{address}:{port}", record.server_key),
        "Who connects must be allowed here: limbeck keys allow NAME KEY",
    ]


def outward_address(family: sockets.AddressFamily) -> str | None:
    """Return this machine's address on the network that leads outward; None without one. Nothing is sent."""
    try:
        with sockets.socket(family, sockets.SOCK_DGRAM) as socket:
            socket.connect((_SOMEWHERE[family], 9))
            address = str(socket.getsockname()[0])
    except OSError:
        return None
    return None if _is_loopback(address) else address


def _host_and_port(endpoint: str) -> tuple[str, str]:
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    return host.strip("[]"), port


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return _is_address(host) and ipaddress.ip_address(host).is_loopback
