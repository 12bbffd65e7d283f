// The map: a row a table, a column a rank, a cell where the table has shards.

// What a cell's colour may say.
const MAP_COLOURS = [['type', 'sharding type'], ['kernel', 'kernel'], ['bytes', 'bytes'], ['time', 'ms of a step']];

const hex = colour => [1, 3, 5].map(at => parseInt(colour.slice(at, at + 2), 16));
const pixel = ([r, g, b]) => (255 << 24 | b << 16 | g << 8 | r) >>> 0;

// Pale to strong on light ground, dim to bright on dark; 0 to 1 in 64 steps.
function ramp(isDark) {
  const stops = (isDark ? ['#1f3a4d', '#1f7a8c', '#7fd1b9', '#fff3b0'] : ['#cfe3ef', '#6baed6', '#08519c', '#2d004b']).map(hex);
  return Array.from({ length: 64 }, (_, i) => {
    const at = i / 63 * (stops.length - 1), low = Math.min(Math.floor(at), stops.length - 2);
    return stops[low].map((from, c) => Math.round(from + (stops[low + 1][c] - from) * (at - low)));
  });
}

class ShardMap {
  // rows(): tables to show, in order; onpick(table).
  constructor({ rows, onpick }) {
    Object.assign(this, { rows, onpick });
    this.colour = 'type';
    this.legend = make('div', { class: 'legend' });
    this.from = 0;
    this.to = 0;
    this.cursor = 0;
    this.surface = new Surface({
      label: 'Map of tables (rows) and ranks (columns); the list of tables says the same in words',
      height: () => (this.ordered.length > 500 ? 620 : Math.max(120, Math.min(620, 22 * this.ordered.length + 40))),
      edge: { left: 150, right: 12, top: 10, bottom: 26 },
      paint: (...args) => this.paint(...args),
      pick: (x, y) => this.pick(x, y),
      act: (x, y) => { const at = this.cell(x, y); if (at) onpick(at.table); },
      reset: () => { this.all(); zoomRanks(0, world); },
      keys: event => this.keys(event),
    });
    this.ordered = [];
    this.surface.drag = {
      area: ([a, b], [c, d]) => {
        const { box } = this.surface;
        const tall = Math.abs(b - d) > 4;
        return { x: Math.min(a, c), y: tall ? Math.min(b, d) : box.y, w: Math.abs(a - c), h: tall ? Math.abs(b - d) : box.h };
      },
      done: ([a, b], [c, d]) => {
        const { box } = this.surface;
        const row = y => this.from + (y - box.y) / box.h * (this.to - this.from);
        if (Math.abs(b - d) > 4) this.zoomRows(row(Math.min(b, d)), row(Math.max(b, d)));
        zoomRanks(positionAt(box, Math.min(a, c)), positionAt(box, Math.max(a, c)));
      },
    };
    this.allRows = make('button', { type: 'button', hidden: true, onclick: () => this.all() }, 'all tables');
    this.node = make('figure', { class: 'chart' },
      make('div', { class: 'controls' },
        choice('coloured by', MAP_COLOURS, this.colour, value => { this.colour = value; redraw(); }),
        this.allRows),
      this.legend, this.surface.node);
  }

  refresh() { this.ordered = this.rows(); this.all(); }

  all() { this.zoomRows(0, this.ordered.length); }

  zoomRows(from, to) {
    this.from = Math.max(0, Math.min(Math.floor(from), this.ordered.length - 1));
    this.to = Math.min(this.ordered.length, Math.max(Math.ceil(to), this.from + 1));
    this.cursor = Math.max(this.from, Math.min(this.to - 1, this.cursor));
    this.allRows.hidden = this.from === 0 && this.to === this.ordered.length;
    redraw();
  }

  // A colour for every table, or a scale for every cell.
  scale({ dark: isDark }) {
    const plan = shown(), { type, kernel, rated_ms: rated } = plan.tables;
    if (this.colour === 'type' || this.colour === 'kernel') {
      const of = this.colour === 'type' ? type : kernel;
      const names = [...new Set(of)].sort();
      const colour = new Map(names.map((name, i) => [name, CATEGORY_COLOURS[i % CATEGORY_COLOURS.length]]));
      const tally = new Map();
      for (const name of of) tally.set(name, (tally.get(name) || 0) + 1);
      this.legend.replaceChildren(key(names.map(name => ({ name, colour: colour.get(name), note: plural(tally.get(name), 'table') }))));
      const shades = new Map(names.map(name => [name, pixel(hex(colour.get(name)))]));
      return table => shades.get(of[table]);
    }
    const value = this.colour === 'bytes'
      ? (table, i) => plan.cells(table).bytes[i]
      : (table, i) => plan.cells(table).shards[i] * rated[table];
    let least = Infinity, most = 0;
    for (let table = 0; table < plan.length; table++) {
      const n = plan.cells(table).ranks.length;
      for (let i = 0; i < n; i++) {
        const it = value(table, i);
        if (it > most) most = it;
        if (it > 0 && it < least) least = it;
      }
    }
    const shades = ramp(isDark), bits = shades.map(pixel);
    const low = Math.log(least), span = Math.log(most) - low || 1;
    const text = this.colour === 'bytes' ? size : ms;
    const strip = make('span', { class: 'strip' });
    strip.style.background = `linear-gradient(90deg, ${shades.filter((_, i) => i % 9 === 0).map(c => `rgb(${c})`).join(',')})`;
    this.legend.replaceChildren(make('p', { class: 'key' }, make('span', null, least < Infinity ? text(least) : '0'), strip, make('span', null, `${text(most)} (logarithmic)`)));
    return (table, i) => bits[Math.max(0, Math.min(63, Math.round(63 * (Math.log(value(table, i)) - low) / span)))];
  }

  paint(context, box, shades, ratio) {
    const plan = shown(), shadeOf = this.scale(shades);
    const wide = Math.max(1, Math.round(box.w * ratio)), tall = Math.max(1, Math.round(box.h * ratio));
    const image = context.createImageData(wide, tall);
    const pixels = new Uint32Array(image.data.buffer);
    const rows = Math.max(1, this.to - this.from), ranks = view.to - view.from;
    const gapX = wide / ranks >= 4 * ratio ? Math.round(ratio) : 0, gapY = tall / rows >= 4 * ratio ? Math.round(ratio) : 0;
    this.stripes(pixels, wide, tall, gapX ? ranks : 0, shades);
    // Where pixels are fewer than tables or ranks, cells lie on each other. Every cell is drawn,
    // those of tables on few ranks last and no smaller than an eye finds.
    const few = row => plan.cells(this.ordered[row]).ranks.length * 8 <= ranks;
    const all = Array.from({ length: this.to - this.from }, (_, i) => this.from + i);
    for (const row of [...all.filter(at => !few(at)), ...all.filter(few)]) {
      const table = this.ordered[row], places = plan.cells(table).ranks;
      const least = few(row) ? Math.round(2 * ratio) : 1;
      const y0 = Math.floor((row - this.from) * tall / rows);
      const y1 = Math.max(Math.min(y0 + least, tall), Math.floor((row - this.from + 1) * tall / rows) - gapY);
      for (let i = 0; i < places.length; i++) {
        const place = placeOf[places[i]] - view.from;
        if (place < 0 || place >= ranks) continue;
        const x0 = Math.floor(place * wide / ranks);
        const x1 = Math.max(Math.min(x0 + least, wide), Math.floor((place + 1) * wide / ranks) - gapX);
        const shade = shadeOf(table, i);
        for (let y = y0; y < y1; y++) pixels.fill(shade, y * wide + x0, y * wide + x1);
      }
    }
    context.putImageData(image, Math.round(box.x * ratio), Math.round(box.y * ratio));
    context.strokeStyle = shades.line;
    context.strokeRect(box.x - 0.5, box.y - 0.5, box.w + 1, box.h + 1);
    rankNumbers(context, box, shades);
    this.names(context, box, shades);
  }

  // Every other host is tinted, while ranks stand in their order and are wide enough to see.
  stripes(pixels, wide, tall, ranks, { dark: isDark }) {
    const { local } = shown();
    if (!ranks || view.order !== 'rank' || local === 1) return;
    const tint = pixel(isDark ? [38, 44, 51] : [238, 241, 244]);
    for (let place = view.from; place < view.to; place++) {
      if (Math.floor(place / local) % 2) continue;
      const x0 = Math.floor((place - view.from) * wide / ranks), x1 = Math.floor((place - view.from + 1) * wide / ranks);
      for (let y = 0; y < tall; y++) pixels.fill(tint, y * wide + x0, y * wide + x1);
    }
  }

  names(context, box, { ink, soft }) {
    const { name } = shown().tables, high = box.h / (this.to - this.from);
    context.textAlign = 'right';
    context.textBaseline = 'middle';
    const step = Math.max(1, Math.ceil(14 / high));
    context.fillStyle = step === 1 ? ink : soft;
    for (let row = this.from; row < this.to; row += step) {
      let text = name[this.ordered[row]];
      if (context.measureText(text).width > box.x - 14) {
        while (text && context.measureText(`${text}\u2026`).width > box.x - 14) text = text.slice(0, -1);
        text += '\u2026';
      }
      context.fillText(text, box.x - 8, box.y + (row - this.from + 0.5) * high);
    }
  }

  cell(x, y) {
    const { box } = this.surface;
    if (!box || y < box.y || y >= box.y + box.h || x >= box.x + box.w) return null;
    const row = this.from + Math.floor((y - box.y) / box.h * (this.to - this.from));
    const place = Math.floor(positionAt(box, Math.max(x, box.x)));
    return { row, table: this.ordered[row], place, rank: rankAt[place] };
  }

  pick(x, y) {
    const at = this.cell(x, y), { box } = this.surface;
    if (!at || at.table === undefined) return null;
    const plan = shown(), { name, type, kernel, rated_ms: rated } = plan.tables;
    const high = box.h / (this.to - this.from), left = xOf(box, at.place), right = xOf(box, at.place + 1);
    const mark = { x: left, y: box.y + (at.row - this.from) * high, w: Math.max(right - left, 2), h: Math.max(high, 2) };
    const { table, rank } = at;
    if (rank >= plan.ranks) return { mark, lines: [name[table], `rank ${rank}: not in this plan`] };
    const shards = plan.at(table, rank);
    const lines = [name[table], rankName(plan, rank), `${type[table]}, ${kernel[table]}`];
    if (!shards.length) return { mark, lines: [name[table], `${rankName(plan, rank)}: nothing of it`, `it lies ${type[table]} on ${plural(plan.cells(table).ranks.length, 'rank')}`] };
    for (const { row, rows, column, columns } of shards.slice(0, 3))
      lines.push(`rows ${count(row)} to ${count(row + rows - 1)} (${count(rows)}), columns ${column} to ${column + columns - 1} (${columns})`);
    if (shards.length > 3) lines.push(`and ${plural(shards.length - 3, 'more shard')}`);
    lines.push(`${size(shards.reduce((sum, shard) => sum + shard.bytes, 0))} with optimizer state, ${ms(rated[table] * shards.length)}`);
    return { mark, lines };
  }

  keys(event) {
    const { box } = this.surface;
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (by) this.cursor = Math.max(this.from, Math.min(this.to - 1, this.cursor + by));
    else if (!rankKeys(event)) return null;
    return [xOf(box, view.cursor + 0.5), box.y + (this.cursor - this.from + 0.5) / (this.to - this.from) * box.h];
  }
}
