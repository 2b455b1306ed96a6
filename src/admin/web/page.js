// Takes over from the page as the server rendered it: the same rows and words, kept up to date by server-sent events. What
// strangers wrote goes into the document as text only. Nodes are kept by their key, so that focus and selection stay.
const $ = id => document.getElementById(id);
const VERDICTS = ["accepted", "absorbed", "deferred", "refused"];
const DONE = { accept: "accepted", absorb: "absorbed", defer: "deferred", reject: "refused", disconnect: "refused" };
const state = { checked: [], status: null, history: null, records: [], waiting: 0, blocks: [], range: "hour", sort: {} };

// Words.

const zone = () => state.status?.zone || "UTC";
const formats = {};
const format = options => formats[zone() + JSON.stringify(options)] ??=
  new Intl.DateTimeFormat("en-GB", { ...options, hourCycle: "h23", timeZone: zone() });
const clock = at => format({ hour: "2-digit", minute: "2-digit" }).format(at * 1000);
const exactClock = at => format({ hour: "2-digit", minute: "2-digit", second: "2-digit" }).format(at * 1000);
const day = at => format({ weekday: "short", day: "numeric", month: "short" }).format(at * 1000);
const full = at => {
  const parts = Object.fromEntries(format({ year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit",
    minute: "2-digit", second: "2-digit" }).formatToParts(at * 1000).map(part => [part.type, part.value]));
  return `${parts.year}-${parts.month}-${parts.day} ${parts.hour}:${parts.minute}:${parts.second} ${zone()}`;
};
const now = () => state.status?.now ?? Date.now() / 1000;
const moment = at => full(at).slice(0, 10) === full(now()).slice(0, 10) ? clock(at) : full(at).slice(0, 16);
const number = value => String(Math.round(value ?? 0)).replace(/\B(?=(\d{3})+$)/g, "\u202f");
const count = (value, noun, nouns = noun + "s") => `${number(value)} ${value === 1 ? noun : nouns}`;
const bytes = value => {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let unit = 0;
  for (value ??= 0; value >= 999.5 && unit < 5; unit++) value /= 1000;
  return `${value < 10 && unit ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
};
const span = seconds => {
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const [unit, name] = units.find(([unit]) => seconds >= unit) ?? units[3];
  return `${Math.max(0, Math.floor(seconds / unit))} ${name}`;
};
const time = ms => ms == null ? "–" : ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
const bare = sender => sender?.replace(/^<(.*)>$/, "$1") ?? "";
const named = sender => sender == null ? "" : bare(sender) || "<> (null sender)";
// As the server writes them: what cannot be seen, or turns letters around.
const seen = text => String(text ?? "").replace(/[\p{Cc}\p{Co}\p{Cn}\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\u{e0000}-\u{e0fff}]/gu,
  character => character < "\x80" ? `\\x${character.charCodeAt().toString(16).padStart(2, "0")}` : `\\u{${character.codePointAt().toString(16)}}`);

// Nodes.

const put = (node, text) => { text = seen(text); if (node && node.textContent !== text) node.textContent = text; };
const attribute = (node, name, value) => {
  if (value == null || value === "") node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
};
const make = (name, attributes = {}, ...inside) => {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node[key] = value; else if (value !== false && value != null) node.setAttribute(key, value === true ? "" : seen(value));
  }
  node.append(...inside.filter(it => it != null).map(it => it instanceof Node ? it : seen(it)));
  return node;
};
const svg = (name, attributes) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
};
// Makes the children of `parent` those of `items`, each known again by its key.
const keyed = (parent, items, create, update) => {
  for (const node of [...parent.children]) if (node.dataset.key === undefined && !node.classList.contains("detail")) node.remove();
  const old = new Map([...parent.children].filter(it => it.dataset.key !== undefined).map(it => [it.dataset.key, it]));
  let at = parent.firstElementChild;
  for (const item of items) {
    const key = seen(item.key);
    let node = old.get(key);
    old.delete(key);
    if (!node || !node.alive) {
      const next = create(item);
      next.alive = true;
      next.dataset.key = key;
      if (node) { if (at === node) at = next; node.replaceWith(next); }
      node = next;
    }
    if (at === node) at = at.nextElementSibling; else parent.insertBefore(node, at);
    while (at?.classList.contains("detail")) at = at.nextElementSibling;
    if (node.detail) node.after(node.detail);
    update(node, item);
  }
  for (const node of old.values()) { node.detail?.remove(); node.remove(); }
};
const show = (id, any) => { $(id).hidden = !any; if ($(id + "-none")) $(id + "-none").hidden = any; };

// Tables. A cell is a text, or { text, title, sort, dot, press, name }.

const TABLES = {
  senders: [["Sender"], ["Accepted", 1], ["Absorbed", 1], ["Deferred", 1], ["Refused", 1], ["Bytes", 1], [""]],
  clients: [["Client"], ["Accepted", 1], ["Absorbed", 1], ["Deferred", 1], ["Refused", 1], ["Bytes", 1], [""]],
  records: [["Time"], ["Verdict"], ["Sender"], ["Recipients"], ["Client"], ["Size", 1], ["Why"]],
  blocks: [["Key"], ["Ends"], ["By"], ["Why"], [""]],
  certificates: [["Names"], ["Ends"]],
  minutes: [["Time"], ["Accepted", 1], ["Absorbed", 1], ["Deferred", 1], ["Refused", 1], ["Reasons"]],
};
const fillCell = (node, cell) => {
  if (typeof cell !== "object") cell = { text: cell };
  let inside = node.firstElementChild;
  if (!inside) {
    inside = cell.press ? make("button", { class: "small", type: "button" }) : make("bdi");
    node.replaceChildren(inside);
  }
  put(inside, cell.text);
  attribute(inside, "title", cell.title && seen(cell.title));
  attribute(inside, cell.press ? "aria-label" : "class", cell.press ? seen(cell.name) : cell.dot ? `v ${cell.dot}` : "");
  if (cell.press) inside.onclick = cell.press;
};
const fill = (id, rows) => {
  const columns = TABLES[id], sort = state.sort[id];
  if (sort) {
    const value = row => { const cell = row.cells[sort.by]; return cell?.sort ?? cell?.text ?? cell; };
    const order = (a, b) => typeof a === "number" ? a - b : String(a).localeCompare(String(b));
    rows = rows.map((row, at) => [row, at]).sort(([a, i], [b, j]) => sort.down * order(value(a), value(b)) || i - j).map(([row]) => row);
  }
  keyed($(id).tBodies[0], rows, () => {
    return make("tr", {}, ...columns.map(([label, numeric]) => make("td", { "data-label": label || null, class: numeric && "n" })));
  }, (node, row) => row.cells.forEach((cell, at) => fillCell(node.children[at], cell)));
  show(id, rows.length > 0);
};
const sortable = id => [...$(id).tHead.rows[0].cells].forEach((head, by) => {
  const label = TABLES[id][by][0];
  if (!label) return;
  const button = make("button", { type: "button" }, label);
  button.onclick = () => {
    const old = state.sort[id];
    state.sort[id] = { by, down: old?.by === by ? -old.down : TABLES[id][by][1] ? -1 : 1 };
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", state.sort[id].down < 0 ? "descending" : "ascending");
    render();
  };
  head.replaceChildren(button);
});
const amount = (value, dot) => ({ text: value ? number(value) : "·", sort: value ?? 0, dot: "" });
const amounts = it => [...VERDICTS.map(name => amount(it[name])), { text: bytes(it.bytes), sort: it.bytes, title: `${number(it.bytes)} bytes` }];
const blockCell = key => key ? { text: "Block", press: () => ask(key), name: `Block ${key} for 24 h` } : "";

// What is shown.

const VERDICT = { quiet: "Nothing needs you", storm: "Under control", trouble: "Needs you" };
const blockOf = storm => {
  const [network, sender] = storm.key.split(/ (.*)/s);
  return bare(sender) && sender !== "auth" ? bare(sender) : network;
};
const sentence = status => {
  const { tone, text } = status.sentence, first = status.problems[0];
  document.body.dataset.tone = tone;
  put($("sentence"), text);
  put($("verdict"), VERDICT[tone]);
  put($("lead"), first ? `since ${moment(first.since)}, for ${span(status.now - first.since)}` : `running for ${span(status.now - status.started)}`);
  document.title = `${{ quiet: "", storm: "▲ Storm · ", trouble: "■ Trouble · " }[tone]}${seen(status.host)} · Portcullis`;
  const shown = status.problems.slice(1);
  keyed($("problems"), shown.map(it => ({ ...it, key: `${it.kind} ${it.subject}` })), () => make("li", {}, make("time"), " ", make("bdi")), (node, it) => {
    put(node.firstChild, moment(it.since));
    attribute(node.firstChild, "title", full(it.since));
    put(node.lastChild, it.text);
  });
  $("problems").hidden = !shown.length;
  const storm = status.storms[0], key = storm ? blockOf(storm) : "", made = blockedBy(key), button = $("press").firstElementChild;
  $("press").hidden = !key || tone !== "storm";
  put(button.firstChild, made ? "Undo the block of " : "Block ");
  put(button.querySelector("bdi"), key);
  put(button.lastChild, made ? "" : " for 24 h");
  put($("hint"), made ? `Its mail is refused with 554 until ${moment(made.until)}.` : "It first shows what the block would hit.");
  attribute(button, "class", made ? "" : "primary");
  button.value = key;
  // Spoken when something begins or ends, not at each copy.
  const kinds = tone + status.problems.map(it => it.kind + it.subject).join();
  if (state.kinds !== undefined && state.kinds !== kinds) put($("say"), text);
  state.kinds = kinds;
};
const blockedBy = key => state.blocks.find(block => block.key.toLowerCase() === key.toLowerCase() && block.until > now());

const storms = status => {
  keyed($("storms"), status.storms, storm => {
    const spark = svg("svg", { class: "spark", viewBox: "0 0 12 20", preserveAspectRatio: "none", role: "img" });
    spark.append(svg("path", {}));
    return make("li", {}, make("div", { class: "who" }, make("bdi")), make("div", { class: "to" }, make("bdi")), spark,
      make("p", { class: "what" }, make("b"), " ", make("span")), make("p", { class: "spared" }), make("form", {}, make("button", { type: "button" })));
  }, (node, storm) => {
    const [network, sender] = storm.key.split(/ (.*)/s);
    const [who, to, spark, what, spared, form] = node.children;
    put(who.firstChild, sender === "auth" ? "Password guessing" : named(sender));
    put(to.firstChild, `from ${network}${storm.recipients ? ` to ${storm.recipients}` : ""}`);
    const trend = storm.trend ?? [], most = Math.max(1, ...trend);
    attribute(spark.firstChild, "d", trend.map((value, at) => value ? `M${at + .1} 20v-${Math.max(1, value / most * 20).toFixed(1)}h.8V20z` : "").join(""));
    attribute(spark, "aria-label", `Copies of each ten minutes: ${trend.join(", ")}`);
    put(what.children[0], sender === "auth" ? count(storm.refused + storm.deferred, "failure") : count(storm.copies, "copy", "copies"));
    const parts = ["refused", "absorbed", "deferred", "delivered"].filter(name => storm[name]).map(name => `${number(storm[name])} ${name}`);
    put(what.children[1], [...parts, `since ${moment(storm.since)}`, `last ${span(status.now - storm.last)} ago`].join(", "));
    put(spared, storm.bytes_spared ? `${bytes(storm.bytes_spared)} spared the queue${storm.wire_spared ? `, ${bytes(storm.wire_spared)} of it the wire` : ""}` : "");
    const key = blockOf(storm), blocked = blockedBy(key);
    const button = form.firstChild;
    put(button, blocked ? "Blocked" : "Block for 24 h");
    attribute(button, "aria-label", `${blocked ? "Blocked" : "Block for 24 h"}: ${seen(key)}`);
    attribute(button, "aria-disabled", blocked ? "true" : "");
    button.onclick = () => blocked || ask(key);
  });
  show("storms", status.storms.length > 0);
};

const facts = status => {
  const { backend, rates } = status;
  const fact = (key, label, value, note, part, bad) => ({ key, label, value, note, part, bad });
  const latency = backend.latency?.dot_ms ?? {};
  const list = [
    fact("minute", "Last minute", count(VERDICTS.reduce((sum, name) => sum + rates.minute[name], 0), "message"),
      VERDICTS.filter(name => rates.minute[name]).map(name => `${number(rates.minute[name])} ${name}`).join(", ")),
    fact("connections", "Connections", number(status.connections), `of ${number(status.max_connections)}${status.stress ? ", under stress: time limits are shorter" : ""}`,
      status.connections / status.max_connections, status.stress),
    fact("backend", "Backend", backend.up === false ? "Down" : backend.places_max == null ? "Up" : `${number(backend.places_taken)} of ${number(backend.places_max)} places`,
      [backend.up === false ? `since ${moment(backend.down_since)}: ${backend.error}` : "", backend.waiting ? `${number(backend.waiting)} waiting` : "", backend.idle ? `${number(backend.idle)} idle` : "", backend.target].filter(Boolean).join(", "),
      backend.places_max ? backend.places_taken / backend.places_max : null, backend.up === false),
    latency.count ? fact("latency", "Final dot", time(latency.p50), `median; 99 % within ${time(latency.p99)}`) : null,
    fact("hold", "Held", bytes(status.held_octets), `of ${bytes(status.hold_total)}`, status.held_octets / status.hold_total, status.hold_pressure > 0),
    fact("state", "State", { ok: "Written", degraded: "Not written", memory: "In memory only" }[status.state] ?? status.state,
      [status.state_error, `${count(status.ledger_entries, "entry", "entries")} in the ledger`, status.unacknowledged ? `${number(status.unacknowledged)} unacknowledged` : "", `${count(status.throttle_keys, "throttle key")}`].filter(Boolean).join(", "), null, status.state === "degraded"),
    fact("log", "Log", status.log_stalled ? "Not read" : "Read", status.log_lines_lost ? `${count(status.log_lines_lost, "line")} lost` : "", null, status.log_stalled),
  ].filter(Boolean);
  keyed($("facts"), list, () => make("div", {}, make("dt"), make("dd", {}, make("b"), " ", make("span"))), (node, it) => {
    const [label, value] = node.children;
    put(label, it.label);
    put(value.children[0], it.value);
    put(value.children[1], it.note);
    attribute(node, "class", it.bad ? "bad" : "");
    if (it.part != null && !value.children[2]) {
      const meter = svg("svg", { class: "meter", viewBox: "0 0 100 4", preserveAspectRatio: "none", "aria-hidden": "true" });
      meter.append(svg("rect", { height: 4 }));
      value.append(meter);
    }
    if (it.part != null) attribute(value.children[2].firstChild, "width", Math.min(100, it.part * 100).toFixed(1));
  });
};

const senderRows = ({ senders }) => {
  const all = new Map([senders.not_accepted, senders.accepted, senders.bytes].flat().map(it => [it.sender, it]));
  const sum = it => VERDICTS.reduce((sum, name) => sum + it[name], 0);
  return [...all.values()].sort((a, b) => sum(b) - sum(a)).map(it => ({ key: it.sender, cells: [{ text: named(it.sender), sort: it.sender }, ...amounts(it), blockCell(bare(it.sender))] }));
};
const recordRow = it => ({
  key: it.number, record: it,
  cells: [{ text: exactClock(it.at), title: full(it.at), press: event => explain(event.currentTarget.closest("tr"), it), name: `${exactClock(it.at)}: details` },
    { text: DONE[it.verdict] ?? it.kind, dot: DONE[it.verdict] ?? "" }, named(it.sender), [it.recipients].flat().join(", "), it.client,
    it.size == null ? "" : { text: bytes(it.size), title: `${number(it.size)} bytes` }, [it.code, it.reason].filter(Boolean).join(" ")],
});
const blockRow = it => ({
  key: it.key,
  cells: [it.key, { text: `in ${span(it.until - now())}`, title: full(it.until), sort: it.until }, it.by, it.why, { text: "Remove", press: () => lift(it), name: `Remove the block of ${it.key}` }],
});

const configuration = status => {
  const { faults = [], warnings = [], at } = status.reload;
  const list = [...faults.map(text => ({ text, kind: "error" })), ...warnings.map(text => ({ text, kind: "warning" }))];
  const found = kind => list.some(it => it.text.includes(kind.text)) ? [] : [kind];
  for (const { text, kind } of state.checked) list.push(...found({ text, kind }));
  keyed($("warnings"), list.map(it => ({ ...it, key: it.text })), it => make("li", { class: it.kind }, make("bdi")), (node, it) => put(node.firstChild, it.text));
  show("warnings", list.length > 0);
  put($("loaded"), `${status.configuration_file ?? "Built-in configuration"}, read ${moment(at)}`);
  fill("certificates", status.certificates.map(it => ({ key: it.file ?? it.names.join(), cells: [it.names.join(", "), { text: it.until < status.now ? "expired" : `in ${span(it.until - status.now)}`, title: full(it.until), sort: it.until }] })));
};

// The chart.

const SPANS = { hour: [3600, 60], day: [86400, 96], week: [604800, 84], year: [31536000, 73] };
const bins = () => {
  const [whole, columns] = SPANS[state.range], step = whole / columns, end = Math.floor(now() / step) * step + step;
  const empty = at => ({ at, accepted: 0, absorbed: 0, deferred: 0, refused: 0, bytes: 0, spared: 0, connections: 0, reasons: {} });
  const list = Array.from({ length: columns }, (_, at) => empty(end - (columns - at) * step));
  for (const point of state.history?.points ?? []) {
    const bin = list[Math.floor((point.at - list[0].at) / step)];
    if (!bin) continue;
    for (const name of [...VERDICTS, "bytes", "spared", "connections"]) bin[name] += point[name] ?? 0;
    for (const [reason, count] of Object.entries(point.reasons ?? {})) bin.reasons[reason] = (bin.reasons[reason] ?? 0) + count;
  }
  return { list, step };
};
const nice = value => {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 4, 6, 10].map(it => it * power).find(it => it >= value && it % 2 === 0) ?? 2;
};
const reasons = bin => Object.entries(bin.reasons).sort((a, b) => b[1] - a[1]).map(([name, value]) => `${number(value)} ${name}`);
const when = (bin, step) => step < 86400 ? `${state.range === "hour" || state.range === "day" ? "" : day(bin.at) + " "}${clock(bin.at)}–${clock(bin.at + step)}` : `${day(bin.at)} – ${day(bin.at + step - 1)}`;
const told = (bin, step) => {
  const parts = VERDICTS.filter(name => bin[name]).map(name => `${number(bin[name])} ${name}`);
  const why = reasons(bin).slice(0, 3).join(", ");
  return `${when(bin, step)}: ${parts.join(", ") || "no mail"}${why ? ` (${why})` : ""}${bin.bytes ? `, ${bytes(bin.bytes)}` : ""}`;
};
const chart = () => {
  if (!state.history) return;
  const { list, step } = bins();
  const sum = bin => VERDICTS.reduce((sum, name) => sum + bin[name], 0);
  const top = nice(Math.max(...list.map(sum)));
  const under = list.map(() => 0);
  for (const name of VERDICTS) {
    const path = list.map((bin, at) => {
      if (!bin[name]) return "";
      const height = Math.max(1, bin[name] / top * 100), bottom = 100 - under[at];
      under[at] += height;
      return `M${at} ${bottom.toFixed(1)}v-${height.toFixed(1)}h.86v${height.toFixed(1)}z`;
    }).join("");
    attribute(document.querySelector(`.bars .${name}`), "d", path || "M0 0");
    put($(`total-${name}`), number(list.reduce((sum, bin) => sum + bin[name], 0)));
  }
  const bars = document.querySelector(".bars");
  attribute(bars, "viewBox", `0 0 ${list.length} 100`);
  attribute(bars.querySelector(".grid"), "d", `M0 .5H${list.length}M0 50H${list.length}`);
  put($("top"), number(top));
  put($("half"), number(top / 2));
  const ticks = [0, 1, 2, 3, 4].map(it => list[Math.min(list.length - 1, Math.round(it * list.length / 4))].at);
  const tick = at => ({ hour: clock, day: clock, week: day, year: day })[state.range](at);
  keyed($("ticks"), ticks.map((at, index) => ({ key: String(index), text: index === 4 ? "now" : tick(at) })), () => make("li"), (node, it) => put(node, it.text));
  const pick = $("pick");
  attribute(pick, "max", list.length - 1);
  const at = state.pick == null ? null : Math.min(state.pick, list.length - 1);
  attribute($("cursor"), "x", at ?? -2);
  if (at != null && !state.hover) pick.value = at;
  put($("readout"), told(list[at ?? list.length - 1], step));
  attribute(pick, "aria-valuetext", told(list[at ?? Number(pick.value)] ?? list.at(-1), step));
  if (document.querySelector(".mail details").open) {
    fill("minutes", list.filter(sum).reverse().map(bin => ({ key: bin.at, cells: [when(bin, step), ...VERDICTS.map(name => amount(bin[name])), reasons(bin).join(", ")] })));
  }
};
const choose = at => { state.pick = at; chart(); };

// The server.

const json = async (path, options = {}) => {
  const response = await fetch(path, { ...options, headers: { "X-Portcullis": "1", ...(options.body ? { "Content-Type": "application/json" } : {}) } });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw Object.assign(new Error([answer.error ?? `HTTP ${response.status}`, answer.remedy].filter(Boolean).join(": ")), { status: response.status });
  return answer;
};
const changed = async (path, options) => {
  for (;;) {
    try { return await json(path, options); } catch (error) {
      if (error.status !== 401 || !await login()) throw error;
    }
  }
};
// One call at a time, and one more when it was called meanwhile.
const single = work => {
  let runs = false, again = false;
  return async () => {
    if (runs) { again = true; return; }
    runs = true;
    do { again = false; try { await work(); } catch { /* the next one may come through */ } } while (again);
    runs = false;
  };
};
const loadHistory = single(async () => { state.history = await json(`/api/v1/history?range=${state.range}`); chart(); });
const loadBlocks = single(async () => { state.blocks = (await json("/api/v1/blocks")).blocks; render(); });
const loadCheck = single(async () => {
  const { faults, warnings } = await json("/api/v1/check");
  const of = kind => it => ({ kind, text: [[it.file, it.line].filter(Boolean).join(":"), it.what].filter(Boolean).join(": ") });
  state.checked = [...faults.map(of("error")), ...warnings.map(of("warning"))];
  render();
});
const search = () => $("q").value.trim();
const loadRecords = single(async () => {
  const { records } = await json(`/api/v1/records?limit=${MOST}&search=${encodeURIComponent(search())}`);
  state.records = records;
  state.waiting = 0;
  showRecords();
});
const MOST = 50;
const showRecords = () => {
  fill("records", state.records.slice(0, MOST).map(recordRow));
  $("fresh").hidden = !state.waiting;
  put($("fresh"), `Show ${count(state.waiting, "new record")}`);
};
// Rows that someone reads do not move away.
const isRead = () => $("records").matches(":hover, :focus-within") || $("records").querySelector(".detail") != null;
let kept = [];
const heard = records => {
  if (search()) { slow("records", loadRecords); return; }
  kept = [...records.slice().sort((a, b) => b.number - a.number), ...kept].slice(0, MOST);
  if (isRead()) { state.waiting += records.length; $("fresh").hidden = false; put($("fresh"), `Show ${count(state.waiting, "new record")}`); return; }
  freshen();
};
const freshen = () => {
  const numbers = new Set(kept.map(it => it.number));
  state.records = [...kept, ...state.records.filter(it => !numbers.has(it.number))].slice(0, MOST);
  kept = [];
  state.waiting = 0;
  showRecords();
};
const timers = {};
const slow = (name, work, ms = 3000) => { timers[name] ??= setTimeout(() => { delete timers[name]; work(); }, ms); };

const render = () => {
  const { status } = state;
  if (!status) return;
  sentence(status);
  storms(status);
  facts(status);
  fill("senders", senderRows(status));
  fill("clients", (status.clients ?? []).map(it => ({ key: it.client, cells: [{ text: it.client }, ...amounts(it), blockCell(it.client)] })));
  fill("blocks", state.blocks.filter(it => it.until > status.now).map(blockRow));
  configuration(status);
  chart();
  put($("clock"), exactClock(status.now));
  put($("host"), status.host);
  put($("zone"), status.zone);
  put($("version"), status.version);
  put($("up"), `running since ${moment(status.started)}`);
};
let drawn = false;
const arrived = status => {
  const old = state.status;
  state.status = status;
  // Not more often than the screen shows.
  if (!drawn) { drawn = true; requestAnimationFrame(() => { drawn = false; render(); }); }
  if (!old || JSON.stringify(old.rates.minute) !== JSON.stringify(status.rates.minute)) slow("history", loadHistory, old ? 3000 : 0);
  if (!old || old.blocks !== status.blocks) loadBlocks();
};
const listen = () => {
  const events = new EventSource("/api/v1/events");
  events.addEventListener("status", event => { linked(true); arrived(JSON.parse(event.data)); });
  events.addEventListener("records", event => { const data = JSON.parse(event.data); heard(data.records ?? data); });
  events.onerror = () => { linked(false); if (events.readyState === 2) setTimeout(listen, 3000); };
};
let lost = false;
const linked = well => {
  $("link").hidden = well;
  if (well && lost) { loadRecords(); loadHistory(); loadBlocks(); }
  if (!well && !lost) { put($("link"), "No connection to the proxy: what is shown is old"); put($("say"), "The connection to the proxy is lost"); }
  lost = !well;
};

// What is pressed.

const dialog = (title, ...inside) => {
  const box = $("dialog");
  if (box.open) box.close();
  box.replaceChildren(make("h2", { id: "dialog-title" }, title), ...inside.filter(Boolean));
  box.showModal();
  return new Promise(done => box.addEventListener("close", () => done(box.returnValue), { once: true }));
};
const menu = (...buttons) => make("menu", {}, ...buttons);
const closer = (text, value, kind) => make("button", { type: "button", class: kind, onclick: () => $("dialog").close(value) }, text);
const login = async () => {
  const field = make("input", { id: "token", type: "password", autocomplete: "off", required: true });
  const file = document.body.dataset.token || "admin.token_file";
  const wrong = make("p", { class: "error-text", role: "alert" });
  const form = make("form", {}, make("label", { for: "token" }, "Token"), field, wrong, menu(make("button", { class: "primary" }, "Log in"), closer("Cancel", "")));
  form.onsubmit = async event => {
    event.preventDefault();
    try { await json("/login", { method: "POST", body: JSON.stringify({ token: field.value.trim() }) }); $("dialog").close("in"); } catch (error) { put(wrong, error.message); field.select(); }
  };
  $("dialog").returnValue = "";
  return await dialog("Who may change something here?", make("p", {}, "Whoever knows the token. This command on the host shows it:"), make("p", {}, make("code", {}, `sudo cat ${file}`)), make("p", { class: "note" }, "Asked once, until the browser ends."), form) === "in";
};
const toast = (text, undo) => {
  const box = make("div", { class: "toast" }, make("span", {}, text));
  const gone = () => box.remove();
  if (undo) box.append(make("button", { type: "button", onclick: () => { gone(); undo(); } }, "Undo"));
  box.append(make("button", { type: "button", "aria-label": "Close", onclick: gone }, "×"));
  $("toasts").replaceChildren(box);
};
const failed = error => toast(error.message);
const ask = async (key, seconds = 86400) => {
  let hits;
  try { hits = await json("/api/v1/blocks/preview", { method: "POST", body: JSON.stringify({ key }) }); } catch (error) {
    if (error.status === 400) return failed(error);
    hits = {};
  }
  const words = list => (list ?? []).slice(0, 5).map(it => it.sender ?? it.client ?? it).map(it => make("li", {}, make("bdi", {}, it)));
  const { messages } = hits;
  const text = messages == null ? "What it would hit is not known." : messages === 0 ? "It would have hit none of the messages of the last hour." :
    `It would have hit ${count(messages, "message")} of the last hour, of which ${number(hits.accepted)} ${hits.accepted === 1 ? "was" : "were"} accepted.`;
  $("dialog").returnValue = "";
  const pressed = await dialog(`Block ${key} for 24 h?`, make("p", {}, text), hits.doubt ? make("p", { class: "error-text" }, hits.doubt) : null,
    ...(hits.senders?.length ? [make("p", { class: "note" }, "Senders"), make("ul", {}, ...words(hits.senders))] : []),
    ...(hits.clients?.length ? [make("p", { class: "note" }, "Clients"), make("ul", {}, ...words(hits.clients))] : []),
    make("p", { class: "note" }, "Its mail is refused with 554 until then. You can undo it."),
    menu(closer("Block for 24 h", "block", "primary"), closer("Cancel", "")));
  if (pressed === "block") await block({ key, seconds, why: "from the page", force: Boolean(hits.doubt) });
};
const block = async wanted => {
  try {
    const made = await changed("/api/v1/blocks", { method: "POST", body: JSON.stringify(wanted) });
    toast(`${made.key} is blocked until ${moment(made.until)}.`, () => lift(made));
  } catch (error) { failed(error); }
  loadBlocks();
};
const lift = async it => {
  try {
    await changed(`/api/v1/blocks?key=${encodeURIComponent(it.key)}`, { method: "DELETE" });
    const left = it.until - now();
    toast(`${it.key} is not blocked any more.`, it.by === "throttle" || left < 1 ? null : () => block({ key: it.key, seconds: Math.round(left), why: it.why }));
  } catch (error) { failed(error); }
  loadBlocks();
};
const pairs = list => make("dl", {}, ...list.filter(([, value]) => value != null && value !== "").flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, make("bdi", {}, value))]));
const explain = async (row, it) => {
  const button = row.querySelector("button");
  if (row.detail) { row.detail.remove(); row.detail = null; attribute(button, "aria-expanded", "false"); return; }
  const cell = make("td", { colspan: 7 });
  cell.append(pairs([["Time", full(it.at)], ["Session", it.session], ["Client", it.client], ["EHLO", it.helo], ["TLS", it.tls], ["User", it.user], ["Message-ID", it.id], ["Recipients", [it.recipients].flat().join(", ")],
    ["Reply", it.code], ["Reason", it.reason], ["Rule", it.rule], ["Backend", it.backend], ["Took", it.ms == null ? "" : time(it.ms)]]));
  row.detail = make("tr", { class: "detail" }, cell);
  row.after(row.detail);
  attribute(button, "aria-expanded", "true");
  if (it.sender == null) return;
  const body = { sender: it.sender, recipients: [it.recipients].flat(), client: it.client, helo: it.helo ?? undefined, tls: Boolean(it.tls), user: it.user ?? undefined, size: it.size ?? undefined };
  try {
    const story = await json("/api/v1/explain", { method: "POST", body: JSON.stringify(body) });
    const steps = story.steps.map(step => make("li", {}, make("code", {}, step.command), " ", step.reply ? `${step.code} ${step.reply}${step.rule ? ` (${step.rule})` : ""}` : "accepted"));
    cell.append(make("h3", {}, `The same message now: ${DONE[story.verdict] ?? story.verdict}`), make("ol", {}, ...steps));
  } catch (error) { cell.append(make("p", { class: "error-text" }, error.message)); }
};

// Begins.

for (const id of ["senders", "clients"]) sortable(id);
$("pick").hidden = false;
$("pick").oninput = event => choose(Number(event.target.value));
$("pick").onblur = () => choose(null);
$("pick").onpointermove = event => {
  const box = event.target.getBoundingClientRect(), columns = SPANS[state.range][1];
  state.hover = true;
  choose(Math.max(0, Math.min(columns - 1, Math.floor((event.clientX - box.left) / box.width * columns))));
};
$("pick").onpointerleave = () => { state.hover = false; if (document.activeElement !== $("pick")) choose(null); };
document.querySelector(".mail details").ontoggle = chart;
for (const link of document.querySelectorAll("nav a[data-range]")) link.onclick = event => {
  event.preventDefault();
  state.range = link.dataset.range;
  state.history = null;
  state.pick = null;
  for (const other of document.querySelectorAll("nav a[data-range]")) attribute(other, "aria-current", other === link ? "true" : "");
  loadHistory();
};
$("press").onsubmit = event => {
  event.preventDefault();
  const key = $("press").firstElementChild.value, made = blockedBy(key);
  if (made) lift(made); else ask(key);
};
for (const form of document.querySelectorAll("form.scroll")) form.onsubmit = event => event.preventDefault();
$("add").onsubmit = event => { event.preventDefault(); ask($("new-key").value.trim()); };
$("search").onsubmit = event => { event.preventDefault(); loadRecords(); };
let typed;
$("q").oninput = () => { clearTimeout(typed); typed = setTimeout(loadRecords, 200); };
$("fresh").onclick = () => { freshen(); if (search()) loadRecords(); };
$("records").onclick = event => {
  if (event.target.closest("button, .detail") || String(getSelection())) return;
  event.target.closest("tbody tr")?.querySelector("button")?.click();
};
$("records").onpointerleave = () => { if (state.waiting && !isRead()) freshen(); };
state.range = document.querySelector("nav a[aria-current]")?.dataset.range ?? "hour";
loadRecords();
loadCheck();
setInterval(loadCheck, 300000);
listen();
