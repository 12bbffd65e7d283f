// The map: a row for each table, a column for each rank, a cell where the table has shards.

const SHADES = ['#0072B2', '#E69F00', '#009E73', '#D55E00', '#CC79A7', '#56B4E9', '#9A8B00', '#7A7A7A'];
const RAMPS = { light: ['#cfe3ef', '#6baed6', '#08519c', '#2d004b'], dark: ['#1f3a4d', '#1f7a8c', '#7fd1b9', '#fff3b0'] };
const LEFT = 150, RIGHT = 12, TOP = 10, BOTTOM = 26;
// Plotly takes ticks for HTML.
const plain = text => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
const short = value => value.toLocaleString('en', { maximumSignificantDigits: 4 });
function memory(bytes) {
  const unit = Math.min(5, bytes < 1 ? 0 : Math.floor(Math.log2(bytes) / 10));
  return `${short(bytes / 1024 ** unit)} ${['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'][unit]}`;
}
const size = (table, rows, columns) => rows * (table.bytes[0] + columns * table.bytes[1]);

// [rank, bytes, number of shards] of each rank that has some of a table.
function cells(table) {
  table.cells ??= (() => {
    const found = new Map();
    for (const [first, n, , rows, , columns] of table.runs)
      for (let rank = first; rank < first + n; rank++) {
        const [, bytes, shards] = found.get(rank) ?? [rank, 0, 0];
        found.set(rank, [rank, bytes + size(table, rows, columns), shards + 1]);
      }
    return [...found.values()];
  })();
  return table.cells;
}

// Returns what paints it; `shown.rows`: rows of the list, in order; `open(row)`: after a click.
function shardMap(root, { ranks, local, tables }, shown, open) {
  const plot = $('.map', root), by = () => $('[name=color]', root).value;
  const tableAt = y => tables[shown.rows[y].index];
  let [top, bottom] = [0, 0], cursor = 0, grid = [], waiting = false;

  // Colors of the cells as numbers, and what they mean.
  function scale() {
    const of = by();
    if (of === 'type' || of === 'kernel') {
      const names = [...new Set(tables.map(table => table[of]))].sort(), n = names.length;
      for (const table of tables) table.code = names.indexOf(table[of]);
      const key = names.map((name, i) => [`${name} (${tables.filter(table => table[of] === name).length})`, SHADES[i % SHADES.length]]);
      const colorscale = key.flatMap(([, shade], i) => [[i / n, shade], [(i + 1) / n, shade]]);
      return { value: table => table.code, key, shading: { zmin: -0.5, zmax: n - 0.5, colorscale } };
    }
    const raw = of === 'bytes' ? (table, [, bytes]) => bytes : (table, [, , shards]) => table.ms * shards;
    const value = (table, cell) => Math.log10(Math.max(raw(table, cell), 1e-9));
    const values = tables.flatMap(table => cells(table).map(cell => value(table, cell)));
    const [low, high] = values.reduce(([a, b], it) => [Math.min(a, it), Math.max(b, it)], [Infinity, -Infinity]);
    const ramp = RAMPS[dark.matches ? 'dark' : 'light'], text = it => (of === 'bytes' ? memory(10 ** it) : `${short(10 ** it)} ms`);
    const stops = [0, 1 / 3, 2 / 3, 1].map(at => low + at * (high - low));
    return { value, key: stops.map((it, i) => [text(it), ramp[i]]), shading: { zmin: low, zmax: high > low ? high : low + 1, colorscale: ramp.map((shade, i) => [i / 3, shade]) } };
  }

  function paintNow() {
    waiting = false;
    if (!root.offsetParent) return;
    const height = Math.max(120, Math.min(620, 22 * shown.rows.length + TOP + BOTTOM));
    const { value, key, shading } = scale();
    // A cell of the grid is no smaller than two pixels: where tables or ranks are narrower, they share one. Tables on
    // few ranks come last, so that no other hides them.
    const wide = Math.min(view.to - view.from, Math.max(1, Math.floor((plot.clientWidth - LEFT - RIGHT) / 2)));
    const tall = Math.min(Math.max(1, bottom - top), Math.floor((height - TOP - BOTTOM) / 2));
    const dx = (view.to - view.from) / wide, dy = Math.max(1, bottom - top) / tall;
    const placeOf = [];
    view.rankAt.forEach((rank, place) => { placeOf[rank] = place; });
    const z = Array.from({ length: tall }, () => new Array(wide).fill(null));
    grid = Array.from({ length: tall }, () => new Int32Array(wide).fill(-1));
    const order = Array.from({ length: bottom - top }, (_, i) => [cells(tableAt(top + i)), top + i]);
    for (const [places, y] of order.sort((a, b) => b[0].length - a[0].length)) {
      const table = tableAt(y), row = Math.floor((y - top) / dy), values = z[row], owners = grid[row];
      for (const cell of places) {
        const place = placeOf[cell[0]];
        if (place < view.from || place >= view.to) continue;
        const column = Math.floor((place - view.from) / dx);
        values[column] = value(table, cell);
        owners[column] = y;
      }
    }
    const step = Math.max(1, Math.ceil(14 * (bottom - top) / (height - TOP - BOTTOM)));
    const ticks = Array.from({ length: Math.ceil((bottom - top) / step) }, (_, i) => top + i * step);
    const names = ticks.map(y => { const { name } = tableAt(y); return plain(name.length > 20 ? `${name.slice(0, 19)}\u2026` : name); });
    const gap = wide * tall < 4000 ? 1 : 0;
    draw(plot, [{ type: 'heatmap', z, x0: view.from + dx / 2 - 0.5, dx, y0: top + dy / 2 - 0.5, dy, xgap: gap, ygap: gap, showscale: false, hoverinfo: 'none', ...shading }], {
      height, margin: { l: LEFT, r: RIGHT, t: TOP, b: BOTTOM }, shapes: hosts(),
      xaxis: { showgrid: false, zeroline: false, ...rankAxis(plot, LEFT) },
      yaxis: { showgrid: false, zeroline: false, range: [Math.max(bottom, top + 1) - 0.5, top - 0.5], tickvals: ticks, ticktext: names },
    });
    $('.key', root).replaceChildren(...key.map(([text, shade]) => {
      const item = document.createElement('li'), swatch = document.createElement('i');
      swatch.style.borderTop = `.7rem solid ${shade}`;
      item.append(swatch, text);
      return item;
    }));
  }

  // Every other host is tinted, where ranks are wide enough to see.
  function hosts() {
    if (view.order !== 'rank' || local === 1 || (plot.clientWidth - LEFT - RIGHT) / (view.to - view.from) < 4) return [];
    return Array.from({ length: Math.ceil(ranks / local / 2) }, (_, i) => ({
      type: 'rect', layer: 'below', yref: 'paper', y0: 0, y1: 1, x0: 2 * i * local - 0.5, x1: Math.min((2 * i + 1) * local, ranks) - 0.5,
      line: { width: 0 }, fillcolor: dark.matches ? '#262c33' : '#eef1f4',
    }));
  }

  function describe(y, place) {
    const table = tableAt(y), rank = view.rankAt[place];
    if (rank >= ranks) return `${table.name}\nrank ${rank}: not in this plan`;
    const found = table.runs.filter(([first, n]) => rank >= first && rank < first + n);
    const lines = found.map(([first, , row, rows, column, columns]) => {
      const from = row + (table.copied ? 0 : (rank - first) * rows);
      return `rows ${from.toLocaleString('en')} to ${(from + rows - 1).toLocaleString('en')} (${rows.toLocaleString('en')}), columns ${column} to ${column + columns - 1} (${columns})`;
    });
    const more = lines.splice(3).length, where = ranks > local ? `rank ${rank}, host ${Math.floor(rank / local)}` : `rank ${rank}`;
    if (!found.length) return `${table.name}\n${where}: no shard\n${table.type} on ${cells(table).length} ranks`;
    const bytes = found.reduce((sum, [, , , rows, , columns]) => sum + size(table, rows, columns), 0);
    return [table.name, where, `${table.type}, ${table.kernel}`, ...lines, ...(more ? [`and ${more} more shards`] : []),
      `${memory(bytes)} with optimizer state, ${short(table.ms * found.length)} ms`].join('\n');
  }

  // What a point of the plot shows; without one, what the cursor of the keyboard is at.
  function at(place, point) {
    if (!point) return [cursor, place];
    const [row, column] = point.pointNumber, y = grid[row][column];
    return [y < 0 ? Math.max(top, Math.min(bottom - 1, Math.floor(point.y + 0.5))) : y, place];
  }

  const paint = (whole = false) => {
    if (whole) [top, bottom, cursor] = [0, shown.rows.length, 0];
    if (!waiting) requestAnimationFrame(() => setTimeout(paintNow)); // after the list
    waiting = true;
  };
  Plotly.newPlot(plot, [], { margin: { l: LEFT, r: RIGHT, t: TOP, b: BOTTOM } }, { displayModeBar: false });
  interact(plot, {
    text: (place, point) => (shown.rows.length ? describe(...at(place, point)) : ''),
    act: (place, point) => { if (shown.rows.length) open(shown.rows[at(place, point)[0]]); },
    reset: () => { [top, bottom] = [0, shown.rows.length]; zoom(0, world); },
    move: key => {
      cursor = Math.max(top, Math.min(bottom - 1, cursor + ({ ArrowUp: -1, ArrowDown: 1 }[key] ?? 0)));
      return (cursor + 0.5 - top) / Math.max(1, bottom - top);
    },
  });
  plot.on('plotly_relayout', event => {
    if (!('yaxis.range[0]' in event)) return;
    top = Math.max(0, Math.min(shown.rows.length - 1, Math.floor(event['yaxis.range[1]'] + 0.5)));
    bottom = Math.min(shown.rows.length, Math.max(top + 1, Math.ceil(event['yaxis.range[0]'] + 0.5)));
    paint();
  });
  return paint;
}
