// The review console: reads the queue, shows one item, and asks for a reason before anything is decided.

import { el, minutes, number, runs, session, when } from "/console/draw.js";

const $ = (id) => document.getElementById(id);
const POLL_MS = 4000;
const PAGE = 50;
const COUNTED = ["open", "overdue", "claimed", "attack", "benign"];

const state = { csrf: "", name: "", items: [], total: 0, current: null, detail: null, version: -1, skew: 0, wanted: 0 };

class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

async function ask(path, body) {
  const options = { method: body === undefined ? "GET" : "POST", headers: {}, credentials: "same-origin", cache: "no-store" };
  if (body !== undefined) {
    options.headers = { "content-type": "application/json", "x-csrf-token": state.csrf };
    options.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(`/console/api/${path}`, options);
  } catch {
    throw new Refused(0, "the server does not answer");
  }
  let told = {};
  try {
    told = await answer.json();
  } catch {
    // An answer without a body is told by its status.
  }
  if (!answer.ok) {
    if (answer.status === 401 && path !== "login") signIn();
    throw new Refused(answer.status, told.detail || `status ${answer.status}`);
  }
  return told;
}

let toastTimer = 0;
function say(text, bad = false) {
  $("status").textContent = text;
  $("status").className = bad ? "toast on bad" : "toast on";
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { $("status").className = "toast"; }, bad ? 8000 : 4000);
}

function attempt(work) {
  return async (...given) => {
    try {
      return await work(...given);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      say(error.message, true);
      return undefined;
    }
  };
}

// ---- signing in

async function start() {
  const me = await ask("me");
  if (!me.signed_in) {
    signIn(me.by);
    return;
  }
  welcome(me);
}

function signIn(by) {
  $("desk").hidden = true;
  $("gate").hidden = false;
  for (const id of ["logout", "show-help", "show-proposals"]) $(id).hidden = true;
  $("who").textContent = "";
  $("counters").replaceChildren();
  if (by === "token") {
    $("login").hidden = true;
    $("gate-token").hidden = false;
  } else if (!$("login").hidden) $("secret").focus();
}

async function welcome(me) {
  Object.assign(state, { csrf: me.csrf, name: me.name });
  $("who").textContent = me.tenant ? `${me.name} · ${me.tenant}` : me.name;
  $("gate").hidden = true;
  $("desk").hidden = false;
  for (const id of ["logout", "show-help", "show-proposals"]) $(id).hidden = false;
  await load();
  const linked = Number(location.hash.slice(1));
  if (linked > 0) await open(linked);
  else if (state.items.length) await open(state.items[0].id);
}

$("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("gate-error").textContent = "";
  try {
    const me = await ask("login", { secret: $("secret").value });
    $("secret").value = "";
    await welcome(me);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    $("gate-error").textContent = error.message;
  }
});

$("logout").addEventListener("click", attempt(async () => {
  await ask("logout", {});
  location.replace("/console/");
}));

// ---- the list

function query(skip = 0) {
  const given = new FormData($("filters"));
  const parts = new URLSearchParams({ limit: String(PAGE), skip: String(skip) });
  for (const [name, value] of given) if (value) parts.set(name, value);
  return parts;
}

async function load(more = false) {
  const turn = ++state.wanted;
  const found = await ask(`items?${query(more ? state.items.length : 0)}`);
  // An older question may be answered after a newer one.
  if (turn !== state.wanted) return;
  state.items = more ? [...state.items, ...found.items] : found.items;
  state.total = found.total;
  state.skew = Date.parse(found.now) - Date.now();
  counters(found.counts);
  drawList();
}

function counters(counts) {
  state.version = counts.version;
  $("counters").replaceChildren(...COUNTED.map((name) =>
    el("div", { class: `count c-${name}${counts[name] ? "" : " none"}` }, el("dt", {}, name), el("dd", {}, counts[name].toLocaleString("en")))));
  $("show-proposals").textContent = counts.proposals ? `Allowlist (${counts.proposals})` : "Allowlist";
}

function due(item) {
  if (item.state === "decided") return el("span", { class: `label l-${item.label}` }, item.label);
  const left = Date.parse(item.due_at) - Date.now() - state.skew;
  return el("span", { class: left < 0 ? "due late" : "due" }, left < 0 ? `${minutes(left)} late` : `due in ${minutes(left)}`);
}

function drawList() {
  const focused = document.activeElement?.closest?.("#list li") ? document.activeElement.dataset.id : null;
  $("list").replaceChildren(...state.items.map((item) => el("li", {},
    el("button", {
      type: "button", class: `row b-${item.severity_band}`, "data-id": item.id,
      "aria-current": state.current === item.id ? "true" : null, on: { click: () => open(item.id, true) },
    },
      el("span", { class: "first" },
        el("span", { class: `band b-${item.severity_band}` }, item.severity_band),
        el("b", {}, item.threat_type.replaceAll("_", " ")), due(item)),
      el("span", { class: "words" }, item.excerpt ?? (item.text_removed ? "(text removed)" : "(no text)")),
      el("span", { class: "ids" }, `#${item.id}`, item.tenant ? ` · ${item.tenant}` : "", ` · ${item.channel}`,
        item.score === null ? "" : ` · ${number(item.score)}`, item.claimed_by ? ` · held by ${item.claimed_by}` : "")))));
  if (focused) $("list").querySelector(`[data-id="${Number(focused)}"]`)?.focus();
  $("more").hidden = state.items.length >= state.total;
  $("total").textContent = state.total ? `${state.total.toLocaleString("en")} items` : "Nothing fits. All quiet.";
}

$("filters").addEventListener("submit", (event) => event.preventDefault());
let typing = 0;
$("filters").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(attempt(() => load()), 200);
});
$("more").addEventListener("click", attempt(() => load(true)));

const next = attempt(async () => {
  const found = await ask("next", {});
  if (!found.item) {
    say("nothing is waiting");
    return;
  }
  await load();
  await open(found.item.id, true);
  say(`item ${found.item.id} is yours`);
});
$("next").addEventListener("click", next);

// ---- one item

const open = attempt(async (id, focus = false) => {
  const found = await ask(`items/${id}`);
  state.current = id;
  state.detail = found;
  if (location.hash !== `#${id}`) history.replaceState(null, "", `#${id}`);
  drawItem();
  for (const row of $("list").querySelectorAll(".row")) {
    const current = Number(row.dataset.id) === id;
    if (current) {
      row.setAttribute("aria-current", "true");
      row.scrollIntoView({ block: "nearest" });
    } else row.removeAttribute("aria-current");
  }
  if (focus && matchMedia("(max-width: 860px)").matches) $("case").scrollIntoView();
});

function facts(pairs) {
  return el("dl", { class: "facts" }, pairs.filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

function section(title, ...content) {
  return el("section", {}, el("h3", {}, title), ...content);
}

function drawItem() {
  const { item, has_text, left_out, session: turns, history: past, proposals } = state.detail;
  const evidence = item.detail.evidence ?? [];
  const open_ = item.state === "open";
  const mine = item.claimed_by === state.name;
  const held = item.claimed_by && !mine;
  const actions = open_
    ? [
      el("button", { type: "button", class: "attack", disabled: held, on: { click: () => decide("attack") } }, "Attack ", el("kbd", {}, "a")),
      el("button", { type: "button", class: "benign", disabled: held, on: { click: () => decide("benign") } }, "Benign ", el("kbd", {}, "b")),
      el("button", { type: "button", disabled: held, on: { click: hold } }, mine ? "Give back " : "Hold ", el("kbd", {}, "c")),
    ]
    : [
      el("button", { type: "button", on: { click: undo } }, "Undo ", el("kbd", {}, "u")),
      item.label === "benign" && el("button", { type: "button", on: { click: propose } }, "Let pass… ", el("kbd", {}, "p")),
    ];
  const parts = [
    el("header", { class: "head" },
      el("div", {},
        el("p", { class: "kicker" }, el("span", { class: `band b-${item.severity_band}` }, item.severity_band), due(item),
          held ? ` held by ${item.claimed_by}` : mine ? " yours" : ""),
        el("h2", {}, item.threat_type.replaceAll("_", " ")),
        el("p", { class: "soft" }, `item ${item.id} · ${item.action} · ${item.channel}`, item.tenant ? ` · tenant ${item.tenant}` : "")),
      el("div", { class: "actions" }, actions)),
    item.reason && el("p", { class: `decided l-${item.label}` }, el("b", {}, item.label), ` by ${item.reviewer}, ${when(item.decided_at)}: ${item.reason}`),
    item.detail.status && item.detail.status !== "ok" && el("p", { class: "error" }, `${item.detail.status}: ${item.detail.error ?? ""}`),
    el("div", { class: "scores" }, meter("score", item.score), meter("severity", item.severity),
      meter("session", item.detail.session_score), el("div", {}, el("span", {}, "p-value"), el("b", {}, item.p_value === null ? "–" : item.p_value.toPrecision(2)))),
    section("Text", has_text
      ? el("pre", { class: "text", tabindex: 0, "aria-label": "The text, evidence marked" }, runs(state.detail.runs, evidence))
      : el("p", { class: "soft" }, item.text_removed ? "The text was removed." : "There is no text; scan with --with-text."),
    left_out > 0 && el("p", { class: "soft" }, `${left_out.toLocaleString("en")} bytes more are not drawn.`)),
    el("div", { id: "views" }),
    evidence.length && section("Evidence", el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, ["found by", "pattern", "bytes", "score", "words"].map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, evidence.map((one) => el("tr", {}, el("td", {}, one.detector), el("td", {}, el("code", {}, one.pattern_id)),
        el("td", { class: "num" }, one.detector === "sessions" ? "–" : `${one.start}–${one.end}`), el("td", { class: "num" }, number(one.score)), el("td", { class: "said" }, one.words, one.means && el("small", { class: "means" }, one.means)))))))),
    turns.length > 1 && drawSession(turns, item),
    proposals.length && section("Allowlist", el("ul", { class: "plain" }, proposals.map(proposalLine))),
    section("History", el("ol", { class: "history" }, past.map((event) => el("li", {},
      el("time", { datetime: event.at }, when(event.at)), ` ${event.who} `, el("b", {}, event.label ? `${event.what} ${event.label}` : event.what),
      event.reason ? `: ${event.reason}` : "")))),
    section("Verdict", facts([["request", item.request_id], ["session", item.session_id], ["turn", item.turn], ["time", when(item.ts)],
      ["violations", (item.detail.violations ?? []).join(", ")], ["profile", item.detail.profile], ["engine", item.detail.engine_version],
      ["model", item.detail.model_version], ["signatures", item.detail.signature_version], ["policy", item.detail.policy_version]])),
  ];
  $("case").replaceChildren(...parts.filter(Boolean));
  $("case").setAttribute("aria-label", `Item ${item.id}`);
  if (has_text) drawViews(item.id);
}

function meter(name, value) {
  const level = value === null || value === undefined ? null : value >= 0.85 ? "bad" : value >= 0.5 ? "mid" : "fine";
  return el("div", {}, el("span", {}, name), el("b", { class: level }, number(value)),
    el("meter", { min: 0, max: 1, value: value ?? 0, class: level, "aria-label": name }));
}

const drawViews = attempt(async (id) => {
  const { views } = await ask(`items/${id}/views`);
  if (state.current !== id || !views.length) return;
  $("views").replaceChildren(section("Decoded", ...views.map((view) => el("figure", {},
    el("figcaption", {}, `from ${view.kind}, bytes ${view.start}–${view.end}`, view.depth > 1 ? `, ${view.depth} decodings deep` : ""),
    el("pre", { class: "text", tabindex: 0, "aria-label": `Decoded from ${view.kind}` }, runs(view.runs, []))))));
});

function drawSession(turns, item) {
  const here = turns.findIndex((turn) => turn.request_id === item.request_id && turn.turn === item.turn);
  return section("Session", el("div", { class: "scroll" }, session(turns, here)),
    el("details", { open: turns.length <= 12 }, el("summary", {}, `${turns.length} turns that the queue knows`), el("div", { class: "scroll" },
      el("table", { class: "turns" }, el("thead", {}, el("tr", {}, ["turn", "action", "score", "text"].map((name) => el("th", { scope: "col" }, name)))),
        el("tbody", {}, turns.map((turn, i) => el("tr", { class: i === here ? "here" : null, "aria-current": i === here ? "true" : null },
          el("td", { class: "num" }, turn.turn ?? ""), el("td", {}, el("span", { class: `act a-${turn.action}` }, turn.action)),
          el("td", { class: "num" }, number(turn.score)), el("td", { class: "said" }, turn.text ?? "–"))))))));
}

// ---- deciding

let answering = null;
function reasonFor(title, about, ok, work, { scopes = null, kind = "" } = {}) {
  if ($("ask").open) return;
  answering = work;
  $("ask-title").textContent = title;
  $("ask-about").textContent = about;
  $("ask-ok").textContent = ok;
  $("ask-ok").className = `primary ${kind}`;
  $("ask-error").textContent = "";
  $("reason").value = "";
  $("ask-scope").hidden = !scopes;
  if (scopes) {
    $("scope").replaceChildren(...scopes.map(([value, text]) => el("option", { value }, text)));
    $("expires").value = new Date(Date.now() + state.skew + 90 * 86400000).toISOString().slice(0, 10);
  }
  $("ask").showModal();
  $("reason").focus();
}

$("ask-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("ask-ok").disabled = true;
  try {
    const reason = $("reason").value;
    const told = await answering(reason);
    remember(reason);
    $("ask").close();
    say(told);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    $("ask-error").textContent = error.message;
  } finally {
    $("ask-ok").disabled = false;
  }
});
$("ask-cancel").addEventListener("click", () => $("ask").close());

const reasons = [];
function remember(reason) {
  const at = reasons.indexOf(reason);
  if (at >= 0) reasons.splice(at, 1);
  reasons.unshift(reason);
  reasons.length = Math.min(reasons.length, 12);
  $("reasons").replaceChildren(...reasons.map((value) => el("option", { value })));
}

function decide(label) {
  const item = state.detail?.item;
  if (!item || item.state !== "open") return;
  reasonFor(label === "attack" ? "An attack" : "Benign", `item ${item.id}: ${item.threat_type.replaceAll("_", " ")}`, `Decide: ${label}`, async (reason) => {
    await ask(`items/${item.id}/decide`, { label, reason });
    const at = state.items.findIndex((one) => one.id === item.id);
    await load();
    const following = state.items.find((one) => one.id === item.id) ? state.items[at + 1] : state.items[at];
    await open(following ? following.id : item.id);
    return `item ${item.id} is decided: ${label}`;
  }, { kind: label });
}

function undo() {
  const item = state.detail?.item;
  if (!item || item.state !== "decided") return;
  reasonFor("Undo the decision", `item ${item.id}: ${item.label}, by ${item.reviewer}`, "Undo", async (reason) => {
    await ask(`items/${item.id}/undo`, { reason });
    await load();
    await open(item.id);
    return `item ${item.id} is open again`;
  });
}

const hold = attempt(async () => {
  const item = state.detail?.item;
  if (!item || item.state !== "open") return;
  const mine = item.claimed_by === state.name;
  await ask(`items/${item.id}/${mine ? "release" : "claim"}`, {});
  await load();
  await open(item.id);
  say(mine ? `item ${item.id} is free again` : `item ${item.id} is yours for 15 minutes`);
});

function propose() {
  const item = state.detail?.item;
  if (!item || item.label !== "benign") return;
  const own = (item.detail.evidence ?? []).filter((one) => one.detector !== "sessions");
  const patterns = [...new Set(own.map((one) => one.pattern_id))];
  const scopes = [["text", "this very text"], ...patterns.map((id) => [`pattern:${id}`, `what the pattern ${id} finds`]),
    ...(item.named_by_session ? [] : [["threat", `everything of the type ${item.threat_type.replaceAll("_", " ")}`]])];
  reasonFor("Propose for the allowlist", `item ${item.id}${item.tenant ? `, for ${item.tenant} alone` : ", for all tenants"}; another person has to approve it`, "Propose", async (reason) => {
    const chosen = $("scope").value;
    const scope = chosen.startsWith("pattern:") ? "pattern" : chosen;
    const pattern = scope === "pattern" ? chosen.slice(8) : null;
    await ask(`items/${item.id}/propose`, { reason, scope, pattern, expires: $("expires").value || null });
    await load();
    await open(item.id);
    return "proposed; another person has to approve it";
  }, { scopes });
}

// ---- the allowlist

function proposalLine(one) {
  const what = one.pattern_id ? `pattern ${one.pattern_id}` : one.threat ? one.threat.replaceAll("_", " ") : `text ${(one.sha256 ?? "").slice(0, 12)}`;
  const answered = one.answered_by ? `, ${one.state} by ${one.answered_by}: ${one.answer}` : "";
  const line = el("li", { class: `proposal s-${one.state}` }, el("b", {}, what), one.tenant ? ` of ${one.tenant}` : "", ` until ${one.expires}; item ${one.item}. `,
    el("span", { class: "soft" }, `${one.proposed_by}: ${one.reason}${answered}`));
  if (one.state === "open") {
    const own = one.proposed_by === state.name;
    line.append(el("span", { class: "actions" },
      !own && el("button", { type: "button", on: { click: () => answer(one, "approve") } }, "Approve…"),
      el("button", { type: "button", on: { click: () => answer(one, "reject") } }, own ? "Take back…" : "Reject…")));
  }
  return line;
}

function answer(one, how) {
  $("proposals").close();
  reasonFor(how === "approve" ? "Approve the entry" : "Turn the entry down", `proposal ${one.id} of ${one.proposed_by}`, how === "approve" ? "Approve" : "Turn down", async (reason) => {
    const { proposal } = await ask(`proposals/${one.id}/${how}`, { reason });
    await load();
    if (state.current) await open(state.current);
    return `proposal ${one.id} is ${proposal.state}`;
  });
}

$("show-proposals").addEventListener("click", attempt(async () => {
  const { proposals } = await ask("proposals");
  $("proposal-list").replaceChildren(proposals.length ? el("ul", { class: "plain" }, proposals.reverse().map(proposalLine)) : el("p", {}, "Nothing is proposed. Decide an item as benign, then let it pass."));
  $("proposals").showModal();
}));

// ---- keys, and what changes meanwhile

const help = () => $("help").showModal();
$("show-help").addEventListener("click", help);

function step(by) {
  const at = state.items.findIndex((item) => item.id === state.current);
  const item = state.items[at < 0 ? 0 : at + by];
  if (item) open(item.id);
}

const KEYS = {
  j: () => step(1), k: () => step(-1), a: () => decide("attack"), b: () => decide("benign"), u: undo, c: hold, n: next, p: propose,
  "?": help, "/": () => $("filters").elements.search.focus(),
};

document.addEventListener("keydown", (event) => {
  // Until the next frame the focus stays in a dialog that has just closed.
  const field = event.target.closest?.("input, select, textarea");
  const typing = field && !field.closest("dialog:not([open])");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || $("desk").hidden || document.querySelector("dialog[open]")) return;
  const work = KEYS[event.key];
  if (work) {
    event.preventDefault();
    work();
  }
});

async function poll() {
  if (!document.hidden && !$("desk").hidden) {
    try {
      const counts = await ask("counts");
      const changed = counts.version !== state.version;
      state.skew = Date.parse(counts.now) - Date.now();
      counters(counts);
      if (changed && state.items.length <= PAGE && !document.querySelector("dialog[open]")) {
        await load();
        if (state.current && !$("case").contains(document.activeElement)) await open(state.current);
      }
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (error.status !== 401) say(error.message, true);
    }
  }
  setTimeout(poll, POLL_MS);
}

start().catch((error) => {
  if (!(error instanceof Refused)) throw error;
  signIn();
  $("gate-error").textContent = error.message;
});
setTimeout(poll, POLL_MS);
