"""The look of the HTML report: quiet, readable in light, dark and on paper; no outside resource."""

CSS = """
:root { color-scheme: light dark; --paper:#f6f7f9; --card:#ffffff; --ink:#17202b; --soft:#5c6875;
  --line:#dfe4ea; --cell:#f1f4f7; --heat:#174a86; --miss:#b4552d; --on:#ffffff; --accent:#1f5fa8;
  --span:#a9c6e8; --warn:#8a4b00; --warnback:#fff4e0; --warnline:#f0c987; --muted:#9aa6b2; }
@media (prefers-color-scheme: dark) { :root { --paper:#10151b; --card:#182029; --ink:#e7ecf1;
  --soft:#9eabb8; --line:#2c3743; --cell:#1f2933; --heat:#79b4f2; --miss:#eb9a6f; --on:#0c1620;
  --accent:#79b4f2; --span:#35567c; --warn:#ffd08a; --warnback:#33270f; --warnline:#6b5120;
  --muted:#6f7d8b; } }
* { box-sizing: border-box; }
body { margin:0; background:var(--paper); color:var(--ink);
  font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif; }
main { max-width:1120px; margin:0 auto; padding:40px 28px 56px; }
h1 { font-size:30px; line-height:1.2; margin:0 0 6px; letter-spacing:-.01em; }
h2 { font-size:17px; margin:0 0 14px; }
p { margin:0 0 10px; } .soft { color:var(--soft); font-size:13.5px; }
.below { margin-top:14px; } section > :last-child { margin-bottom:0; }
.chips { display:flex; flex-wrap:wrap; gap:8px; margin:14px 0 22px; padding:0; list-style:none; }
.chips li { border:1px solid var(--line); background:var(--card); border-radius:999px;
  padding:3px 12px; font-size:13px; color:var(--soft); } .chips b { color:var(--ink); }
.note { border:1px solid var(--warnline); border-left-width:5px; background:var(--warnback);
  color:var(--warn); border-radius:8px; padding:10px 16px; margin:0 0 14px; font-weight:600; }
.heroes { display:grid; grid-template-columns:repeat(auto-fit,minmax(190px,1fr)); gap:16px;
  margin-bottom:18px; }
.hero { background:var(--card); border:1px solid var(--line); border-radius:12px;
  padding:16px 20px; }
.hero .what { color:var(--soft); font-size:13px; } .hero .range { font-size:13.5px; }
.hero .value { font-size:34px; font-weight:650; letter-spacing:-.02em; line-height:1.25;
  font-variant-numeric:tabular-nums; }
.hero.first .value { color:var(--accent); }
.grid2 { display:grid; grid-template-columns:repeat(auto-fit,minmax(min(430px,100%),1fr));
  gap:18px; align-items:stretch; margin-bottom:18px; }
section { background:var(--card); border:1px solid var(--line); border-radius:12px;
  padding:20px 24px; margin-bottom:18px; min-width:0; } .grid2 section { margin:0; }
.grid2.inner { margin:0; align-items:center; }
.scroll { overflow-x:auto; }
table { border-collapse:collapse; width:100%; font-variant-numeric:tabular-nums; }
th { text-align:right; font-weight:600; color:var(--soft); font-size:13px; white-space:nowrap; }
td { text-align:right; white-space:nowrap; }
th, td { padding:7px 12px; border-bottom:1px solid var(--line); }
tr:last-child td { border-bottom:0; } .word { text-align:left; } td.lead { font-weight:600; }
tr > :first-child { padding-left:0; } tr > :last-child { padding-right:0; }
pre { background:var(--cell); border-radius:8px; padding:12px 16px; overflow-x:auto;
  white-space:pre-wrap; overflow-wrap:anywhere; margin:0 0 14px; }
pre, code { font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace; }
dl { display:grid; grid-template-columns:max-content 1fr; gap:4px 20px; margin:0; }
dt { color:var(--soft); } dd { margin:0; overflow-wrap:anywhere; }
svg { display:block; height:auto; width:100%; } svg.figure { margin:0 auto; }
svg.strip { width:220px; }
svg text { fill:var(--ink); font-size:13px; } .middle { text-anchor:middle; }
.end { text-anchor:end; } svg .tick { fill:var(--soft); font-size:12px; }
svg .strong { fill:var(--accent); font-weight:600; }
.grid { stroke:var(--line); } .axis { stroke:var(--muted); }
.cell { fill:var(--cell); } .heat { fill:var(--miss); } .heat.right { fill:var(--heat); }
svg .cellbig { font-size:16px; font-weight:600; } svg .cellsmall { font-size:11px; }
svg .on { fill:var(--on); }
.bar { fill:var(--span); } .whisker { stroke:var(--ink); stroke-width:1.4; }
.mean { stroke:var(--accent); stroke-width:1.5; stroke-dasharray:5 4; }
.unit { fill:none; stroke:var(--muted); stroke-width:1; opacity:.55; }
.average { fill:none; stroke:var(--accent); stroke-width:2.5; stroke-linejoin:round; }
.best { fill:var(--accent); stroke:var(--card); stroke-width:1.5; }
.point { fill:var(--muted); }
.ideal { stroke:var(--muted); stroke-dasharray:4 4; } .line { fill:none; stroke-width:1.6; }
.line.before { stroke:var(--miss); } .line.after { stroke:var(--heat); }
.dot { stroke:var(--card); stroke-width:1.2; } .dot.before { fill:var(--miss); }
.dot.after { fill:var(--heat); }
.span { fill:var(--span); } .at { fill:var(--accent); }
.curve0, .curve1, .curve2 { fill:none; stroke-width:2; stroke:var(--accent); }
.curve1 { stroke:var(--miss); stroke-dasharray:7 3; }
.curve2 { stroke:var(--muted); stroke-dasharray:2 3; }
.band0, .band1, .band2 { fill:var(--accent); opacity:.16; } .band1 { fill:var(--miss); }
.band2 { fill:var(--muted); }
.chance { stroke:var(--miss); stroke-width:2; }
.key { display:inline-block; width:10px; height:10px; border-radius:5px; margin:0 5px 0 12px; }
.key.before { margin-left:0; } .large { font-size:30px; font-weight:650; }
.key.before { background:var(--miss); } .key.after { background:var(--heat); }
footer { color:var(--soft); font-size:13px; margin-top:22px; }
@media print { @page { margin:14mm; }
  :root { color-scheme:light; --paper:#fff; --card:#fff; --ink:#17202b; --soft:#4c5864;
    --line:#d5dbe1; --cell:#f1f4f7; --heat:#174a86; --miss:#b4552d; --on:#fff; --accent:#1f5fa8;
    --span:#a9c6e8; --warn:#8a4b00; --warnback:#fff4e0; --warnline:#f0c987; --muted:#9aa6b2; }
  body { font-size:11px; } main { max-width:none; padding:0; }
  * { print-color-adjust:exact; -webkit-print-color-adjust:exact; }
  section, .hero, .note { break-inside:avoid; } section.long { break-inside:auto; }
  h2 { break-after:avoid; } .scroll { overflow:visible; } th, td { padding:4px 7px; }
  th, .soft, .chips li, .hero .what, .hero .range { font-size:10.5px; } h1 { font-size:22px; }
  h2 { font-size:13px; } section { padding:12px 16px; margin-bottom:10px; }
  .hero { padding:8px 12px; } .hero .value { font-size:20px; } svg.strip { width:80px; }
  .heroes { grid-template-columns:repeat(4,1fr); gap:8px; margin-bottom:10px; }
  .grid2 { grid-template-columns:1fr 1fr; gap:10px; margin-bottom:10px; } }
"""
