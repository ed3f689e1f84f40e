"""Connect over TLS, to a server whose certificate an authority of our own has signed.

    python over_tls.py spice://127.0.0.1?tls-port=5901 ca.pem "O=Example, CN=host"

With the last word the certificate must have that subject; without it, it must be the host's.
The password, where the server wants one, is in SPICEHOP_PASSWORD.
"""

import asyncio
import os
import sys

import spicehop
from spicehop.errors import SpicehopError


async def main(url: str, ca_file: str, host_subject: str = "") -> None:
    password = os.environ.get("SPICEHOP_PASSWORD")
    async with spicehop.connect(url, password=password, ca_file=ca_file, host_subject=host_subject) as session:
        assert session.secure  # and so it is wherever the session is sent
        print(f"connected over TLS to {session.server}")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    try:
        asyncio.run(main(*sys.argv[1:]))
    except SpicehopError as error:
        sys.exit(str(error))
