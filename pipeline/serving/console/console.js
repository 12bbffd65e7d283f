"use strict";
const at = id => document.getElementById(id);
const node = (tag, text, kind) => {
  const found = document.createElement(tag);
  if (text !== undefined) found.textContent = text;
  if (kind) found.className = kind;
  return found;
};
const state = {card: null, answer: null, request: null, weights: null, score: null, seen: null, live: {}};
const digits = value => value === null ? "-" : value.toPrecision(4);

async function ask(path, options = {}) {
  const headers = {...options.headers};
  const key = at("key").value;
  if (key) headers.authorization = `Bearer ${key}`;
  if (options.body !== undefined) headers["content-type"] = "application/json";
  const answer = await fetch(path, {...options, headers});
  const text = await answer.text();
  const value = (answer.headers.get("content-type") || "").startsWith("application/json") ? JSON.parse(text) : text;
  if (!answer.ok) throw new Error(value.error ? value.error.message : text);
  return value;
}

function say(text) { at("message").textContent = text; at("message").hidden = !text; }
const guarded = work => async (...args) => {
  try { say(""); await work(...args); } catch (error) { say(error.message); }
};

const quoted = task => /^[A-Za-z_]\w*$/.test(task) ? task : `task(${JSON.stringify(task)})`;
const weightedSum = () => state.card.tasks.map(({name}) => `${state.weights[name]} * ${quoted(name)}`).join(" + ");

async function loadCard() {
  const card = state.card = await ask("/v1/model");
  at("title").textContent = card.name;
  at("lead").textContent = `${card.tasks.length} tasks, step ${card.step}, data ${card.dataset}, digest ${card.digest.slice(0, 12)}`;
  const parts = {
    "Formula": `${card.formula.formula} (version ${card.formula.version})`,
    "Tower": `${card.tower.kind || "own"}, ${card.tower.form}`,
    "Tables": `${card.tables.length}, ${card.tables.reduce((sum, one) => sum + one.rows, 0).toLocaleString("en")} rows`,
    "Rows": Object.entries(card.rows).map(([name, rows]) => `${name} ${rows.toLocaleString("en")}`).join(", "),
    "Split": card.split ? Object.entries(card.split).map(([k, v]) => `${k} ${v}`).join(", ") : "as prepared",
    "Parity": card.parity ? `${card.parity.max_difference.toExponential(1)} on ${card.parity.rows.toLocaleString("en")} rows` : "-",
    "Made by": card.made_by,
  };
  at("card").replaceChildren(...Object.entries(parts).map(([name, value]) => {
    const part = node("div");
    part.append(node("dt", name), node("dd", value));
    return part;
  }));
  const tasks = (card.metrics && card.metrics.tasks) || {};
  const names = ["auc", "gauc", "ne", "logloss", "calibration"].filter(name => Object.values(tasks).some(one => name in one));
  at("metrics").tHead.replaceChildren(row("th", ["validation", ...names]));
  at("metrics").tBodies[0].replaceChildren(...Object.entries(tasks).map(([task, one]) =>
    row("td", [task, ...names.map(name => typeof one[name] === "number" ? digits(one[name]) : "-")])));
  at("formula").value = card.formula.formula;
  state.weights = Object.fromEntries(card.tasks.map(({name}) => [name, 1]));
  at("weights").replaceChildren(...card.tasks.map(({name}) => slider(name)));
}

function row(tag, values) {
  const found = node("tr");
  found.append(...values.map((value, index) => node(index ? tag : "th", value, index ? "number" : "")));
  return found;
}

function slider(task) {
  const label = node("label"), head = node("span"), shown = node("output", "1"), input = node("input");
  Object.assign(input, {type: "range", min: 0, max: 5, step: 0.1, value: 1});
  input.dataset.task = task;
  head.append(node("b", task), shown);
  label.append(head, input);
  input.addEventListener("input", () => {
    state.weights[task] = Number(input.value);
    shown.textContent = input.value;
    at("formula").value = weightedSum();
    const columns = state.answer ? state.answer.probabilities : {};
    if (state.answer) state.score = state.answer.score.map((_, n) =>
      Object.entries(state.weights).reduce((sum, [name, weight]) => sum + weight * columns[name][n], 0));
    at("formula-note").textContent = "A weighted sum, computed here; Apply ranks every request with it.";
    draw();
  });
  return label;
}

function draw() {
  if (!state.answer) return;
  const {answer, score} = state;
  const tasks = Object.keys(answer.probabilities);
  const order = score.map((_, n) => n).sort((a, b) => (score[b] ?? -Infinity) - (score[a] ?? -Infinity) || a - b);
  const before = answer.score.map((_, n) => n).sort((a, b) => (answer.score[b] ?? -Infinity) - (answer.score[a] ?? -Infinity) || a - b);
  const place = new Map(before.map((n, index) => [n, index]));
  at("candidates").tHead.replaceChildren(row("th", ["candidate", "place", "was", "score", ...tasks]));
  at("candidates").tBodies[0].replaceChildren(...order.map((n, index) => row("td", [
    String(answer.id ? answer.id[n] : n), String(index + 1), String(place.get(n) + 1), digits(score[n]),
    ...tasks.map(task => digits(answer.probabilities[task][n]))])));
}

const rank = guarded(async () => {
  state.request = {...JSON.parse(at("request").value), sort: false, top: null};
  state.answer = await ask("/v1/rank", {method: "POST", body: JSON.stringify(state.request)});
  state.score = state.answer.score;
  const unknown = Object.entries(state.answer.unknown_ids).map(([name, count]) => `${name} ${count}`).join(", ");
  at("formula-note").textContent = `The server's formula, version ${state.answer.formula_version}.` + (unknown ? ` Unknown ids: ${unknown}.` : "");
  draw();
});

const pick = guarded(async () => {
  at("request").value = JSON.stringify(await ask(`/v1/samples/${at("sample").value}`), null, 1);
  await rank();
});

const preview = guarded(async () => {
  const body = JSON.stringify({formula: at("formula").value, request: state.request});
  state.score = (await ask("/v1/formula/preview", {method: "POST", body})).score;
  at("formula-note").textContent = "A preview; Apply ranks every request with it.";
  draw();
});

const apply = guarded(async () => {
  await ask("/v1/formula", {method: "PUT", body: JSON.stringify({formula: at("formula").value})});
  await loadCard();
  await rank();
});

const start = guarded(async () => {
  await loadCard();
  const {count} = await ask("/v1/samples");
  at("sample").replaceChildren(...Array.from({length: count}, (_, n) => {
    const option = node("option", String(n));
    option.value = n;
    return option;
  }));
  await pick();
  await measure();
});

// Live charts: differences of Prometheus counters.
const HEIGHT = 100, POINTS = 60, EVERY_MS = 2000;

function counters(text) {
  const found = {requests: 0, unknown: 0, buckets: new Map()};
  for (const line of text.split("\n")) {
    const value = Number(line.slice(line.lastIndexOf(" ") + 1));
    if (line.startsWith("homerec_unknown_ids_total")) found.unknown += value;
    const bucket = line.match(/^homerec_request_seconds_bucket\{le="([^"]+)",route="\/v1\/rank"\}/);
    if (bucket) found.buckets.set(bucket[1] === "+Inf" ? Infinity : Number(bucket[1]), value);
  }
  found.requests = found.buckets.get(Infinity) || 0;
  return found;
}

function quantile(now, before, share) {
  const wanted = share * (now.requests - before.requests);
  let low = 0, below = 0;
  for (const [edge, count] of now.buckets) {
    const inside = count - (before.buckets.get(edge) || 0);
    if (wanted > 0 && inside >= wanted) return edge === Infinity ? low : low + (edge - low) * (wanted - below) / (inside - below);
    low = edge; below = inside;
  }
  return 0;
}

function chart(name, value, unit) {
  const points = state.live[name] = [...(state.live[name] || []), value].slice(-POINTS);
  let figure = document.querySelector(`[data-chart="${name}"]`);
  if (!figure) {
    figure = node("figure");
    figure.dataset.chart = name;
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", `0 0 ${POINTS - 1} ${HEIGHT}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    svg.append(document.createElementNS("http://www.w3.org/2000/svg", "polyline"));
    figure.append(node("figcaption"), svg);
    at("live").append(figure);
  }
  const most = Math.max(...points, 1e-9);
  figure.querySelector("figcaption").textContent = `${name}: ${digits(value)} ${unit} (largest ${digits(most)})`;
  figure.querySelector("polyline").setAttribute("points", points.map((one, n) => `${n},${HEIGHT - 0.95 * HEIGHT * one / most}`).join(" "));
}

async function measure() {
  const now = counters(await ask("/metrics")), time = performance.now();
  const before = state.seen || {...now, time: time - EVERY_MS};
  const seconds = (time - before.time) / 1000;
  chart("Requests", (now.requests - before.requests) / seconds, "per s");
  chart("Median latency", 1000 * quantile(now, before, 0.5), "ms");
  chart("p99 latency", 1000 * quantile(now, before, 0.99), "ms");
  chart("Unknown ids", (now.unknown - before.unknown) / seconds, "per s");
  state.seen = {...now, time};
}

at("rank").addEventListener("click", rank);
at("sample").addEventListener("change", pick);
at("preview").addEventListener("click", preview);
at("apply").addEventListener("click", apply);
at("reset").addEventListener("click", guarded(async () => { await loadCard(); await rank(); }));
at("key").addEventListener("change", start);
window.ready = start();
setInterval(() => { if (state.card && !document.hidden) measure().catch(error => say(error.message)); }, EVERY_MS);
