"""How the status page looks, and the little it does by itself in a browser. Pure."""

import base64
import hashlib

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --paper: #fff; --line: #d0d7de;
  --shade: #f3f5f7; --link: #0550ae; --good: #1a7f37; --bad: #b42318; --mind: #8a5a00; --badpaper: #fff1f0;
  --mindpaper: #fff8e6; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --soft: #9aa5b1; --paper: #10151b; --line: #333c47; --shade: #1a2129; --link: #79b8ff;
    --good: #4ac26b; --bad: #ff8d84; --mind: #e3b341; --badpaper: #33191a; --mindpaper: #2d2510; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1rem/1.5 system-ui, "Segoe UI", sans-serif;
  overflow-wrap: anywhere; }
header, main, footer { max-width: 70rem; margin: 0 auto; padding: 0 1rem; }
header { padding-top: 1rem; }
footer { padding: 1rem; color: var(--soft); border-top: 1px solid var(--line); margin-top: 2rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0; }
h2 { font-size: 1.2rem; line-height: 1.3; margin: 2rem 0 .5rem; padding-top: .25rem; }
h3 { font-size: 1rem; margin: 1rem 0 .25rem; }
p { margin: .25rem 0; max-width: 45rem; }
a { color: var(--link); }
a:focus-visible, summary:focus-visible, button:focus-visible {
  outline: 3px solid var(--link); outline-offset: 2px; }
button { font: inherit; color: inherit; background: var(--shade); border: 1px solid var(--soft);
  border-radius: .4rem; padding: .1rem .7rem; }
.soft, .facts { color: var(--soft); }
.box { border: 1px solid var(--mind); border-inline-start-width: .4rem; background: var(--mindpaper);
  border-radius: .4rem; padding: .5rem .9rem; margin: 1rem 0; }
.box.bad { border-color: var(--bad); background: var(--badpaper); }
.box h2 { margin: 0; padding: 0; }
.counts { list-style: none; display: flex; flex-wrap: wrap; gap: .5rem; margin: 1rem 0 0; padding: 0; }
.counts a { display: block; border: 1px solid var(--line); background: var(--shade); border-radius: .4rem;
  padding: .3rem .8rem; text-decoration: none; color: var(--ink); }
.counts a:hover { border-color: var(--link); }
.counts b { font-size: 1.25rem; margin-inline-end: .3rem; font-variant-numeric: tabular-nums; }
.counts .good b { color: var(--good); }
.counts .bad b { color: var(--bad); }
.counts .mind b { color: var(--mind); }
.cases { list-style: none; margin: .5rem 0 0; padding: 0; border-top: 1px solid var(--line); }
.cases li { border-bottom: 1px solid var(--line); padding: .55rem 0; }
.cases strong { font-weight: 600; }
.facts { font-size: .9rem; font-variant-numeric: tabular-nums; }
.why { max-width: 60rem; }
progress { width: 100%; height: .8rem; accent-color: var(--link); display: block; margin: .3rem 0; }
details { margin: .5rem 0; }
summary { cursor: pointer; padding: .2rem 0; width: fit-content; }
.charts { display: grid; gap: 1rem 3rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 18rem), 1fr)); }
figure { margin: 0; max-width: 30rem; }
figcaption { color: var(--soft); }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--soft); font-size: 10px; }
.bar { fill: var(--link); }
.bar.bad { fill: var(--bad); }
.axis { stroke: var(--soft); }
table { border-collapse: collapse; max-width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem 1rem .3rem 0; text-align: start;
  vertical-align: top; }
tbody th { font-weight: 600; }
.number { text-align: end; font-variant-numeric: tabular-nums; }
.wanted { width: 100%; }
.wanted thead th, .wanted td:last-child { overflow-wrap: normal; }
.wanted tbody th { min-width: 7.5rem; }
code, pre { font-family: ui-monospace, Consolas, monospace; font-size: .9rem; }
pre { background: var(--shade); border: 1px solid var(--line); border-radius: .4rem; padding: .6rem .9rem;
  white-space: pre-wrap; max-width: 45rem; }
@media (max-width: 30rem) { .wanted th, .wanted td { padding-inline-end: .5rem; } }
@media (min-width: 50rem) {
  .cases li { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 3fr); gap: 0 1.5rem; }
}
@media (prefers-reduced-motion: reduce) { * { animation: none !important; transition: none !important; } }
@media print {
  :root { color-scheme: light; --ink: #000; --soft: #333; --paper: #fff; --shade: #fff; --link: #000; }
  button, .counts, #down { display: none; }
  .cases li, figure, tr { break-inside: avoid; }
  .cases a::after { content: " " attr(href); }
}
"""

SCRIPT = """
"use strict";
const seen = Number(document.body.dataset.seen), stopped = "stopped" in document.body.dataset;
const all = (what) => [...document.querySelectorAll(what)];
const about = (s) => s < 90 ? Math.round(s) + " s" : s < 5400 ? Math.round(s / 60) + " min"
  : s < 172800 ? Math.round(s / 3600) + " h" : Math.round(s / 86400) + " days";
const key = "casedrop " + location.pathname;
let kept = {};
try { kept = JSON.parse(sessionStorage.getItem(key)) || {}; } catch { kept = {}; }
function tell() {
  const now = Date.now() / 1000, age = Math.max(0, now - seen);
  document.getElementById("age").textContent = " (" + about(age) + " ago)";
  document.getElementById("down").hidden = stopped || age < 180;
  for (const one of all("[data-until]")) {
    const left = one.dataset.until - now;
    one.textContent = left > 0 ? " (in " + about(left) + ")" : " (any moment now)";
  }
}
function name(one) { return one.tagName === "SUMMARY" ? one.parentElement.id : one.id || one.href; }
function keep() {
  const at = document.activeElement;
  kept.open = all("details[open]").map((one) => one.id);
  kept.focus = at && at !== document.body ? name(at) : "";
  try { sessionStorage.setItem(key, JSON.stringify(kept)); } catch { /* then it is forgotten */ }
}
function reload() {
  if (!kept.still && !document.hidden && getSelection().isCollapsed) { keep(); location.reload(); }
}
function label() {
  document.getElementById("refresh").textContent = kept.still ? "Refresh by itself again" : "Stop refreshing";
}
for (const one of all("time")) {
  const when = new Date(one.dateTime), today = when.toDateString() === new Date().toDateString();
  one.textContent = when.toLocaleString([], { dateStyle: today ? undefined : "medium", timeStyle: "short" });
}
for (const id of kept.open || []) { const one = document.getElementById(id); if (one) one.open = true; }
if (kept.focus) {
  const one = all("a, button, summary").find((each) =>
    name(each) === kept.focus);
  if (one) one.focus({ preventScroll: true });
}
const button = document.getElementById("refresh");
button.hidden = false;
button.addEventListener("click", () => { kept.still = !kept.still; keep(); label(); });
label();
tell();
setInterval(tell, 1000);
setInterval(reload, 15000);
"""
"""Times in the reader's own zone, how long ago and until, and a refresh that keeps what is open and focused."""


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


POLICY = (
    f"default-src 'none'; style-src {_hash(STYLE)}; script-src {_hash(SCRIPT)}; base-uri 'none'; "
    "form-action 'none'"
)
"""The page asks nothing of anywhere, and runs nothing but what stands here."""
