"""The names of events, with what each means. Traces, tables, pictures and diagnoses take their words from here."""

from __future__ import annotations

EVENTS: dict[str, str] = {
    "session.connected": "the session is open",
    "session.closed": "the session ended; `reason` says why",
    "channel.linked": "a channel's link stage succeeded; `server`, `role` current or target",
    "channel.lost": "a channel's connection ended without being asked to; `server`, `role`, `reason`",
    "channel.migrate": "the source sent MIGRATE on this channel; `flags`",
    "channel.flush-mark": "the client sent FLUSH_MARK on this channel",
    "channel.migrate-data": "the channel's state arrived; `size`",
    "channel.swapped": "this channel goes on at the target, with its state; `server`, `size`",
    "channel.restarted": "this channel began anew at the target; `server`",
    "migration.begin": "the source announced a target; `scheme`, `host`, `port`, `tls_port`",
    "migration.replaced": "another announcement came before this migration was over",
    "migration.target-linked": "the main channel is linked to the target; `server`",
    "migration.seamless-accepted": "the target will restore state (DST_SEAMLESS_ACK)",
    "migration.seamless-refused": "the target will not restore state (DST_SEAMLESS_NACK)",
    "migration.channel-missing": "the target does not have this channel; `reason`",
    "migration.connected": "every channel is linked to the target, and the source is told so; `scheme`",
    "migration.connect-error": "the client could not link to the target, and tells the source; `reason`",
    "migration.end": "the source sent MIGRATE_END: the semi-seamless switch",
    "migration.cancel": "the source sent MIGRATE_CANCEL",
    "migration.switch-host": "the client leaves the source and connects anew; `host`, `port`, `tls_port`, `reason`",
    "migration.step": "the client's migration machine made a step; `input`, `action`, `state`",
    "migration.done": "the session lives at the target; `scheme`, `reason` when not seamless",
    "migration.aborted": "the session stays where it was; `reason`",
    "picture.first": "the first picture from the target is on the screen",
    "stock.channel": "spice-gtk tells what became of a channel; `what`",
    "stock.migrating": "spice-gtk has linked the target, and waits to go there; `state`",
    "stock.migrated": "all of spice-gtk's channels are at the target",
    "stock.disconnected": "spice-gtk's session ended",
    "server.channel-linked": "a client has linked a channel; `session` counts the server's sessions",
    "server.channel-gone": "a client's channel ended; `reason`",
    "server.turned-away": "a connection ended before it was authenticated; `host`, `reason`",
    "server.migration-refused": "a client that says it migrates was not let in; `session` its id, `host`, `reason`",
    "server.unannounced-migration-accepted": "a client whom nobody has announced was let in; `session` its id, `host`",
    "server.client-leaving": "a client goes to another server; `step` how far, `reason` why not by a better scheme",
    "server.channel-leaving": "a channel goes to another server; `step` how far",
    "server.client-arriving": "a client comes from another server; `step` what came of it",
    "server.client-arrived": "a client from another server is here; `reason`",
    "server.command": "a control client asked for `command`; `refused` says why not",
    "conductor.surveying": "the conductor asks both QEMUs what they are",
    "conductor.finding": "the conductor found something worth knowing; `severity`, `code`, `sentence`",
    "conductor.linking": "the conductor has the clients told of the target",
    "conductor.linked": "every channel is linked to the target",
    "conductor.migrating": "the conductor starts the virtual machine's migration",
    "conductor.progress": "how far the live copy is; `transferred`, `remaining`, `total`",
    "conductor.handing-over": "the virtual machine has moved, its sessions follow",
    "conductor.verifying": "the conductor verifies machine and sessions at the target",
    "conductor.releasing": "the conductor has the clients told to stay",
    "conductor.cancelling": "the conductor cancels the virtual machine's migration",
    "conductor.checking": "the conductor verifies machine and sessions at the source",
    "conductor.ending-source": "the conductor ends the source",
    "conductor.finished": "the conductor is done; `sentence`",
    "qmp.client_migrate_info": "the source is told to announce the target",
    "qmp.migrate": "the source is told to migrate",
    "qmp.STOP": "the virtual machine stands still",
    "qmp.RESUME": "the virtual machine runs",
    "qmp.MIGRATION": "the virtual machine's migration changed its `status`",
    "qmp.MIGRATION_PASS": "a pass of the live copy begins; `pass`",
    "qmp.SPICE_CONNECTED": "a client's connection was accepted",
    "qmp.SPICE_INITIALIZED": "a client's channel was accepted",
    "qmp.SPICE_DISCONNECTED": "a client's channel ended",
    "qmp.SPICE_MIGRATE_COMPLETED": "no client is left at the source, or it stopped waiting for them",
    "qmp.SHUTDOWN": "QEMU ends",
    "qmp.disconnected": "the QMP connection ended",
}
"""Event name to its meaning. `conductor.<step>`, `qmp.<NAME>` and `guest.<what>` are open sets."""


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
