"""A self-contained HTML page of a timeline: figures, pictures, explanations, phases and every record."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from spicehop.trace.analysis import Migration, migrations
from spicehop.trace.diagnosis import explain
from spicehop.trace.events import meaning
from spicehop.trace.picture import key_figures, migration_svg
from spicehop.trace.record import Record
from spicehop.trace.text import detail_text

_STYLE = """
:root{color-scheme:light dark;--ink:#14202e;--soft:#5a6b7d;--paper:#ffffff;--back:#f2f5f8;--rule:#d9e0e8;--tint:#f5f7fa}
@media (prefers-color-scheme:dark){
:root{--ink:#e8eef5;--soft:#9db0c4;--paper:#10161e;--back:#0a0f15;--rule:#2c3947;--tint:#161e28}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);
font:15px/1.5 ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1240px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:24px;margin:0 0 4px;letter-spacing:-.01em}
.about{color:var(--soft);margin:0 0 22px}
section{background:var(--paper);border:1px solid var(--rule);border-radius:12px;padding:22px 24px;margin:0 0 22px}
h2{font-size:18px;margin:0 0 14px}
dl{display:flex;flex-wrap:wrap;gap:10px 34px;margin:0 0 18px}
dl div{min-width:96px}dt{font-size:12.5px;color:var(--soft)}
dd{margin:0;font-size:19px;font-weight:600;font-variant-numeric:tabular-nums}
ul{margin:0 0 18px;padding-left:20px}
.chart{overflow-x:auto;margin:0 -24px}
.chart svg{display:block;width:100%;min-width:900px;height:auto}
details{margin-top:14px}summary{cursor:pointer;color:var(--soft)}
table{border-collapse:collapse;width:100%;margin-top:10px;font-size:13px}
th{text-align:left;font-weight:600;color:var(--soft);border-bottom:1px solid var(--rule);padding:5px 14px 5px 0}
td{padding:4px 14px 4px 0;border-bottom:1px solid var(--tint);vertical-align:top}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.d{color:var(--soft);overflow-wrap:anywhere;font-size:12.5px}
code{font:12.5px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.scroll{overflow-x:auto}
"""


def html(records: Iterable[Record], *, title: str = "Migration timeline") -> str:
    """The page as text. It loads nothing, runs no script, and follows the reader's light or dark setting."""
    ordered = sorted(records, key=lambda record: record.time)
    found = migrations(ordered)
    parties = ", ".join(dict.fromkeys(record.party for record in ordered))
    count = "1 migration" if len(found) == 1 else f"{len(found)} migrations"
    about = (
        f"{count}, {len(ordered)} records of {parties}. One machine's monotonic clock." if ordered else "No records."
    )
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>",
        f'<h1>{escape(title)}</h1><p class="about">{escape(about)}</p>',
    ]
    parts += [_section(migration, several=len(found) > 1) for migration in found]
    if not found:
        parts.append("<section><p>There is no migration in this trace.</p>" + _records(ordered) + "</section>")
    parts.append("</main></body></html>")
    return "\n".join(parts) + "\n"


def _section(migration: Migration, *, several: bool) -> str:
    heading = f"<h2>Migration {migration.number}</h2>" if several else ""
    figures = "".join(
        f"<div><dt>{escape(what)}</dt><dd>{escape(figure)}</dd></div>" for what, figure in key_figures(migration)
    )
    sentences = "".join(f"<li>{escape(sentence)}</li>" for sentence in explain(migration.records))
    chart = f'<div class="chart">{migration_svg(migration)}</div>'
    tables = _phases(migration) + _records(migration.records)
    return f"<section>{heading}<dl>{figures}</dl><ul>{sentences}</ul>{chart}{tables}</section>"


def _phases(migration: Migration) -> str:
    rows = "".join(
        f"<tr><td>{escape(p.label)}</td><td>{escape(p.channel)}</td>"
        f'<td class="n">{(p.start - migration.begin) * 1000:.1f}</td><td class="n">{p.duration * 1000:.1f}</td></tr>'
        for p in sorted(migration.phases, key=lambda phase: (phase.start, phase.end))
    )
    head = '<tr><th>phase</th><th>channel</th><th class="n">begins, ms</th><th class="n">takes, ms</th></tr>'
    return f'<details><summary>Phases</summary><div class="scroll"><table>{head}{rows}</table></div></details>'


def _records(records: Iterable[Record]) -> str:
    ordered = list(records)
    if not ordered:
        return ""
    begin = ordered[0].time
    rows = "".join(
        f'<tr><td class="n">{(r.time - begin) * 1000:.1f}</td><td>{escape(r.party)}</td><td>{escape(r.channel)}</td>'
        f'<td title="{escape(meaning(r.event))}"><code>{escape(r.event)}</code></td>'
        f'<td class="d">{escape(detail_text(r.detail))}</td></tr>'
        for r in ordered
    )
    head = '<tr><th class="n">ms</th><th>party</th><th>channel</th><th>event</th><th>detail</th></tr>'
    summary = f"<summary>All {len(ordered)} records</summary>"
    return f'<details>{summary}<div class="scroll"><table>{head}{rows}</table></div></details>'
