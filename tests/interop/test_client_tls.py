"""Our client over TLS with real QEMUs: libspice-server's TLS port, a ticket, and the subject that the source names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from certificates import Authority
from migration_lab import Lab, until

import spicehop
from spicehop.demo.qemu import QemuOptions, free_port

pytestmark = pytest.mark.peers
Report = Callable[[str, object], None]
SUBJECT = "CN=127.0.0.1"


def with_tls(authority: Authority) -> dict[str, str]:
    """Options of `-spice`: a port with a certificate that the authority has signed."""
    pair = authority.pair()
    files = {"cacert": authority.certificate, "cert": pair.certificate, "key": pair.key}
    return {"tls-port": str(free_port()), **{f"x509-{name}-file": str(path) for name, path in files.items()}}


async def test_a_session_over_tls_moves_to_another_qemu(lab: Lab, tmp_path: Path, report: Report) -> None:
    """The source names both ports of the target and the subject of its certificate. Every channel goes over TLS."""
    authority = Authority(tmp_path)
    source = await lab.boot(QemuOptions(ticket="right", spice_options=with_tls(authority)))
    there = {"tls-port": str(free_port())}
    url = f"spice://127.0.0.1?tls-port={source.qemu.options.spice_options['tls-port']}"
    session = await lab.enter(spicehop.connect(url, password="right", ca_file=authority.certificate))
    assert session.secure
    load = await lab.start_load(session)
    target = await lab.incoming(spice_options=there)
    address = {"protocol": "spice", "hostname": "127.0.0.1", "port": target.qemu.spice_port}
    address |= {"tls-port": int(there["tls-port"]), "cert-subject": SUBJECT}
    await source.ask("client_migrate_info", address)
    await until(lambda: session.core.state.value == "ReadySeamless", "the client links the target")
    hop = await lab.move(session, source, target)
    account = await lab.settle(load)
    for name, value in account.figures.items():
        report(name, value)
    account.assert_only_keys_of_libspice()
    assert (hop.outcome.scheme, hop.outcome.reason) == ("seamless", "")
    assert {channel.how for channel in hop.outcome.channels} == {"moved"}
    assert session.lost_channels == {}
    channels = (await target.ask("query-spice"))["channels"]
    assert len(channels) == len(session.core.channels)
    assert all(channel["tls"] for channel in channels)
