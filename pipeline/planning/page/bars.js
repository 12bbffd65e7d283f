// Bars by rank: stacked parts, a limit that may differ by rank, lines across.

class Bars {
  // stacks: [{name, colour, values}] by rank; limit: by rank, or null; lines: [{name, value}];
  // top(): where the upright axis ends, shared with other plans' bars.
  constructor({ plan, label, height, stacks, limit = null, limitName = '', lines = [], top, text, axis, more = () => [], onpick }) {
    Object.assign(this, { plan, stacks, limit, limitName, lines, top, text, axis, more });
    this.total = new Float64Array(plan ? plan.ranks : world);
    for (const { values } of stacks) values.forEach((value, rank) => { this.total[rank] += value; });
    this.surface = new Surface({
      label, height,
      paint: (...args) => this.paint(...args),
      pick: (x, y) => this.pick(x, y),
      act: x => { const at = this.groupAt(x); if (at && onpick) onpick(this.best(at)); },
      reset: () => zoomRanks(0, world),
      keys: event => rankKeys(event) && [xOf(this.surface.box, view.cursor + 0.5), this.surface.box.y + 12],
    });
    this.surface.drag = dragRanks(this.surface);
    this.node = this.surface.node;
  }

  // Ranks that share a column of pixels: first and last position.
  group(box, g, groups) {
    const n = view.to - view.from;
    return [view.from + Math.floor(g * n / groups), view.from + Math.floor((g + 1) * n / groups)];
  }

  groups(box) { return Math.min(view.to - view.from, Math.floor(box.w * (devicePixelRatio || 1))); }

  // A column shows the highest of its ranks; -1 where the plan has none.
  best([first, last]) {
    let found = -1;
    for (let place = first; place < last; place++) {
      const rank = rankAt[place];
      if (rank < this.total.length && (found < 0 || this.total[rank] > this.total[found])) found = rank;
    }
    return found;
  }

  paint(context, box, shades, ratio) {
    const most = this.top() || 1, groups = this.groups(box);
    upright(context, box, most, this.text, shades);
    const each = box.w / groups, gap = each >= 6 ? Math.min(each * 0.2, 12) : each >= 3 ? 1 : 0;
    // On whole pixels of the screen: columns that begin within one look striped.
    const snap = x => Math.round(x * ratio) / ratio;
    const ranks = Array.from({ length: groups }, (_, g) => this.best(this.group(box, g, groups)));
    const base = new Float64Array(groups);
    const high = value => value / most * box.h;
    for (const { values, colour } of this.stacks) {
      context.fillStyle = colour;
      ranks.forEach((rank, g) => {
        if (rank < 0 || !values[rank]) return;
        const y = box.y + box.h - high(base[g] + values[rank]);
        const x = snap(box.x + g * each + gap / 2);
        context.fillRect(x, y, Math.max(snap(box.x + (g + 1) * each - gap / 2) - x, 0.5), high(values[rank]));
        base[g] += values[rank];
      });
    }
    if (this.limit) this.paintLimit(context, box, ranks, each, high, shades);
    for (const { value } of this.lines) {
      const y = Math.round(box.y + box.h - high(value)) + 0.5;
      context.strokeStyle = shades.ink;
      context.lineWidth = 1.5;
      context.setLineDash([6, 4]);
      context.beginPath();
      context.moveTo(box.x, y);
      context.lineTo(box.x + box.w, y);
      context.stroke();
      context.setLineDash([]);
    }
    rankNumbers(context, box, shades);
    context.save();
    context.translate(12, box.y + box.h / 2);
    context.rotate(-Math.PI / 2);
    context.textAlign = 'center';
    context.textBaseline = 'middle';
    context.fillStyle = shades.soft;
    context.fillText(this.axis, 0, 0);
    context.restore();
  }

  paintLimit(context, box, ranks, each, high, { ink }) {
    context.strokeStyle = ink;
    context.lineWidth = 2;
    context.beginPath();
    ranks.forEach((rank, g) => {
      if (rank < 0) return;
      const y = box.y + box.h - high(this.limit[rank]);
      context.moveTo(box.x + g * each, y);
      context.lineTo(box.x + (g + 1) * each, y);
    });
    context.stroke();
  }

  groupAt(x) {
    const { box } = this.surface;
    if (!box || x < box.x || x >= box.x + box.w) return null;
    const groups = this.groups(box);
    const g = Math.min(groups - 1, Math.floor((x - box.x) / box.w * groups));
    return Object.assign(this.group(box, g, groups), { x: box.x + g * box.w / groups, w: box.w / groups });
  }

  pick(x) {
    const at = this.groupAt(x), { box } = this.surface;
    const rank = at ? this.best(at) : -1;
    if (rank < 0) return null;
    const others = at[1] - at[0] - 1;
    const lines = [
      `${this.plan ? rankName(this.plan, rank) : `rank ${rank}`}: ${this.text.value(this.total[rank])}`,
      ...this.stacks.filter(({ values }) => this.stacks.length > 1 && values[rank])
        .map(({ name, values }) => `${name} ${this.text.value(values[rank])}`).reverse(),
    ];
    if (this.limit) lines.push(`${this.limitName} ${this.text.value(this.limit[rank])} (${percent(this.limit[rank] ? this.total[rank] / this.limit[rank] : 0)} used)`);
    lines.push(...this.more(rank));
    if (others) lines.push(`the highest of ${others + 1} ranks in this column; drag to see fewer`);
    return { lines, mark: { x: at.x, y: box.y, w: Math.max(at.w, 1), h: box.h } };
  }
}

// All bars of a figure end where the highest of them needs it.
const highest = (...lists) => Math.max(...lists.map(values => values.reduce((most, value) => Math.max(most, value), 0)));

function timeBars(plan, name, onpick) {
  const used = RATED.filter(part => plans.some(other => other.ms[part].some(took => took > 0)));
  return new Bars({
    plan, onpick, axis: 'ms', height: 230,
    label: `${name}milliseconds of a step by rank and part: busiest rank ${plan.busiest}, ${ms(plan.load[plan.busiest])}; mean ${ms(plan.mean)}`,
    stacks: used.map(part => ({ name: PART_TITLES[part], colour: PART_COLOURS[part], values: plan.ms[part] })),
    lines: [{ value: plan.lower_bound_ms }],
    top: () => 1.04 * highest(...plans.map(other => other.load), plans.map(other => other.lower_bound_ms)),
    text: { tick: value => figure(value, 3), value: ms },
    more: rank => (plan.ms.input_dist_comms[rank] ? [`beside the step: ids' exchange ${ms(plan.ms.input_dist_comms[rank])}`] : []),
  });
}

// What there is of, on any rank of any plan.
const kindsOf = memory => Object.keys(KIND_COLOURS).map(name => ({ name, colour: KIND_COLOURS[name] }))
  .filter(({ name }) => plans.some(plan => plan.kinds[memory][name].some(bytes => bytes > 0)));

function memoryBars(plan, memory, name, onpick) {
  const most = plan.most(memory);
  return new Bars({
    plan, onpick, axis: `${memory.toUpperCase()} (GiB)`, height: 180,
    label: `${name}${memory.toUpperCase()} by rank: most on rank ${most}, ${size(plan.used[memory][most])} of ${size(plan.room[memory][most])}`,
    stacks: kindsOf(memory).map(({ name: kind, colour }) => ({ name: kind, colour, values: plan.kinds[memory][kind] })),
    limit: plan.room[memory], limitName: 'room for tables',
    top: () => 1.06 * highest(...plans.flatMap(other => [other.used[memory], other.room[memory]])),
    text: { tick: value => figure(value / 2 ** 30, 3), value: size, unit: 2 ** 30 },
  });
}

function ranksSection(onpick) {
  const several = plans.length > 1;
  const used = RATED.filter(part => plans.some(plan => plan.ms[part].some(took => took > 0)));
  const time = make('figure', { class: 'chart', id: 'time' }, make('figcaption', null,
    make('h3', null, 'Time of a step, by rank'),
    note("What TorchRec's estimators say a rank's shards take. The dashed line: no plan under the same rules takes less. The exchange of ids runs beside the step and is not in the bars."),
    key(used.map(part => ({ name: PART_TITLES[part], colour: PART_COLOURS[part], note: PAGE.parts[part] === PART_TITLES[part] ? '' : PAGE.parts[part] })))));
  for (const plan of plans) {
    if (several) time.append(make('h4', null, plan.name));
    time.append(timeBars(plan, several ? `${plan.name}: ` : '', onpick).node);
  }
  const memories = [...new Set(plans.flatMap(plan => plan.memories()))];
  const memory = make('figure', { class: 'chart', id: 'memory' }, make('figcaption', null,
    make('h3', null, 'Memory of a rank'),
    note('As TorchRec counts it; buffers hold the ids and rows of a batch. The line: what a rank has for tables once the rest of the model, the ids of batches and a reserve are taken off.'),
    key(Object.keys(KIND_COLOURS).filter(name => memories.some(each => kindsOf(each).some(kind => kind.name === name)))
      .map(name => ({ name, colour: KIND_COLOURS[name] })))));
  for (const each of memories)
    for (const plan of plans) {
      memory.append(make('h4', null, `${each.toUpperCase()}${several ? `, ${plan.name}` : ''}`));
      memory.append(memoryBars(plan, each, several ? `${plan.name}: ` : '', onpick).node);
    }
  return section('ranks', 'Ranks', note('Drag over ranks to see them closer, double-click to see all again; click a rank to list its tables. With the keyboard: arrows, + and -, Enter, Escape.'),
    rankControls(), time, memory);
}
