// Plotly charts, the tooltip, and the ranks that charts and maps show.

const $ = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const color = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const dark = matchMedia('(prefers-color-scheme: dark)');
const touch = matchMedia('(pointer: coarse)');
const maps = JSON.parse($('#maps').textContent);
const world = Math.max(0, ...maps.map(plan => plan.ranks));
// Ranks stand at places 0 to world - 1; `rankAt` says which. Places from (incl.) to (excl.) are shown.
const view = { from: 0, to: world, cursor: 0, order: 'rank', plan: maps.length - 1, rankAt: [] };
const DOUBLE_CLICK = 300; // milliseconds
const redraws = []; // what depends on the view

function draw(plot, data, layout) {
  const [ink, line] = ['--ink', '--line'].map(color);
  for (const { line: own } of [...data, ...(layout.shapes ?? [])])
    if (own?.inked || own?.color === '--ink') Object.assign(own, { color: ink, inked: true });
  for (const axis of [layout.xaxis, layout.yaxis]) Object.assign(axis, { gridcolor: line, zerolinecolor: line, linecolor: line, ticklabeloverflow: 'allow' });
  Object.assign(layout, {
    font: { color: ink, size: 12, family: getComputedStyle(document.body).fontFamily },
    paper_bgcolor: 'transparent', plot_bgcolor: 'transparent',
    dragmode: touch.matches ? false : 'zoom', // a finger that scrolls the page must not zoom
  });
  return Plotly.react(plot, data, layout, { responsive: true, displayModeBar: false, doubleClick: false, doubleClickDelay: DOUBLE_CLICK });
}

function showTip(text, x, y) {
  const tip = $('.tip');
  tip.textContent = text;
  tip.hidden = false;
  tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${y + 18 + tip.offsetHeight > innerHeight ? Math.max(4, y - tip.offsetHeight - 12) : y + 18}px`;
}
function hideTip() { $('.tip').hidden = true; }

function orderRanks() {
  const { load } = maps[view.plan];
  view.rankAt = Array.from({ length: world }, (_, i) => i);
  if (view.order === 'busiest') view.rankAt.sort((a, b) => (load[b] ?? -1) - (load[a] ?? -1) || a - b);
}

function zoom(from, to) {
  view.from = Math.max(0, Math.min(world - 1, Math.floor(from)));
  view.to = Math.min(world, Math.max(view.from + 1, Math.ceil(to)));
  view.cursor = Math.max(view.from, Math.min(view.to - 1, view.cursor));
  hideTip();
  $('#shown').textContent = view.to - view.from === world ? '' : `${view.to - view.from} of ${world} ranks`;
  for (const redraw of redraws) redraw();
}

// The axis of places, with as many numbers of ranks as there is room for.
function rankAxis(plot, left) {
  const room = Math.max(1, Math.floor((plot.clientWidth - left - 12) / (9 * String(world).length + 14)));
  const dtick = 2 ** Math.max(0, Math.ceil(Math.log2((view.to - view.from) / room)));
  const axis = { range: [view.from - 0.5, view.to - 0.5], tick0: 0, dtick, tickmode: 'linear' };
  if (view.order === 'rank') return axis;
  const tickvals = Array.from({ length: Math.ceil(world / dtick) }, (_, i) => i * dtick);
  return { ...axis, tickmode: 'array', tickvals, ticktext: tickvals.map(place => view.rankAt[place]) };
}

// Zoom, hover, click and keys of a chart whose x are places of ranks. `text(place, point)` describes what is there,
// `act(place, point)` follows a click or Enter; `reset` shows all; `move(key)` moves a cursor of rows, and returns its
// height in the plot's area, 0 to 1.
function interact(plot, { text, act, reset = () => zoom(0, world), move = () => 0.1 }) {
  const placeOf = event => Math.max(view.from, Math.min(view.to - 1, Math.floor(event.xvals[0] + 0.5)));
  plot.tabIndex = 0;
  plot.on('plotly_hover', event => {
    view.cursor = placeOf(event);
    const found = text(view.cursor, event.points[0]);
    if (found) showTip(found, event.event.clientX, event.event.clientY);
    else hideTip();
  });
  plot.on('plotly_unhover', hideTip);
  let click = 0; // a click acts once it is not the first half of a double click
  plot.on('plotly_click', event => { click = setTimeout(() => act(view.cursor, event.points[0]), DOUBLE_CLICK); });
  plot.on('plotly_doubleclick', () => { clearTimeout(click); setTimeout(() => clearTimeout(click)); reset(); });
  plot.on('plotly_relayout', event => {
    if ('xaxis.range[0]' in event) zoom(event['xaxis.range[0]'] + 0.5, event['xaxis.range[1]'] + 0.5);
  });
  plot.addEventListener('blur', hideTip);
  plot.addEventListener('keydown', event => {
    const n = view.to - view.from, page = Math.max(1, Math.round(n / 10));
    const by = { ArrowLeft: -1, ArrowRight: 1, PageUp: -page, PageDown: page, Home: -world, End: world }[event.key] ?? 0;
    const wide = { '+': n / 2, '=': n / 2, '-': 2 * n }[event.key];
    if (!by && !wide && !['ArrowUp', 'ArrowDown', 'Enter', 'Escape'].includes(event.key)) return;
    event.preventDefault();
    view.cursor = Math.max(view.from, Math.min(view.to - 1, view.cursor + by));
    const high = move(event.key);
    if (event.key === 'Escape') { reset(); return; }
    if (event.key === 'Enter') { act(view.cursor); return; }
    if (wide) {
      const size = Math.max(1, Math.min(world, Math.round(wide)));
      const from = Math.max(0, Math.min(world - size, view.cursor - (size >> 1)));
      zoom(from, from + size);
    }
    const found = text(view.cursor), box = plot.getBoundingClientRect(), { l, r, t, b } = plot.layout.margin;
    if (!found) return;
    showTip(found, box.x + l + (view.cursor + 0.5 - view.from) / (view.to - view.from) * (box.width - l - r),
      box.y + t + high * (box.height - t - b));
    $('#spoken').textContent = found.replaceAll('\n', ', ');
  });
}

function rankChart(plot, { data, layout, tips }, pick) {
  const values = data.map(trace => trace.y);
  const paint = () => {
    data.forEach((trace, i) => {
      trace.y = view.rankAt.map(rank => values[i][rank] ?? null);
      // A step per rank, from half a place before it to half a place after.
      if (trace.type === 'scatter') Object.assign(trace, { x0: -0.5, dx: 1, y: [...trace.y, trace.y[world - 1]] });
    });
    Object.assign(layout.xaxis, rankAxis(plot, layout.margin.l));
    [ordered, ink] = [view.rankAt, color('--ink')];
    draw(plot, data, layout);
  };
  let ordered = null, ink = '';
  // Another part of the axis needs no new traces.
  redraws.push(() => {
    if (ordered !== view.rankAt || ink !== color('--ink')) { paint(); return; }
    const axis = Object.entries(rankAxis(plot, layout.margin.l)).map(([key, value]) => [`xaxis.${key}`, value]);
    Plotly.relayout(plot, Object.fromEntries(axis));
  });
  paint();
  interact(plot, { text: place => tips[view.rankAt[place]], act: place => pick(view.rankAt[place]) });
}

// Charts of the sweep do not zoom; those that are out of sight are drawn once they are not.
function sweepChart(plot, { data, layout, places, tips }) {
  const paint = () => { if (plot.offsetParent) draw(plot, data, layout); };
  redraws.push(paint);
  plot.closest('.choice').addEventListener('shown', paint);
  Plotly.newPlot(plot, [], {}, { displayModeBar: false });
  plot.on('plotly_hover', ({ xvals: [x], event }) => {
    const near = places.reduce((best, place, i) => (Math.abs(place - x) < Math.abs(places[best] - x) ? i : best), 0);
    showTip(tips[near], event.clientX, event.clientY);
  });
  plot.on('plotly_unhover', hideTip);
  paint();
}
