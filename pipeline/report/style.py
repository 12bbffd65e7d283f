"""What all pages look like, in light and dark: CSS."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --ink:#1d2329; --soft:#5b6570; --line:#d5dae0; --page:#f6f7f9;
  --card:#fff; --tint:0,114,178; }
@media (prefers-color-scheme: dark) { :root { --ink:#e4e8ec; --soft:#9aa5b1; --line:#363d45;
  --page:#14171a; --card:#1d2126; --tint:86,180,233; } }
* { box-sizing: border-box; }
body { margin:0; background:var(--page); color:var(--ink);
  font:16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width:1240px; margin:0 auto; padding:1.25rem clamp(.75rem, 3vw, 2rem) 3rem; }
h1 { font-size:1.6rem; line-height:1.2; margin:.25rem 0 .25rem; overflow-wrap:anywhere; }
h2 { font-size:1.25rem; margin:2.25rem 0 .75rem; }
h3 { font-size:1rem; margin:0; }
.note, .missing, .lead { color:var(--soft); margin:.15rem 0 .75rem; max-width:75ch; }
figcaption .note { font-size:.875rem; margin-bottom:.35rem; }
.missing { border-left:3px solid var(--line); padding-left:.75rem; }
.summary { display:grid; grid-template-columns:repeat(auto-fit, minmax(min(100%, 13rem), 1fr));
  gap:.75rem; margin:1rem 0; }
.summary div, figure, .scroll, details { background:var(--card); border:1px solid var(--line);
  border-radius:8px; }
.summary div { padding:.5rem .75rem; }
dt { color:var(--soft); font-size:.875rem; }
dd { margin:0; overflow-wrap:anywhere; }
.charts { display:grid; grid-template-columns:repeat(auto-fit, minmax(min(100%, 30rem), 1fr));
  gap:1rem; margin-bottom:1rem; }
.charts.small { grid-template-columns:repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); }
.charts.wide { grid-template-columns:minmax(0, 1fr); }
.charts.wide figure { overflow-x:auto; } .charts.wide .plot { min-width:50rem; }
.key { display:flex; flex-wrap:wrap; gap:.1rem 1.1rem; list-style:none; margin:.25rem 0 .75rem;
  padding:0; font-size:.9375rem; }
.key i { display:inline-block; width:1.75rem; margin-right:.4rem; vertical-align:middle; }
.findings { list-style:none; padding:0; margin:.25rem 0 1rem; }
.findings li { border-left:4px solid var(--line); padding:.15rem .75rem; margin:.35rem 0;
  max-width:95ch; overflow-wrap:anywhere; }
.findings .wrong { border-color:#D55E00; } .findings .healthy { border-color:#009E73; }
.findings .unchecked { color:var(--soft); }
figure { margin:0; padding:.75rem; min-width:0; display:flex; flex-direction:column;
  justify-content:space-between; }
section > h3 { margin:1.5rem 0 .25rem; }
.plot { width:100%; }
.scroll { overflow-x:auto; margin:0 0 1rem; }
table { border-collapse:collapse; width:100%; font-size:.9375rem;
  font-variant-numeric:tabular-nums; }
th, td { padding:.4rem .65rem; text-align:left; white-space:nowrap;
  border-top:1px solid var(--line); }
thead th { border-top:0; color:var(--soft); font-weight:600; }
tbody th { font-weight:600; position:sticky; left:0; background:var(--card); }
.number { text-align:right; }
.shaded { text-align:center; }
td.shaded { background:rgba(var(--tint), calc(var(--shade) * .6)); }
thead button { font:inherit; color:inherit; background:none; border:0; padding:0; cursor:pointer; }
thead button::after { content:" \\2195"; opacity:.5; }
th[aria-sort=ascending] button::after { content:" \\2191"; opacity:1; }
th[aria-sort=descending] button::after { content:" \\2193"; opacity:1; }
details { padding:.6rem .9rem; margin-bottom:1rem; } summary { cursor:pointer; }
pre { overflow-x:auto; font-size:.8125rem; } code { font-size:.875rem; overflow-wrap:anywhere; }
.commands dd { margin:0 0 .5rem; }
.prose td { white-space:normal; }
.answer { max-width:90ch; margin:.5rem 0; }
"""
