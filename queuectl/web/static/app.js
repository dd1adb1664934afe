// The script of the page. Everything works without it; with it the page is live.
//
// One EventSource brings the numbers, the news that something has changed, and the log that is
// shown. After a change the page is fetched again, and its [data-live] parts are replaced. So text
// from a job reaches the page only as HTML that the server has escaped, or as plain text.

const MIN_PAUSE = 1000; // ms between two refreshes
const MAX_LOG = 256 * 1024; // characters of the log that are kept
const LOG_PIECE = 16 * 1024; // characters in a block: when more text comes, only the last block is laid out again
const ANNOUNCE = 15000; // ms between two announcements of the numbers
const $ = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en-US");

// -- ages ------------------------------------------------------------------------------------

const two = (n) => String(n).padStart(2, "0");

function duration(s) {
  if (s < 1) return `${Math.max(Math.round(s * 1000), 0)}ms`;
  if (s < 10) return `${s.toFixed(1)}s`;
  s = Math.round(s);
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m${two(s % 60)}s`;
  if (s < 86400) return `${Math.floor(s / 3600)}h${two(Math.floor((s % 3600) / 60))}m`;
  return `${Math.floor(s / 86400)}d${two(Math.floor((s % 86400) / 3600))}h`;
}

function updateTimes() {
  if (document.hidden) return;
  for (const time of document.querySelectorAll("time[datetime]")) {
    const seconds = (Date.now() - Date.parse(time.dateTime)) / 1000;
    if (Number.isNaN(seconds)) continue;
    const text = seconds < 0 ? `in ${duration(-seconds)}` : `${duration(seconds)} ago`;
    if (time.textContent !== text) time.textContent = text;
  }
}

// -- parts that are replaced -----------------------------------------------------------------

let lastHtml = new Map();
let pressed = false;
let refreshing = false;
let again = false;
let nextAt = 0;
let timer = 0;
let shown = ""; // the address of the page in <main>, without its #part
let generation = 0; // of the page in <main>: an answer for an older one is dropped
let skipped = false; // a part was in use when it was due to change

function remember() {
  lastHtml = new Map();
  for (const part of document.querySelectorAll("[data-live]")) lastHtml.set(part.id, part.innerHTML);
}

function isInUse(part) {
  const selection = getSelection();
  return pressed || (selection && !selection.isCollapsed && part.contains(selection.anchorNode));
}

function replace(part, fresh) {
  if (lastHtml.get(part.id) === fresh.innerHTML) return;
  if (isInUse(part)) { skipped = true; return; }
  lastHtml.set(part.id, fresh.innerHTML);
  const focused = part.contains(document.activeElement) ? document.activeElement : null;
  const href = focused?.getAttribute("href");
  const ticked = [...part.querySelectorAll("input:checked")].map((box) => box.id);
  const open = [...part.querySelectorAll("details[open]")].map((each) => each.id);
  const scrolled = [...part.querySelectorAll("pre")].map((each) => each.scrollTop);
  part.innerHTML = fresh.innerHTML;
  for (const id of ticked) if ($(id)) $(id).checked = true;
  for (const id of open) if ($(id)) $(id).open = true;
  part.querySelectorAll("pre").forEach((each, i) => (each.scrollTop = scrolled[i] ?? 0));
  if (focused) {
    const same = (focused.id && $(focused.id)) ||
      [...part.querySelectorAll("a[href]")].find((a) => href && a.getAttribute("href") === href);
    (same || $("main")).focus({ preventScroll: true });
  }
}

function schedule() {
  if (timer || document.hidden || document.querySelector("#main [data-refusal]")) return;
  timer = setTimeout(refresh, Math.max(0, nextAt - performance.now()));
}

async function refresh() {
  timer = 0;
  if (refreshing) { again = true; return; }
  refreshing = true;
  const started = performance.now(), mine = generation;
  try {
    const response = await fetch(location.href, { headers: { Accept: "text/html" } });
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    if (mine !== generation) {
      again = true;
    } else if (!response.ok) { // also if the server was restarted and has a new token
      warn(refusalOf(fresh, response));
    } else {
      warn("");
      skipped = false;
      for (const part of document.querySelectorAll("[data-live]")) {
        const other = fresh.getElementById(part.id);
        if (other) replace(part, other);
      }
      replaceLog(fresh.getElementById("log-panel"));
      updateTimes();
      countTicked();
    }
  } catch {
    // The connection is lost; the EventSource reports that, and when it is back.
  } finally {
    refreshing = false;
    nextAt = performance.now() + Math.max(MIN_PAUSE, 4 * (performance.now() - started));
    if (again) { again = false; schedule(); }
  }
}

function resume() {
  if (skipped && !pressed) schedule();
}

function refusalOf(fresh, response) {
  if (response.status === 401) return "The server has another token now: reload to sign in.";
  return fresh.querySelector("[data-refusal] p")?.textContent ??
    `The request failed with status ${response.status}.`;
}

function warn(text) {
  const alert = $("alert");
  if (!alert || alert.textContent === text) return;
  alert.replaceChildren();
  if (text) alert.append(Object.assign(document.createElement("p"), { textContent: text }));
}

// -- the log ---------------------------------------------------------------------------------

function replaceLog(fresh) {
  const panel = $("log-panel");
  if (!panel || !fresh || "chosen" in panel.dataset) return;
  if (panel.dataset.attempt === fresh.dataset.attempt) return;
  const focused = document.activeElement === $("log");
  panel.replaceWith(fresh); // a new attempt has begun
  if (focused) $("log")?.focus({ preventScroll: true });
  connect();
}

function addToLog(text, mark) {
  const panel = $("log-panel"), log = $("log");
  if (!log) return;
  panel.dataset.offset = mark.split(":")[1] ?? panel.dataset.offset;
  const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
  appendToLog(log, text);
  let surplus = log.textContent.length - MAX_LOG;
  while (surplus > 0 && log.firstChild !== log.lastChild) {
    surplus -= log.firstChild.textContent.length;
    log.firstChild.remove();
  }
  if (surplus > 0) log.textContent = log.textContent.slice(-MAX_LOG / 2); // one very long line
  if (atEnd) log.scrollTop = log.scrollHeight;
}

// A block ends at the end of a line, because each block begins a new line.
function appendToLog(log, text) {
  const open = log.lastChild;
  const before = open?.textContent ?? "";
  const cut = before === "" || before.endsWith("\n") ? 0 : text.indexOf("\n") + 1 || text.length;
  if (cut && open.nodeType === Node.TEXT_NODE) open.appendData(text.slice(0, cut));
  else if (cut) open.append(text.slice(0, cut));
  const rest = text.slice(cut);
  if (!rest) return;
  if (open?.nodeType === Node.ELEMENT_NODE && open.textContent.length < LOG_PIECE) open.append(rest);
  else log.append(Object.assign(document.createElement("div"), { textContent: rest }));
}

// -- events -----------------------------------------------------------------------------------

let source = null;
let lost = false;
let version = Number(document.body.dataset.version);
let announcedAt = 0;
let announced = "";

function connect() {
  source?.close();
  source = null;
  if (document.hidden || !$("link")) return;
  const panel = $("log-panel");
  const query = new URLSearchParams();
  if (panel && Number(panel.dataset.attempt)) {
    for (const name of ["job", "attempt", "offset"]) query.set(name, panel.dataset[name]);
  }
  const mine = (source = new EventSource(`/events?${query}`));
  source.addEventListener("state", (event) => update(JSON.parse(event.data)));
  source.addEventListener("log", (event) => addToLog(JSON.parse(event.data), event.lastEventId));
  source.addEventListener("open", () => {
    showLink(true);
    if (lost) schedule(); // changes meanwhile were not reported; a new server counts from 0
    lost = false;
  });
  source.addEventListener("error", () => {
    showLink(false);
    lost = true;
    if (mine.readyState !== EventSource.CLOSED) return; // otherwise it reconnects by itself
    schedule(); // the fetched page says why there is no connection
    setTimeout(() => mine === source && connect(), 5000);
  });
}

function showLink(on) {
  const link = $("link");
  link.hidden = false;
  link.textContent = on ? "Live" : "Not connected";
  link.classList.toggle("on", on);
}

function update(state) {
  const counts = { ...state.counts };
  counts.all = Object.values(counts).reduce((sum, n) => sum + n, 0);
  for (const place of document.querySelectorAll("[data-count]")) {
    const count = counts[place.dataset.count];
    if (count === undefined) continue;
    const text = number.format(count);
    if (place.textContent !== text) place.textContent = text;
    place.toggleAttribute("data-zero", count === 0);
  }
  if (state.problem) warn(state.problem);
  showLink(!state.problem);
  if (state.version !== version) {
    version = state.version;
    schedule();
  }
  announce(state.counts);
}

function announce(counts) {
  const text = Object.entries(counts).map(([name, n]) => `${n} ${name}`).join(", ");
  if (text === announced || performance.now() - announcedAt < ANNOUNCE) return;
  const first = announced === "";
  [announced, announcedAt] = [text, performance.now()];
  if (!first) $("announcer").textContent = text;
}

// -- forms -----------------------------------------------------------------------------------

async function send(form, button) {
  const data = new URLSearchParams(new FormData(form, button?.name ? button : undefined));
  button?.setAttribute("aria-busy", "true");
  try {
    const response = await fetch(form.action, {
      method: "POST", body: data, headers: { Accept: "text/html" },
    });
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    if (fresh.querySelector("[data-refusal]") || !fresh.getElementById("main")) {
      warn(refusalOf(fresh, response));
      return;
    }
    show(fresh, response);
  } catch {
    warn("The server does not answer. It is unknown whether the change was made.");
  } finally {
    button?.removeAttribute("aria-busy");
  }
}

function show(fresh, response) {
  if (response.redirected) {
    const url = new URL(response.url);
    url.searchParams.delete("notice");
    if (url.href !== location.href) history.pushState(null, "", url);
  }
  generation += 1;
  version = Number(fresh.body.dataset.version); // if there is a newer one by now, the page is fetched again
  document.title = fresh.title;
  $("main").replaceWith(fresh.getElementById("main"));
  const nav = document.querySelector(".top nav"), freshNav = fresh.querySelector(".top nav");
  if (nav && freshNav) nav.replaceWith(freshNav);
  begin();
  const target = document.querySelector("main [aria-invalid]") ??
    document.querySelector("main .flash") ?? $("main");
  target.focus();
  connect();
}

function countTicked() {
  const place = $("ticked");
  if (!place) return;
  const count = document.querySelectorAll('#list input[name="id"]:checked').length;
  place.textContent = count ? ` (${count})` : "";
}

// -- start -----------------------------------------------------------------------------------

let every = 0;

function begin() {
  for (const each of document.querySelectorAll("main [data-live-only]")) each.hidden = false;
  shown = location.pathname + location.search;
  remember();
  updateTimes();
  countTicked();
  const log = $("log");
  if (log && !location.hash) log.scrollTop = log.scrollHeight;
  clearInterval(every);
  const seconds = Number(document.querySelector("[data-every]")?.dataset.every);
  if (seconds) every = setInterval(schedule, seconds * 1000); // the chart moves with time
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  event.preventDefault();
  if (event.submitter?.getAttribute("aria-busy") !== "true") send(form, event.submitter);
});
document.addEventListener("click", (event) => {
  if (event.target.id !== "tick-all") return;
  const boxes = [...document.querySelectorAll('#list input[name="id"]')];
  const all = boxes.every((box) => box.checked);
  for (const box of boxes) box.checked = !all;
  countTicked();
});
document.addEventListener("change", countTicked);
document.addEventListener("pointerdown", () => (pressed = true));
for (const end of ["pointerup", "pointercancel", "blur"]) {
  addEventListener(end, () => { pressed = false; resume(); });
}
document.addEventListener("selectionchange", () => getSelection().isCollapsed && resume());
document.querySelector(".skip")?.addEventListener("click", () => $("main").focus());
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) { nextAt = 0; schedule(); }
  connect(); // a page in the background has no connection, because a browser opens at most six to a host
});
addEventListener("popstate", () => {
  if (location.pathname + location.search !== shown) location.reload(); // not if only the #part differs
});
addEventListener("pagehide", () => source?.close());

const here = new URL(location.href);
if (here.searchParams.has("notice")) {
  here.searchParams.delete("notice");
  history.replaceState(null, "", here);
}
setInterval(updateTimes, 1000);
begin();
connect();
