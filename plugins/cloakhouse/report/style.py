"""The style sheet of pages for people: one column of text, system fonts, light and dark, on a phone and on paper."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark;
  --paper: #fcfbf8; --ink: #1b2330; --soft: #5a6472; --rule: #dcd8cf; --panel: #f3f0e9;
  --accent: #0b6a6d; --band: #cfe5e3; --warm: #b0521b; --grid: #e4e0d7; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #12161c; --ink: #e6eaf0; --soft: #a3adba; --rule: #2e3641; --panel: #1a2029;
  --accent: #6cc5c1; --band: #1f3d40; --warm: #eb9a62; --grid: #29313b; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink); overflow-wrap: anywhere;
  font: 1.0625rem/1.6 Charter, "Bitstream Charter", "Sitka Text", Cambria, Georgia, serif; }
main { max-width: 41rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: clamp(1.8rem, 6vw, 2.6rem); line-height: 1.12; margin: 0 0 .6rem; font-weight: 600;
  letter-spacing: -.015em; text-wrap: balance; }
h2 { font-size: 1.4rem; line-height: 1.25; margin: 3rem 0 .7rem; font-weight: 600; letter-spacing: -.005em; }
h3 { font: 600 .95rem/1.4 system-ui, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; margin: 1.6rem 0 .3rem; }
p, ul, dl, figure, table { margin: 0 0 1rem; }
ul { padding-left: 1.15rem; } li { margin-bottom: .55rem; } li::marker { color: var(--accent); }
.kicker, dt, th, caption, figcaption, .foot, text
  { font-family: system-ui, "Segoe UI", Roboto, Helvetica, Arial, "DejaVu Sans", sans-serif; }
.kicker { color: var(--accent); font-size: .82rem; font-weight: 600; letter-spacing: .02em; margin: 0 0 .5rem; }
.purpose { color: var(--soft); font-size: 1.1rem; }
.facts { display: grid; grid-template-columns: 1fr 1fr; gap: 1.1rem 1.5rem;
  border-top: 2px solid var(--ink); padding-top: 1.1rem; margin: 1.8rem 0 1.4rem; }
.facts div { min-width: 0; } .facts .wide { grid-column: 1 / -1; }
dt { color: var(--soft); font-size: .8rem; } dd { margin: 0; }
.facts .big dd { font-size: clamp(1.7rem, 7vw, 2.5rem); line-height: 1.15; font-weight: 600; letter-spacing: -.02em; }
.lead { font-size: 1.2rem; line-height: 1.5; border-left: 3px solid var(--accent); padding-left: 1rem; }
.warn { border-left-color: var(--warm); }
code, pre { font: .88em/1.5 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
pre { background: var(--panel); border: 1px solid var(--rule); border-radius: 4px; padding: .7rem .9rem;
  margin: 0 0 1rem; white-space: pre-wrap; overflow-wrap: anywhere; }
.word { overflow-wrap: anywhere; }
sup { font-size: .7em; line-height: 0; }
table { border-collapse: collapse; width: 100%; font-size: .95rem; line-height: 1.35; overflow-wrap: break-word; }
caption { text-align: left; color: var(--soft); font-size: .82rem; line-height: 1.4; padding-bottom: .4rem; }
th { text-align: left; font-size: .8rem; font-weight: 600; color: var(--soft); vertical-align: bottom; }
th, td { padding: .4rem .8rem .4rem 0; border-bottom: 1px solid var(--rule); }
tbody th { color: inherit; font-weight: 400; font-size: .88rem; vertical-align: baseline; }
.n { text-align: right; font-variant-numeric: tabular-nums lining-nums; padding-right: .2rem; padding-left: .6rem; }
td.n { white-space: nowrap; }
tr.here > * { background: var(--band); }
.scroll { overflow-x: auto; }
figure svg { display: block; width: 100%; max-width: 30rem; height: auto; margin: 0 auto; }
figcaption { color: var(--soft); font-size: .82rem; line-height: 1.45; margin-top: .4rem; }
.pair { display: grid; gap: 1rem 2rem; }
@media (min-width: 46rem) { .pair.two { grid-template-columns: 1fr 1fr; margin-left: -3rem; margin-right: -3rem; } }
.foot { color: var(--soft); font-size: .82rem; border-top: 1px solid var(--rule); padding-top: 1rem; margin-top: 3rem; }
svg text { font-size: 12px; fill: var(--soft); } svg .strong { fill: var(--ink); font-weight: 600; }
svg .grid { stroke: var(--grid); stroke-width: 1; } svg .axis { stroke: var(--soft); stroke-width: 1; }
svg .line { fill: none; stroke: var(--accent); stroke-width: 2.2; stroke-linejoin: round; }
svg .even { fill: none; stroke: var(--soft); stroke-width: 1.2; stroke-dasharray: 4 4; }
svg .area { fill: var(--band); stroke: none; } svg .dot { fill: var(--accent); }
svg .mark { stroke: var(--warm); stroke-width: 1.4; }
svg .release { fill: var(--warm); stroke: var(--paper); stroke-width: 2; }
svg .spent { fill: var(--warm); } svg .left { fill: var(--band); } svg .marked { fill: var(--warm); font-weight: 600; }
@page { margin: 18mm 20mm; }
@media print {
  :root { color-scheme: light; --paper: #ffffff; --ink: #000000; --soft: #4a4a4a; --rule: #cccccc; --grid: #dddddd;
    --accent: #0b6a6d; --band: #dcebea; --warm: #a3480f; }
  body { font-size: 10.5pt; line-height: 1.45; } main { max-width: none; padding: 0; }
  h1 { font-size: 22pt; } h2 { margin-top: 1.6rem; break-after: avoid; } h3 { break-after: avoid; }
  figure, table, .facts, .lead { break-inside: avoid; } p, li { orphans: 3; widows: 3; }
  .pair.two { grid-template-columns: 1fr 1fr; margin: 0; } figure svg { max-width: 11cm; }
  svg *, tr.here > * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
