"""Cuts this folder's files out of the whole capture: `cut.py WHOLE`. See PROVENANCE.

Whole messages are left out, nothing is changed; the offsets in the accounts are those of the cut files.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
HEADER = 6
LARGEST_PING = 1_000
MOST = {("DRAW_COPY", "c02"): 8, ("DRAW_COPY", "c10"): 5, ("DATA", "c04"): 30, ("DATA", "c08"): 30}
"""How many messages of a name are kept of a connection and direction."""


def cut(account: Path) -> None:
    """Cut one connection."""
    connection = account.name.split(".")[0]
    first, *lines = account.read_text().splitlines()
    server = first.split()[1]
    kept: dict[tuple[str, str], int] = {}
    output = [first]
    cut_streams: dict[str, bytearray] = {}
    for line in lines:
        found = re.fullmatch(r"(\s*\S+ (c2s|s2c) (\S+)\s+(\d+) @)(\d+)", line)
        assert found is not None, line
        beginning, way, name, size, offset = found[1], found[2], found[3], int(found[4]), int(found[5])
        stream = (account.parent / f"{connection}-{server}.{way}").read_bytes()
        if way not in cut_streams:
            cut_streams[way] = bytearray(stream[: offset - HEADER])
        kept[way, name] = kept.get((way, name), 0) + 1
        if kept[way, name] > MOST.get((name, connection), 1_000_000) or (name == "PING" and size > LARGEST_PING):
            continue
        cut_streams[way] += stream[offset - HEADER : offset + size]
        output.append(f"{beginning}{len(cut_streams[way]) - size}")
    (HERE / account.name).write_text("\n".join(output) + "\n")
    for way, data in cut_streams.items():
        (HERE / f"{connection}-{server}.{way}").write_bytes(data)


if __name__ == "__main__":
    for path in sorted(Path(sys.argv[1]).glob("c*.messages.txt")):
        cut(path)
