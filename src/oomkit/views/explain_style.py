"""The page's style sheet."""

CSS = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1c2429;--dim:#5d6b74;--line:#d9e0e4;--card:#f7f9fa;
--bad:#b3261e;--warn:#8a5a00;--trough:#e9eef1}
@media(prefers-color-scheme:dark){:root{--bg:#14191c;--fg:#e3e9ec;--dim:#93a1aa;--line:#2f3a40;
--card:#1b2226;--bad:#ff8a80;--warn:#ffca6b;--trough:#263036}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:68rem;padding:1.2rem;background:var(--bg);color:var(--fg);
font:15px/1.5 system-ui,"Segoe UI","DejaVu Sans",sans-serif;overflow-wrap:anywhere}
h1{font-size:1.35rem;margin:.2rem 0 1rem}
h2{font-size:1.1rem;margin:1.2rem 0 .4rem}
h3{font-size:.95rem;margin:1.1rem 0 .4rem}
p{margin:.3rem 0}
ul{margin:.3rem 0;padding-left:1.2rem}
.dim,footer{color:var(--dim);font-size:.87rem}
footer{margin-top:2rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.9rem}
caption{text-align:left;font-weight:600}
th,.num,.n{overflow-wrap:normal;white-space:nowrap}
td,th{padding:.2rem .6rem .2rem 0;text-align:left;border-bottom:1px solid var(--line);
vertical-align:top;font-weight:400}
th{color:var(--dim)}
.ranking th:not(:nth-child(2)):not(:last-child),.num{text-align:right;padding-right:1rem}
.when,.ranking td,.ranking th{white-space:nowrap}
.wide{overflow-x:auto}
.tables{display:flex;gap:2.5rem;flex-wrap:wrap;margin-top:1rem}
.report{background:var(--card);border:1px solid var(--line);border-radius:8px;
padding:.7rem 1.1rem;margin:1rem 0}
summary{font-weight:650;font-size:1.08rem;cursor:pointer}
.n{color:var(--dim)}
dl{display:grid;grid-template-columns:8rem 1fr;gap:.3rem 1rem;margin:.8rem 0}
dt{color:var(--dim)}
dd{margin:0}
dd ul{list-style:none;padding:0;margin:0;font-size:.92rem}
dd strong{font-weight:600}
.bar{display:block;width:100%;height:30px;border-radius:4px}
.thin{height:12px}
.small{width:9rem;height:10px}
.trough{fill:var(--trough)}
.legend{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:.15rem 1.4rem;font-size:.9rem}
.key{width:.75em;height:.75em;margin-right:.4em}
.findings li.cause{color:var(--bad);font-weight:600}
.findings li.odd{color:var(--warn)}
tr.killed td{color:var(--bad);font-weight:600}
.dead{font-size:.8em;border:1px solid currentColor;border-radius:3px;padding:0 .3em}
@media(max-width:40rem){dl{grid-template-columns:1fr}}
@media print{.report{break-inside:avoid}}
"""
