"""One HTML page that needs nothing else, to read offline and to print: parameters, charts, and the table."""

import base64
import hashlib
from html import escape

from lse.formats import Cell, Table, number_columns, plain, statements, visible
from lse.formats._charts import charts

_STYLE = """
:root { color-scheme: light dark; --page: #fff; --text: #222; --soft: #5f6570; --line: #d8dbe0;
  --grid: #e9ebee; --s0: #1f5fa8; --s1: #c2571a; --s2: #2e7d4f; --s3: #7b3f98; }
@media screen and (prefers-color-scheme: dark) { :root { --page: #16181c; --text: #e4e6ea; --soft: #a0a7b3;
  --line: #3a3f48; --grid: #2a2e35; --s0: #6ea8f0; --s1: #f0975a; --s2: #6fc793; --s3: #c58be0; } }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; padding: 0 1.2em;
  background: var(--page); color: var(--text); }
h1 { font-size: 1.6em; margin: 0; } p { margin: .2em 0 1em; color: var(--soft); }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .1em 1em; margin: 0 0 1.5em; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
figure { margin: 1.5em 0; overflow-x: auto; break-inside: avoid; }
figcaption { font-weight: 600; margin-bottom: .4em; }
svg { display: block; min-width: 600px; max-width: 100%; height: auto; font-size: 12px; }
text { fill: var(--soft); } path { stroke-width: 1.5; } .grid { stroke: var(--grid); stroke-width: 1; }
.s0 { fill: var(--s0); stroke: var(--s0); } .s1 { fill: var(--s1); stroke: var(--s1); }
.s2 { fill: var(--s2); stroke: var(--s2); } .s3 { fill: var(--s3); stroke: var(--s3); }
path[class^=s] { fill: none; } rect, circle { stroke: none; }
div { overflow-x: auto; } table { border-collapse: collapse; font-size: .9em; }
th, td { padding: .25em .7em; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { border-bottom-width: 2px; white-space: nowrap; } tbody tr:hover { background: var(--grid); }
td { overflow-wrap: anywhere; white-space: pre-wrap; min-width: 13em; }
.k, .n { white-space: nowrap; min-width: 0; } .n { text-align: right; font-variant-numeric: tabular-nums; }
@page { margin: 14mm; }
@media print { body { margin: 0; padding: 0; font-size: 10px; } div, figure { overflow: visible; }
  td { min-width: 0; } .k { white-space: pre-wrap; }
  thead { display: table-header-group; } tr { break-inside: avoid; } * { print-color-adjust: exact; } }
"""
_SHORT = 32
"""Characters that stay on one line on a screen: a time does, an id takes two"""
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'"
"""Nothing is loaded, run or sent; only the style above counts."""


def render(table: Table) -> str:
    """The page. Every text of the table is escaped, and without characters that reverse the writing."""
    title = _text(str((table.about or {}).get("report") or "Report"))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{title}</h1>
{_about(table)}{charts(table)}{_table(table)}</body>
</html>
"""


def _about(table: Table) -> str:
    """What the rows are about, coverage among it."""
    about = dict(table.about or {})
    about.pop("report", None)
    days = " to ".join(dict.fromkeys(filter(None, (about.pop("start", None), about.pop("end", None)))))
    scope = f"<p>{days} (UTC), {_text(about.pop('project') or 'all projects')}</p>\n" if days else ""
    rest = "".join(f"<dt>{_text(name)}</dt><dd>{_text(said)}</dd>\n" for name, said in statements(about))
    return f"{scope}<dl>\n{rest}</dl>\n" if rest else scope


def _table(table: Table) -> str:
    kinds = [f' class="{kind}"' if kind else "" for kind in _kinds(table)]
    head = "".join(f"<th{kind}>{_text(name)}</th>" for kind, name in zip(kinds, table.columns, strict=True))
    rows = (
        "".join(f"<td{kind}>{_text(cell)}</td>" for kind, cell in zip(kinds, row, strict=True))
        for row in table.rows
    )
    body = "".join(f"<tr>{row}</tr>\n" for row in rows)
    return f"<div><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table></div>\n"


def _kinds(table: Table) -> list[str]:
    """`n` for columns of numbers, `k` for those that are short enough for one line."""
    return [
        "n" if number else "k" if all(len(plain(row[place])) <= _SHORT for row in table.rows) else ""
        for place, number in enumerate(number_columns(table))
    ]


def _text(cell: Cell) -> str:
    return escape(visible(plain(cell)))
