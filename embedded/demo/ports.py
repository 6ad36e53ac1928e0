"""Whether a port is free for one of ours."""

import errno
import socket

from embedded.demo.wanted import APART_PORTS, PORTS
from embedded.processes import Trouble

HIGHEST = 65_535


def check_free(port: int) -> None:
    """Bind it: a second granian would share the port silently."""
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            with socket.socket(family) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # but for TIME_WAIT
                probe.bind((address, port))
        except PermissionError:
            raise Trouble(f"Port {port} is for root alone; choose another PORT.") from None
        except OSError as error:
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):  # no IPv6 here
                raise Trouble(
                    f"Port {port} is in use; end what uses it or choose another PORT "
                    f"(the demo takes {PORTS} in a row, {PORTS + APART_PORTS} with its doors apart)."
                ) from None
