// The axis of ranks that the bars and the map share: which ranks, in which order.

const world = plans.length ? Math.max(...plans.map(plan => plan.ranks)) : 0;
const view = {
  plan: plans.length - 1, // whose tables and map are shown, and who orders the ranks
  order: 'rank',
  from: 0, // positions on the axis
  to: world,
  cursor: 0,
};
const shown = () => plans[view.plan];

let rankAt = Int32Array.from({ length: world }, (_, i) => i);
let placeOf = rankAt.slice();

function orderRanks(order) {
  view.order = order;
  const load = rank => (rank < shown().ranks ? shown().load[rank] : -1);
  rankAt = Int32Array.from({ length: world }, (_, i) => i);
  if (order === 'busiest') rankAt.sort((a, b) => load(b) - load(a) || a - b);
  placeOf = new Int32Array(world);
  rankAt.forEach((rank, place) => { placeOf[rank] = place; });
  redraw();
}

const zoomed = [];
function zoomRanks(from, to) {
  view.from = Math.max(0, Math.min(Math.floor(from), world - 1));
  view.to = Math.min(world, Math.max(Math.ceil(to), view.from + 1));
  view.cursor = Math.max(view.from, Math.min(view.to - 1, view.cursor));
  for (const told of zoomed) told();
  redraw();
}

const hostOf = (plan, rank) => Math.floor(rank / plan.local);
const rankName = (plan, rank) =>
  `rank ${rank}${plan.ranks > plan.local ? `, host ${hostOf(plan, rank)}` : ''}`;

// From a place in the box to a position, not rounded; and back.
const positionAt = (box, x) => view.from + (x - box.x) / box.w * (view.to - view.from);
const xOf = (box, position) => box.x + (position - view.from) / (view.to - view.from) * box.w;

// Numbers of the ranks under the axis, as many as there is room for.
function rankNumbers(context, box, { soft }) {
  const n = view.to - view.from;
  const room = Math.max(1, Math.floor(box.w / (9 * String(world).length + 14)));
  const steps = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096];
  const step = steps.find(by => n / by <= room) || n;
  context.fillStyle = soft;
  context.textAlign = 'center';
  context.textBaseline = 'top';
  for (let place = Math.ceil(view.from / step) * step; place < view.to; place += step)
    context.fillText(String(rankAt[place]), xOf(box, place + 0.5), box.y + box.h + 6);
}

// The horizontal part of a drag on a chart of ranks.
const dragRanks = surface => ({
  area: ([a], [b]) => ({ x: Math.min(a, b), y: surface.box.y, w: Math.abs(a - b), h: surface.box.h }),
  done: ([a], [b]) => zoomRanks(positionAt(surface.box, Math.min(a, b)), positionAt(surface.box, Math.max(a, b))),
});

// Arrows, Home, End, + and - on a chart of ranks: the cursor's place.
function rankKeys(event) {
  const page = Math.max(1, Math.round((view.to - view.from) / 10));
  const by = { ArrowLeft: -1, ArrowRight: 1, PageUp: -page, PageDown: page, Home: -world, End: world }[event.key];
  if (by) view.cursor = Math.max(view.from, Math.min(view.to - 1, view.cursor + by));
  else if (event.key === '+' || event.key === '=') zoomAround(0.5);
  else if (event.key === '-') zoomAround(2);
  else if (event.key !== 'Enter') return false;
  return true;
}
function zoomAround(by) {
  const n = Math.max(1, Math.min(world, Math.round((view.to - view.from) * by)));
  const from = Math.max(0, Math.min(world - n, view.cursor - (n >> 1)));
  zoomRanks(from, from + n);
}

function rankControls() {
  const all = make('button', { type: 'button', hidden: true, onclick: () => zoomRanks(0, world) }, 'all ranks');
  const part = make('span', { class: 'note', role: 'status' });
  zoomed.push(() => {
    const whole = view.from === 0 && view.to === world;
    all.hidden = whole;
    part.textContent = whole ? '' : `${plural(view.to - view.from, 'rank')} of ${count(world)}`;
  });
  return make('div', { class: 'controls' },
    choice('ranks in order of', [['rank', 'number'], ['busiest', 'time, busiest first']], view.order, orderRanks),
    all, part);
}
