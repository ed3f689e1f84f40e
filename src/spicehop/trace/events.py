"""The names of events, with what each means. Traces, tables, pictures and diagnoses take their words from here."""

from __future__ import annotations

EVENTS: dict[str, str] = {
    "session.connected": "the session's channels are linked",
    "session.closed": "the session ended; `reason` says why",
    "channel.linked": "a channel's link stage succeeded",
    "channel.lost": "a channel's connection ended without being asked to; `reason` says how",
    "channel.closed": "a channel's connection was closed on purpose",
    "migration.begin": "the source announced a target; `scheme`, `host`, `port`, `tls_port`",
    "migration.target-linked": "the client's main channel is linked to the target",
    "migration.seamless-accepted": "the target answered DST_SEAMLESS_ACK",
    "migration.seamless-refused": "the target answered DST_SEAMLESS_NACK",
    "migration.connected": "every channel is linked to the target, and the source was told so",
    "migration.connect-error": "the client could not link to the target, and told the source; `reason`",
    "migration.end": "the source sent MIGRATE_END: the semi-seamless switch",
    "migration.switch-host": "the source sent SWITCH_HOST: connect anew; `host`, `port`",
    "migration.cancel": "the source sent MIGRATE_CANCEL",
    "migration.replaced": "another announcement came before this migration was over",
    "migration.done": "the session lives at the target; `scheme`, `reason` when not seamless",
    "migration.aborted": "the session stays where it was; `reason`",
    "channel.migrate": "the source sent MIGRATE on this channel; `flags`",
    "channel.flush-mark": "the client sent FLUSH_MARK on this channel",
    "channel.migrate-data": "the channel's state arrived and was passed on; `size`",
    "channel.swapped": "this channel continues at the target",
    "picture.first": "the first picture from the target is on the screen",
    "qmp.STOP": "the virtual machine stands still",
    "qmp.RESUME": "the virtual machine runs",
    "qmp.MIGRATION": "the virtual machine's migration changed its `status`",
    "qmp.MIGRATION_PASS": "a pass of the live copy begins; `pass`",
    "qmp.SPICE_CONNECTED": "a client's connection was accepted",
    "qmp.SPICE_INITIALIZED": "a client's channel was accepted",
    "qmp.SPICE_DISCONNECTED": "a client's channel ended",
    "qmp.SPICE_MIGRATE_COMPLETED": "no client is left at the source, or it stopped waiting for them",
    "qmp.SHUTDOWN": "QEMU ends",
}
"""Event name to its meaning. `conductor.<step>` and `guest.<what>` are open sets."""


def meaning(event: str) -> str:
    """What `event` means, in words; empty for an unknown one."""
    if event in EVENTS:
        return EVENTS[event]
    family, _, step = event.partition(".")
    if family == "conductor":
        return f"the conductor: {step.replace('-', ' ')}"
    if family == "guest":
        return f"the guest: {step.replace('-', ' ')}"
    return ""
