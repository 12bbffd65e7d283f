// Plots of a sweep: a column a combination of inputs; what does not fit is hatched and says so.

const SVG = 'http://www.w3.org/2000/svg';
function draw(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const inputText = (name, value) => `${name.replaceAll('_', ' ')} ${value}`;
const numeric = values => values.every(value => value !== '' && !Number.isNaN(Number(value)));

class SweepPlots {
  constructor(sweep) {
    this.points = sweep.points;
    this.inputs = Object.keys(this.points[0].values);
    this.kinds = new Map(this.inputs.map(name => {
      const values = [...new Set(this.points.map(point => point.values[name]))];
      return [name, numeric(values) ? values.sort((a, b) => a - b) : values];
    }));
    // What is the same in all points is said once, by `fixed`.
    this.fixed = this.inputs.filter(name => this.kinds.get(name).length === 1);
    this.inputs = this.inputs.filter(name => this.kinds.get(name).length > 1 || this.fixed.length === this.inputs.length);
    // The input with the most values runs along the axis.
    this.along = this.inputs.reduce((best, name) => (this.kinds.get(name).length > this.kinds.get(best).length ? name : best));
    this.node = make('div', { class: 'sweep' });
    drawn.push(() => this.render());
  }

  ordered() {
    const rank = name => new Map(this.kinds.get(name).map((value, i) => [value, i]));
    const keys = [...this.inputs.filter(name => name !== this.along), this.along].map(name => [name, rank(name)]);
    return this.points.slice().sort((a, b) => {
      for (const [name, at] of keys) {
        const by = at.get(a.values[name]) - at.get(b.values[name]);
        if (by) return by;
      }
      return 0;
    });
  }

  others(point) {
    return this.inputs.filter(name => name !== this.along).map(name => inputText(name, point.values[name])).join(', ');
  }

  render() {
    const width = this.node.clientWidth;
    if (!width || (width === this.width && this.along === this.drawnAlong)) return;
    Object.assign(this, { width, drawnAlong: this.along });
    const points = this.ordered();
    const memories = [...new Set(points.flatMap(point => Object.keys(point.memory).filter(memory => point.memory[memory][1] > 0)))];
    const used = RATED.filter(part => points.some(point => point.ms[part] > 0));
    const plots = [
      this.plot('sweep-time', 'Time of a step, by part of the busiest rank', points, 'ms', figure,
        point => point.time_ms, (slot, point, y) => this.stack(slot, point, used, y),
        [key([...used.map(part => ({ name: PART_TITLES[part], colour: PART_COLOURS[part] })), { name: 'no plan takes less', colour: 'currentColor' }])]),
      ...memories.map(memory => this.plot(`sweep-${memory}`, `${memory.toUpperCase()} of a rank: least to most, and room`, points, 'GiB',
        value => figure(value / 2 ** 30, 3), point => Math.max(point.memory[memory][1], point.room[memory] || 0),
        (slot, point, y) => this.range(slot, point, memory, y), [])),
      this.plot('sweep-imbalance', 'Imbalance: busiest rank / mean', points, '', value => figure(value, 3),
        point => point.imbalance, (slot, point, y) => this.bar(slot, point.imbalance, y, '#009E73'), []),
    ];
    this.node.replaceChildren(this.chooser(), ...(this.inputs.length > 1 ? [this.border()] : []), ...plots);
  }

  chooser() {
    if (this.inputs.length < 2) return '';
    return make('div', { class: 'controls' }, choice('along the axis', this.inputs.map(name => [name, name.replaceAll('_', ' ')]), this.along,
      value => { this.along = value; this.render(); this.node.querySelector('select').focus(); }));
  }

  words(point) {
    const at = Object.keys(point.values).map(name => inputText(name, point.values[name])).join(', ');
    if (!point.feasible) return `${at}: does not fit. ${point.reason}`;
    const memory = Object.entries(point.memory).filter(([, [, most]]) => most > 0)
      .map(([name, [, most]]) => `${name.toUpperCase()} ${size(most)} of ${size(point.room[name] || 0)}`);
    return `${at}: ${ms(point.time_ms)}, no plan takes less than ${ms(point.lower_bound_ms)}, imbalance ${figure(point.imbalance, 3)}, ${memory.join(', ')}`;
  }

  // One column a point, those that differ in the axis' input alone side by side.
  plot(id, title, points, unit, text, value, mark, extra) {
    const fits = points.filter(point => point.feasible), scale = unit === 'GiB' ? 2 ** 30 : 1;
    const most = 1.06 * Math.max(...fits.map(value), 0) || 1;
    const groups = new Set(points.map(point => this.others(point))).size;
    const left = 58, bottom = groups > 1 ? 52 : 36, top = 8, high = 170;
    const each = Math.max(26, Math.min(90, (this.width - left - 34 - 10 * groups) / points.length));
    const width = left + each * points.length + 10 * groups + 8;
    const y = at => top + high * (1 - at / most);
    const svg = draw('svg', { width, height: high + top + bottom, viewBox: `0 0 ${width} ${high + top + bottom}`, role: 'img', 'aria-label': title });
    svg.append(draw('defs', null, draw('pattern', { id: `${id}-hatch`, width: 7, height: 7, patternUnits: 'userSpaceOnUse', patternTransform: 'rotate(45)' },
      draw('rect', { width: 2, height: 7, class: 'hatch' }))));
    for (const tick of ticks(most / scale, 4).map(at => at * scale)) {
      svg.append(draw('line', { x1: left, x2: width, y1: y(tick), y2: y(tick), class: 'grid' }));
      svg.append(draw('text', { x: left - 6, y: y(tick) + 4, 'text-anchor': 'end' }, text(tick)));
    }
    let x = left + 6, group = null, began = x;
    const close = end => {
      if (group && groups > 1) svg.append(draw('text', { x: (began + end) / 2, y: top + high + 40, 'text-anchor': 'middle' }, group));
    };
    for (const point of points) {
      const other = this.others(point);
      if (other !== group) {
        if (group !== null) { close(x); x += 10; }
        group = other;
        began = x;
      }
      const slot = draw('g', { class: point.feasible ? 'point' : 'point infeasible', transform: `translate(${x} 0)` }, draw('title', null, this.words(point)));
      slot.append(draw('rect', { width: each, height: top + high, class: 'catch' }));
      if (point.feasible) mark({ node: slot, width: each }, point, y);
      else {
        slot.append(draw('rect', { x: 2, y: top, width: each - 4, height: high, fill: `url(#${id}-hatch)`, class: 'nofit' }));
        slot.append(draw('text', { x: each / 2, y: top + high / 2, 'text-anchor': 'middle', transform: `rotate(-90 ${each / 2} ${top + high / 2})`, dy: 4, class: 'strong' }, 'does not fit'));
      }
      slot.append(draw('text', { x: each / 2, y: top + high + 18, 'text-anchor': 'middle' }, point.values[this.along].replaceAll('_', ' ')));
      svg.append(slot);
      x += each;
    }
    close(x);
    return make('figure', { class: 'chart', id }, make('figcaption', null, make('h3', null, unit ? `${title} (${unit})` : title), ...extra),
      make('div', { class: 'scroll plain' }, svg), make('p', { class: 'note axis' }, this.along.replaceAll('_', ' ')));
  }

  stack({ node, width }, point, used, y) {
    let base = 0;
    for (const part of used) {
      const took = point.ms[part] || 0;
      if (took) node.append(draw('rect', { x: width * 0.15, width: width * 0.7, y: y(base + took), height: y(base) - y(base + took), fill: PART_COLOURS[part] }));
      base += took;
    }
    node.append(draw('line', { x1: width * 0.05, x2: width * 0.95, y1: y(point.lower_bound_ms), y2: y(point.lower_bound_ms), class: 'bound' }));
  }

  range({ node, width }, point, memory, y) {
    const [least, most] = point.memory[memory], room = point.room[memory];
    node.append(draw('rect', { x: width * 0.25, width: width * 0.5, y: y(most), height: Math.max(2, y(least) - y(most)), fill: memory === 'hbm' ? '#CC79A7' : '#9A8B00' }));
    if (room) node.append(draw('line', { x1: width * 0.08, x2: width * 0.92, y1: y(room), y2: y(room), class: 'room' }));
  }

  bar({ node, width }, value, y, fill) {
    node.append(draw('rect', { x: width * 0.25, width: width * 0.5, y: y(value), height: y(0) - y(value), fill }));
  }

  // Two inputs at a time: what fits, and how long it takes; all else as the row says.
  border() {
    const [across, down] = [this.along, this.inputs.find(name => name !== this.along)];
    const rest = this.inputs.filter(name => name !== across && name !== down);
    const groups = new Map();
    for (const point of this.ordered()) {
      const name = rest.map(input => inputText(input, point.values[input])).join(', ');
      groups.set(name, [...(groups.get(name) || []), point]);
    }
    const times = this.points.filter(point => point.feasible).map(point => Math.log(point.time_ms || 1e-9));
    const low = Math.min(...times), span = Math.max(...times) - low || 1;
    const grids = [...groups].map(([name, points]) => {
      const at = new Map(points.map(point => [JSON.stringify([point.values[across], point.values[down]]), point]));
      const lines = this.kinds.get(down).map(row => make('tr', null, make('th', { scope: 'row' }, inputText(down, row)),
        ...this.kinds.get(across).map(column => {
          const point = at.get(JSON.stringify([column, row]));
          if (!point) return make('td', null, '');
          if (!point.feasible) return make('td', { class: 'nofit number', title: point.reason }, 'does not fit');
          const cell = make('td', { class: 'shaded', title: this.words(point) }, ms(point.time_ms));
          cell.style.setProperty('--shade', String(0.1 + 0.9 * (Math.log(point.time_ms || 1e-9) - low) / span));
          return cell;
        })));
      return make('div', { class: 'scroll' }, make('table', { class: 'border', 'aria-label': `What fits ${name}` },
        make('thead', null, make('tr', null, make('th', { scope: 'col' }, name), ...this.kinds.get(across).map(value => make('th', { scope: 'col', class: 'shaded' }, inputText(across, value))))),
        make('tbody', null, ...lines)));
    });
    return make('div', { id: 'sweep-border' }, make('h3', null, 'What fits, and how long a step takes'), ...grids);
  }
}

function sweepSection(sweep) {
  const plots = new SweepPlots(sweep);
  const fits = sweep.points.filter(point => point.feasible);
  const best = fits.reduce((least, point) => (!least || point.time_ms < least.time_ms ? point : least), null);
  const reasons = sweep.points.filter(point => !point.feasible);
  return section('sweep', 'What if',
    note(`${plural(sweep.points.length, 'combination')} of inputs for ${sweep.source} on ${sweep.cluster}, each planned from nothing; ${count(fits.length)} fit.`
      + (best ? ` The shortest step: ${plots.words(best)}.` : '')),
    plots.node, make('h3', null, 'All combinations'), pointsSheet(sweep),
    ...(reasons.length ? [make('details', null, make('summary', null, `Why ${plural(reasons.length, 'combination')} cannot be planned`),
      make('ul', null, ...reasons.map(point => make('li', null, plots.words(point)))))] : []));
}
