"""What a validation report adds to the style sheet of pages: the verdict, bars, and colours of yes and no.

`SVG_STYLE` is for PDF alone, whose drawings don't see the page's style sheet.
"""

from __future__ import annotations

REPORT_STYLE = """
:root { --good: #1c6e3d; --bad: #a3271b; --good-band: #e2f0e6; --bad-band: #f8e3df; --second: #7a5ea8; }
@media (prefers-color-scheme: dark) { :root {
  --good: #7fd19b; --bad: #f29386; --good-band: #17301f; --bad-band: #3a1c18; --second: #bda6e6; } }
main { max-width: 50rem; }
.verdict { border-left: 5px solid; padding: .9rem 1.1rem; margin: 1.4rem 0; border-radius: 0 6px 6px 0; }
.verdict strong { display: block; font-size: 1.5rem; line-height: 1.25; letter-spacing: -.01em; }
.verdict.yes { border-color: var(--good); background: var(--good-band); } .verdict.yes strong { color: var(--good); }
.verdict.no { border-color: var(--bad); background: var(--bad-band); } .verdict.no strong { color: var(--bad); }
.facts { grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); }
h2 { margin-top: 2.6rem; }
figure svg { max-width: 34rem; margin: 0; } figure.whole svg { max-width: none; }
.two { display: grid; gap: 1rem 2rem; } @media (min-width: 46rem) { .two { grid-template-columns: 1fr 1fr; } }
td.no, th.no { color: var(--bad); font-weight: 600; }
.digest { font: .8em/1.5 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
table.log td, table.log th { font-size: .88rem; }
svg .good { fill: var(--accent); } svg .bad { fill: var(--bad); } svg .room { fill: var(--grid); }
svg .second { fill: none; stroke: var(--second); stroke-width: 2.2; stroke-linejoin: round; stroke-dasharray: 7 4; }
svg .dot2 { fill: var(--second); } svg .whisker { stroke: var(--ink); stroke-width: 1.2; }
svg .limit { stroke: var(--ink); stroke-width: 1.2; stroke-dasharray: 3 3; }
svg .box { fill: var(--panel); stroke: var(--rule); stroke-width: 1; }
svg .flow { stroke: var(--soft); stroke-width: 1.2; fill: none; } svg .tip { fill: var(--soft); }
@media print { :root { --good: #14572f; --bad: #8f2117; --good-band: #e8f3eb; --bad-band: #f9e7e4; --second: #5f4691; }
  main { max-width: none; } .verdict { break-inside: avoid; print-color-adjust: exact; }
  .two { display: block; } figure { margin: 0 0 .8rem; } figure svg { max-width: 12.5cm; }
  figure.whole svg { max-width: 16cm; } table.log { font-size: 8.5pt; } table.long { break-inside: auto; }
  tr { break-inside: avoid; } thead { display: table-header-group; }
  .scroll { overflow: visible; } }
"""

SVG_STYLE = """text{font:12px "DejaVu Sans",Helvetica,Arial,sans-serif;fill:#4a4a4a}.strong{fill:#000;font-weight:600}
.marked{fill:#a3480f;font-weight:600}.grid{stroke:#ddd;stroke-width:1}.axis{stroke:#4a4a4a;stroke-width:1}
.line{fill:none;stroke:#0b6a6d;stroke-width:2.2}.even{fill:none;stroke:#4a4a4a;stroke-width:1.2;stroke-dasharray:4 4}
.area{fill:#dcebea}.dot{fill:#0b6a6d}.mark{stroke:#a3480f;stroke-width:1.4}.release{fill:#a3480f}.spent{fill:#a3480f}
.left{fill:#cfe5e3}.good{fill:#0b6a6d}.bad{fill:#8f2117}.room{fill:#e4e4e4}.dot2{fill:#5f4691}
.second{fill:none;stroke:#5f4691;stroke-width:2.2;stroke-dasharray:7 4}.whisker{stroke:#000;stroke-width:1.2}
.limit{stroke:#000;stroke-width:1.2;stroke-dasharray:3 3}.box{fill:#f6f6f6;stroke:#ccc;stroke-width:1}
.flow{stroke:#4a4a4a;stroke-width:1.2;fill:none}.tip{fill:#4a4a4a}"""
