"""Run a simulated push service, or a fleet of simulated devices against any MDM server.

A device is enrolled by a link to an enrollment profile with a PKCS#12 identity. Three steps:

  1. python -m tests.simulator push --port 2197 --listen 2198 --state push/
     Have the server push to https://localhost:2197 with push/mdm.pem and push/mdm.key, trusting
     push/ca.pem. The topic of the profile is the UID in mdm.pem. (`push-certificates` makes these
     files without starting anything.)
  2. Write a file with a line for each device, platform (ios, ipados, macos) and link:
         ios https://mdm.example/enroll/one-time-token
  3. python -m tests.simulator fleet --push localhost:2198 --links links.txt --devices 30 \\
         --state fleet/ --page 8003
     Started again with the same --state it is the same devices, without new links.

Each device has a mood: prompt, slow, not now, forgetful, restarted, token gone, never complies,
removes the profile. The page shows each screen and lets you play the user.
"""

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from tests.simulator.fleet import Fleet, read_links
from tests.simulator.fleet_page import FleetPage
from tests.simulator.phone import HOUR
from tests.simulator.push_certificates import Certificates
from tests.simulator.push_service import PushService


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (OSError, ValueError) as reason:
        print(f"{options.command}: {reason}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulator",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)

    push = commands.add_parser("push", help="a push service that speaks as APNs does")
    push.add_argument("--port", type=int, required=True, help="HTTP/2 over TLS")
    push.add_argument("--listen", type=int, default=0, help="where a fleet hears of pushes")
    push.add_argument("--state", type=Path, required=True, help="folder of its certificates")
    push.set_defaults(run=_push)

    certificates = commands.add_parser("push-certificates", help="make its certificates only")
    certificates.add_argument("--state", type=Path, required=True, help="folder to put them in")
    certificates.set_defaults(run=_push_certificates)

    fleet = commands.add_parser("fleet", help="simulated devices against any MDM server")
    fleet.add_argument("--door", help="base of links that are no whole URLs")
    fleet.add_argument("--push", type=_place, help="HOST:PORT of the push service's --listen")
    fleet.add_argument("--page", type=int, default=0, help="port of the fleet's page")
    fleet.add_argument("--devices", type=int, required=True)
    fleet.add_argument("--links", type=Path, required=True, help="lines of «platform url»")
    fleet.add_argument("--state", type=Path, required=True, help="folder of the devices")
    fleet.add_argument("--hour", type=float, default=HOUR, help="seconds that stand for an hour")
    fleet.add_argument("--seed", type=int, default=1)
    fleet.add_argument("--ca", help="PEM file of an authority to trust for HTTPS")
    fleet.set_defaults(run=_fleet)
    return parser


def _push(options: argparse.Namespace) -> int:
    done = _signals()
    with PushService(port=options.port, listen_port=options.listen, state=options.state) as push:
        print(
            f"push service ready: https://localhost:{push.port}, "
            f"listen on 127.0.0.1:{push.listen_port}, topic {push.topic}",
            flush=True,
        )
        done.wait()
    return 0


def _push_certificates(options: argparse.Namespace) -> int:
    made = Certificates(options.state)
    print(
        f"push certificates ready: {made.mdm.certificate_path}, {made.mdm.key_path}, "
        f"trust {made.authority.certificate_path}, topic {made.topic}"
    )
    return 0


def _fleet(options: argparse.Namespace) -> int:
    done = _signals()
    fleet = Fleet(
        state=options.state,
        push=options.push,
        hour=options.hour,
        door=options.door,
        seed=options.seed,
        ca_file=options.ca,
    )
    fleet.populate(options.devices, read_links(options.links))
    page = FleetPage(fleet, options.page)
    page.start()
    try:
        fleet.start()
        enrolled = sum(one.phone.enrolled for one in fleet.members)
        print(
            f"fleet ready: {enrolled} of {len(fleet.members)} devices enrolled, "
            f"page http://localhost:{page.port}/",
            flush=True,
        )
        done.wait()
    finally:
        page.stop()
        fleet.stop()
    return 0


def _signals() -> threading.Event:
    """Set by Ctrl-C and by SIGTERM."""
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    return done


def _place(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise argparse.ArgumentTypeError("expected HOST:PORT")
    return host, int(port)


if __name__ == "__main__":
    sys.exit(main())
