// Elements, numbers as text, colours, the tooltip, and when to draw again.

const PAGE = JSON.parse(document.getElementById('data').textContent);

// Children become text nodes, never markup: names come from outside.
function make(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props || {})) {
    if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, '');
    else if (value !== false && value != null) node.setAttribute(key, value);
  }
  node.append(...children.filter(child => child != null));
  return node;
}

const whole = new Intl.NumberFormat('en');
const count = value => whole.format(value);
const digits = (value, n) => (value === 0 ? '0' : Number(value.toPrecision(n)).toString());
const figure = (value, n = 4) => (Math.abs(value) >= 1e4 ? count(Math.round(value)) : digits(value, n));
const ms = value => `${figure(value)} ms`;
const percent = value => `${figure(100 * value, 3)}%`;

// Of memory: GiB = 2^30 bytes.
function size(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let unit = 0;
  while (bytes >= 1024 && unit + 1 < units.length) { bytes /= 1024; unit += 1; }
  return `${unit ? figure(bytes, 3) : bytes} ${units[unit]}`;
}

// Of what goes over links, whose speed is in GB/s: GB = 10^9 bytes.
const traffic = bytes => (bytes >= 1e9 ? `${figure(bytes / 1e9, 4)} GB` : `${figure(bytes / 1e6, 4)} MB`);
const plural = (n, word) => `${count(n)} ${word}${n === 1 ? '' : 's'}`;

// Okabe and Ito's colours, told apart by colour-blind readers: blue there, orange back; dark for
// computing, light for exchanging.
const PART_COLOURS = {
  fwd_compute: '#0072B2', fwd_comms: '#56B4E9', bwd_compute: '#D55E00', bwd_comms: '#E69F00',
  prefetch_compute: '#009E73', input_dist_comms: '#999999', sync: '#CC79A7',
};
const KIND_COLOURS = { weights: '#CC79A7', 'optimizer state': '#7A4E8A', 'buffers and caches': '#009E73' };
const PART_TITLES = {
  fwd_compute: 'forward compute', fwd_comms: 'forward comms', bwd_compute: 'backward compute',
  bwd_comms: 'backward comms', prefetch_compute: 'prefetch', input_dist_comms: "ids' exchange",
  sync: "replicas' averaging",
};
// What TorchRec's rating adds up, and what 2D parallelism adds to it; the ids' exchange runs beside the step before.
const RATED = ['fwd_compute', 'fwd_comms', 'bwd_compute', 'bwd_comms', 'prefetch_compute', 'sync'];
const ALL_PARTS = Object.keys(PAGE.parts);
const CATEGORY_COLOURS = ['#0072B2', '#E69F00', '#009E73', '#D55E00', '#CC79A7', '#56B4E9', '#9A8B00', '#7A7A7A'];

const dark = matchMedia('(prefers-color-scheme: dark)');
function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = name => style.getPropertyValue(name).trim();
  return { ink: of('--ink'), soft: of('--soft'), line: of('--line'), card: of('--card'), dark: dark.matches };
}

// What draws itself again when the page's state, its width or its colours change.
const drawn = [];
let waiting = false;
function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; for (const draw of drawn) draw(); });
}
dark.addEventListener('change', redraw);
addEventListener('resize', redraw);

const tip = make('div', { class: 'tip', hidden: true });
const spoken = make('div', { class: 'unseen', 'aria-live': 'polite', id: 'spoken' });

// Lines of text; the first is the heading. x, y: of the window.
function showTip(lines, x, y, aloud = false) {
  tip.replaceChildren(...lines.map((line, i) => make(i ? 'div' : 'b', null, line)));
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - width - 8))}px`;
  tip.style.top = `${y + 18 + height > innerHeight ? Math.max(4, y - height - 12) : y + 18}px`;
  if (aloud) spoken.textContent = lines.join(', ');
}
function hideTip() { tip.hidden = true; }

function key(items) {
  return make('ul', { class: 'key' }, ...items.map(({ name, colour, note }) => {
    const swatch = make('i');
    swatch.style.borderTop = `.7rem solid ${colour}`;
    return make('li', null, swatch, note ? `${name} (${note})` : name);
  }));
}

function facts(items) {
  return make('dl', { class: 'facts' }, ...items.map(([name, text]) =>
    make('div', null, make('dt', null, name), make('dd', null, text))));
}

function section(id, title, ...parts) {
  return make('section', { id, 'aria-labelledby': `${id}-title` },
    make('h2', { id: `${id}-title` }, title), ...parts);
}
const note = text => make('p', { class: 'note' }, text);

function choice(label, values, chosen, onchange) {
  const select = make('select', { onchange: () => onchange(select.value) },
    ...values.map(([value, text]) => make('option', { value, selected: value === chosen }, text)));
  return make('label', { class: 'control' }, label, select);
}
