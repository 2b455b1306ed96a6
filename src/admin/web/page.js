// Keeps the page up to date without loading it again. All words and numbers are the server's: the same HTML comes by
// server-sent events and as answers to the page's own links and forms, and is put into the document where it differs, so
// that focus, selection and position stay. Without this script, the links and forms do the same by themselves.
const $ = id => document.getElementById(id);
const find = (css, within = document) => within.querySelector(css);
const all = (css, within = document) => [...within.querySelectorAll(css)];
const parse = html => new DOMParser().parseFromString(html, "text/html");
const make = (name, attributes, ...inside) => {
  const node = Object.assign(document.createElement(name), attributes);
  node.append(...inside);
  return node;
};

// Makes a node like another one; children are known again by their key.
const same = (a, b) => a.nodeName === b.nodeName && a.dataset?.key === b.dataset?.key;
const KEPT = ["open", "aria-valuetext"];
const become = (node, wanted) => {
  if (node.nodeType !== Node.ELEMENT_NODE) {
    if (node.data !== wanted.data) node.data = wanted.data;
    return;
  }
  for (const { name, value } of wanted.attributes) if (node.getAttribute(name) !== value) node.setAttribute(name, value);
  for (const { name } of [...node.attributes]) if (!wanted.hasAttribute(name) && !KEPT.includes(name)) node.removeAttribute(name);
  let at = node.firstChild;
  for (const child of [...wanted.childNodes]) {
    let known = at;
    while (known && !same(known, child)) known = known.nextSibling;
    if (!known) node.insertBefore(child, at);
    else {
      if (known === at) at = at.nextSibling; else node.insertBefore(known, at);
      become(known, child);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
};
const put = (node, wanted) => {
  const active = document.activeElement;
  become(node, wanted);
  // What was moved has lost it.
  if (active !== document.activeElement && active.isConnected) active.focus({ preventScroll: true });
};

// What is looked at.
const look = {
  range: find("nav [aria-current]").dataset.range,
  sort: null, // the name of a column, and whether it runs down
  picked: null, // a column of the chart
};

const sorted = table => {
  const { sort } = look, heads = [...table.tHead.rows[0].cells];
  const by = heads.findIndex(head => head.textContent === sort?.label);
  if (by < 0) return;
  const value = row => {
    const { title, textContent } = row.cells[by];
    return by ? parseInt((title || textContent).replace(/\u202f/g, "")) || 0 : textContent;
  };
  const order = (a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0) * (sort.down ? -1 : 1);
  for (const head of heads) head.removeAttribute("aria-sort");
  heads[by].setAttribute("aria-sort", sort.down ? "descending" : "ascending");
  table.tBodies[0].append(...[...table.rows].slice(1).sort(order));
};
const sortBy = head => {
  const label = head.textContent, { sort } = look;
  look.sort = { label, down: sort?.label === label ? !sort.down : head.cellIndex > 0 };
  for (const id of ["senders", "clients"]) sorted($(id));
};

const choose = () => {
  if (!$("pick").dataset.told) return;
  const told = $("pick").dataset.told.split("|"), at = Math.min(look.picked ?? told.length - 1, told.length - 1);
  $("cursor").setAttribute("x", look.picked == null ? -2 : at);
  $("readout").textContent = told[at];
  $("pick").setAttribute("aria-valuetext", told[at]);
};

// What the server says.
const show = (page, names) => {
  for (const part of all("[data-live]", page)) {
    const { live } = part.dataset;
    if (names ? !names.includes(live) : live === "mail" && look.range !== "hour") continue;
    all("#senders, #clients", part).forEach(sorted);
    const node = find(`[data-live=${live}]`), { kinds } = node.dataset;
    put(node, part);
    if (live === "mail") choose();
    if (live !== "now") continue;
    document.title = part.dataset.title;
    // Spoken when something begins or ends, not at each copy.
    if (kinds !== part.dataset.kinds) $("say").textContent = $("sentence").textContent;
  }
};
const get = async (url, options) => {
  const answer = await fetch(url, options);
  if (answer.headers.get("Content-Type").startsWith("text/html")) return parse(await answer.text());
  const { error, remedy } = await answer.json();
  throw Object.assign(new Error([error, remedy].filter(Boolean).join(": ")), { status: answer.status });
};
const quietly = work => work().catch(() => { /* the next one may come through */ });
const mail = () => quietly(async () => show(await get(`/?range=${look.range}`), ["mail"]));

const MOST = 50;
let held = [];
const search = () => $("q").value.trim();
const records = () => quietly(async () => {
  const words = search(), page = await get(`/?search=${encodeURIComponent(words)}`);
  if (words !== search()) return;
  put($("found"), find("#found", page));
  held = [];
  $("fresh").hidden = true;
});
// Rows that someone reads do not move away.
const isRead = () => $("records").matches(":hover, :focus-within") || find(".detail", $("records")) != null;
const freshen = () => {
  if (search()) { records(); return; }
  const body = $("records").tBodies[0];
  body.prepend(...held.map(row => document.adoptNode(row)));
  all("tr:not(.detail)", body).slice(MOST).forEach(row => row.remove());
  $("records").hidden = false;
  find("#found .none").hidden = true;
  held = [];
  $("fresh").hidden = true;
};
const heard = rows => {
  if (search() && !isRead()) { later("records", records, 3000); return; }
  held = [...rows, ...held].slice(0, MOST);
  if (!isRead()) { freshen(); return; }
  $("fresh").hidden = false;
  $("fresh").textContent = search() ? "Search again" : `Show ${held.length} new`;
};
const timers = {};
const later = (name, work, ms) => { timers[name] ??= setTimeout(() => { delete timers[name]; work(); }, ms); };

let since = null, last = Date.now();
const linked = well => {
  if (well) last = Date.now();
  if (well === (since == null)) return;
  since = well ? null : new Date();
  $("link").hidden = well;
  if (well) { mail(); records(); return; }
  $("link").textContent = `No connection to the proxy since ${since.toLocaleTimeString("en-GB")}. What is shown is as old; it connects again by itself.`;
};
let next = null;
const listen = () => {
  const events = new EventSource("/page");
  events.addEventListener("page", ({ data }) => {
    linked(true);
    // Not more often than the screen shows.
    if (!next) requestAnimationFrame(() => { show(next); next = null; });
    next = parse(data);
  });
  events.addEventListener("rows", ({ data }) => heard(all("tr", parse(data))));
  events.onerror = () => {
    linked(false);
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, 3000);
  };
};
setInterval(() => { if (Date.now() - last > 10000) linked(false); }, 1000);

// What is pressed.
const box = $("dialog");
box.onclose = () => { if (!box.open) box.replaceChildren(); };
const toast = (...inside) => {
  const node = make("div", { className: "toast" }, ...inside);
  node.append(make("button", { type: "button", ariaLabel: "Close", onclick: () => node.remove() }, "×"));
  $("toasts").replaceChildren(node);
};
const asked = page => {
  const ask = find("#ask", page);
  if (ask && (ask.dataset.kind === "ask" || find("#token", ask))) {
    box.replaceChildren(...ask.childNodes);
    if (!box.open) box.showModal();
    find("#token, .primary", box).focus();
    return;
  }
  box.close();
  if (!ask) return;
  for (const link of all("a", ask)) link.remove();
  for (const button of all("button", ask)) button.className = "";
  toast(...ask.childNodes);
};
const ask = async (url, options) => {
  try { asked(await get(url, options)); } catch (error) {
    // The login has ended.
    const key = options?.body.get("key");
    if (error.status === 401 && key) await ask(`/?${url.endsWith("/unblock") ? "lift" : "block"}=${encodeURIComponent(key)}`);
    else { box.close(); toast(make("p", {}, error.message)); }
  }
};
const explain = async link => {
  const row = link.closest("tr"), old = row.nextElementSibling;
  if (old?.className === "detail") {
    old.remove();
    link.ariaExpanded = "false";
    return;
  }
  const cell = make("td", { colSpan: 7 }), detail = make("tr", { className: "detail" }, cell);
  try { cell.append(...(find("#record", await get(link.href)) ?? make("p", {}, "This record is not kept any more.")).childNodes); } catch (error) { cell.append(error.message); }
  row.after(detail);
  link.ariaExpanded = "true";
};

document.addEventListener("submit", event => {
  const form = event.target, said = new URLSearchParams(new FormData(form, event.submitter));
  event.preventDefault();
  form.closest(".toast")?.remove();
  if (form.id === "search") records();
  else if (form.method === "get") ask(`/?${said}`);
  else ask(form.action, { method: "POST", body: said });
});
document.addEventListener("click", event => {
  const link = event.target.closest("a"), row = event.target.closest("#records tbody tr:not(.detail)");
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (row && !String(getSelection())) explain(find("a", row));
  else if (link?.closest("dialog, .ask")) { box.close(); $("ask")?.remove(); }
  else if (link?.dataset.range) {
    Object.assign(look, { range: link.dataset.range, picked: null });
    mail().then(() => { $("pick").value = $("pick").max; });
  } else if (link?.closest("th")) sortBy(link.closest("th"));
  else return;
  event.preventDefault();
});
const pick = $("pick");
pick.oninput = () => { look.picked = Number(pick.value); choose(); };
pick.onblur = pick.onpointerleave = event => {
  if (event.type === "pointerleave" && document.activeElement === pick) return;
  look.picked = null;
  choose();
};
pick.onpointermove = event => {
  const { left, width } = pick.getBoundingClientRect();
  look.picked = Math.max(0, Math.min(Number(pick.max), Math.floor((event.clientX - left) / width * (Number(pick.max) + 1))));
  choose();
};
$("q").oninput = () => later("search", records, 200);
$("fresh").onclick = freshen;
$("records").onpointerleave = () => { if (held.length && !isRead()) freshen(); };
document.documentElement.dataset.script = "";
if ($("ask")) { asked(document); $("ask").remove(); }
choose();
setInterval(() => { if (look.range !== "hour") mail(); }, 60000);
listen();
