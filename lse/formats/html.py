"""One HTML page that needs nothing else, to read offline and to print: parameters, charts, and the table."""

import base64
import hashlib
from html import escape

from lse.formats import Cell, Table, number_columns, plain, statements, visible
from lse.formats._charts import charts

_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em; color: #222; }
dl { display: grid; grid-template-columns: max-content auto; gap: 0 1em; }
dt, figcaption { font-weight: 600; } dd { margin: 0; } figure { margin: 1.5em 0; break-inside: avoid; }
table { border-collapse: collapse; } th, td { padding: .2em .6em; border-bottom: 1px solid #ddd; }
th, td { text-align: left; vertical-align: top; overflow-wrap: anywhere; white-space: pre-wrap; }
.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
svg { max-width: 100%; height: auto; font-size: 12px; } .axis { stroke: #999; }
path { fill: none; stroke-width: 2; }
.s0 { fill: #1f5fa8; color: #1f5fa8; } .s1 { fill: #c2571a; color: #c2571a; }
.s2 { fill: #2e7d4f; color: #2e7d4f; } .s3 { fill: #7b3f98; color: #7b3f98; }
path.s0, path.s1, path.s2, path.s3 { fill: none; stroke: currentColor; }
@media print { body { margin: 0; max-width: none; } thead { display: table-header-group; }
  tr { break-inside: avoid; } * { print-color-adjust: exact; } }
"""
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
<dl>
{_about(table)}{charts(table)}{_table(table)}</body>
</html>
"""


def _about(table: Table) -> str:
    """What the rows are about, coverage among it."""
    lines = "".join(f"<dt>{_text(name)}</dt><dd>{_text(said)}</dd>\n" for name, said in statements(table))
    return f"<dl>\n{lines}</dl>\n"


def _table(table: Table) -> str:
    kinds = [' class="n"' if number else "" for number in number_columns(table)]
    head = "".join(f"<th{kind}>{_text(name)}</th>" for kind, name in zip(kinds, table.columns, strict=True))
    rows = (
        "".join(f"<td{kind}>{_text(cell)}</td>" for kind, cell in zip(kinds, row, strict=True))
        for row in table.rows
    )
    body = "".join(f"<tr>{row}</tr>\n" for row in rows)
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n"


def _text(cell: Cell) -> str:
    return escape(visible(plain(cell)))
