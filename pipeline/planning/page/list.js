// The list of tables: filters, columns, and what opens under a table.

const OPTION_PARTS = ['fwd_compute', 'fwd_comms', 'bwd_compute', 'bwd_comms', 'prefetch_compute', 'input_dist_comms'];

function shortRanks(plan, table) {
  const text = plan.tables.ranks[table];
  const n = plan.cells(table).ranks.length;
  if (n === plan.ranks && n > 1) return `all ${count(n)}`;
  return text.length <= 18 ? text : plural(n, 'rank');
}

function listColumns() {
  const tables = () => shown().tables;
  const column = (title, of, number, text, help) => ({ title, number, help, value: of, text: text || (row => String(of(row))) });
  return [
    column('table', t => tables().name[t]),
    column('rows', t => tables().rows[t], true, t => count(tables().rows[t])),
    column('dim', t => tables().dim[t], true),
    column('type', t => tables().dtype[t]),
    column('features', t => tables().features[t].length, true, t => {
      const names = tables().features[t];
      return names.length === 1 && names[0] === tables().name[t] ? '1' : names.length === 1 ? names[0].slice(0, 24) : String(names.length);
    }),
    column('sharding type', t => tables().type[t]),
    column('kernel', t => tables().kernel[t]),
    column('shards', t => shown().shards[t], true, t => count(shown().shards[t])),
    column('ranks', t => shown().rankList(t)[0], true, t => shortRanks(shown(), t), 'sorted by the first of them'),
    column('bytes', t => shown().weight[t], true, t => size(shown().weight[t]), 'weights and optimizer state, all shards and copies'),
    column('ms a shard', t => tables().rated_ms[t], true, t => figure(tables().rated_ms[t])),
    column('share of time', t => shown().took[t], true, t => percent(shown().allTook ? shown().took[t] / shown().allTook : 0), 'of the time of all ranks together'),
  ];
}

function tableDetail(table) {
  const plan = shown(), { tables } = plan, name = tables.name[table];
  const pooling = tables.pooling[table];
  const features = tables.features[table].map((feature, i) => {
    const ids = Array.isArray(pooling) ? pooling[i] : pooling;
    return `${feature} (${figure(ids)} ${ids === 1 ? 'id' : 'ids'} a sample)`;
  });
  const busy = plan.at(table, plan.busiest).length * tables.rated_ms[table];
  const found = plan.options[name];
  return make('div', { class: 'inside' },
    make('h3', null, name),
    facts([
      ['lies', `${tables.type[table]}, ${tables.kernel[table]}, ${plural(plan.shards[table], 'shard')} of ${tables.width[table]} columns`],
      ['on ranks', tables.ranks[table].replaceAll(',', ', ')],
      [features.length === 1 ? 'feature' : 'features', features.join(', ')],
      ['optimizer', tables.optimizer[table]],
      [`on the busiest rank (${plan.busiest})`, busy ? `${ms(busy)}, ${percent(busy / plan.load[plan.busiest])} of its time` : 'nothing'],
    ]),
    ...(found ? [make('p', { class: 'why' }, found.why), optionsTable(plan, found.rows)] : [noOptions(plan, name)]));
}

function noOptions(plan, name) {
  const safe = text => (/^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
  const n = Object.keys(plan.options).length;
  return make('p', { class: 'missing' },
    n ? `All options are on this page for the ${plural(n, 'table')} that take the most time. For this one: `
      : 'This page was made without the options of tables. For this one: ',
    make('code', null, `homerec plan show ${safe(plan.name)} ${safe(name)}`));
}

function optionsTable(plan, rows) {
  const used = OPTION_PARTS.filter(part => rows.some(row => row[4][ALL_PARTS.indexOf(part)] > 0));
  const titles = ['sharding type', 'kernel', 'columns', 'shards', 'plan, ms', '', 'ms a shard', 'memory a shard', ...used.map(part => PART_TITLES[part])];
  const lines = rows.map(([type, kernel, width, shards, perf, shardMs, memory, verdict, planMs]) => {
    const cells = [
      kernel, String(width), count(shards), planMs === null ? 'no room' : figure(planMs),
      verdict || (planMs === null || !plan.time_ms ? '' : planMs === plan.time_ms ? 'as long' : `${planMs >= plan.time_ms ? '+' : ''}${percent(planMs / plan.time_ms - 1)}`),
      figure(shardMs), memory.filter(bytes => bytes).map(size).join(' + ') || '0',
      ...used.map(part => figure(perf[ALL_PARTS.indexOf(part)], 3)),
    ];
    return make('tr', { class: verdict === 'chosen' && 'chosen' }, make('th', { scope: 'row' }, type),
      ...cells.map((text, i) => make('td', { class: i && 'number' }, text)));
  });
  return make('div', { class: 'options' },
    make('div', { class: 'scroll' }, make('table', { 'aria-label': 'Options' },
      make('thead', null, make('tr', null, ...titles.map((title, i) => make('th', { scope: 'col', class: i > 1 && 'number' }, title)))),
      make('tbody', null, ...lines))),
    note('"plan, ms": the busiest rank with this table alone switched, its shards on the least loaded ranks with room. The parts are milliseconds that a shard costs its rank.'));
}

class TableList {
  constructor(changed) {
    this.filter = { text: '', type: '', kernel: '', rank: '' };
    this.sheet = new Sheet({
      id: 'list', label: 'Tables', columns: listColumns(), sort: 11, detail: tableDetail, rowName: 'table',
      ordered: changed,
    });
    this.controls = make('div', { class: 'controls' });
    this.node = make('div', null, this.controls, this.sheet.node);
    this.begin();
  }

  // For another plan: its own types, kernels, ranks.
  begin() {
    const plan = shown(), { filter } = this;
    const kinds = of => [['', 'any'], ...[...new Set(of)].sort().map(value => [value, value])];
    const box = (name, attributes) => make('input', { ...attributes, value: filter[name], oninput: event => this.set(name, event.target.value) });
    if (!plan.tables.type.includes(filter.type)) filter.type = '';
    if (!plan.tables.kernel.includes(filter.kernel)) filter.kernel = '';
    this.rank = box('rank', { type: 'number', min: 0, max: plan.ranks - 1, id: 'filter-rank' });
    this.controls.replaceChildren(
      make('label', { class: 'control' }, 'name or feature', box('text', { type: 'search', id: 'filter-text' })),
      choice('sharding type', kinds(plan.tables.type), filter.type, value => this.set('type', value)),
      choice('kernel', kinds(plan.tables.kernel), filter.kernel, value => this.set('kernel', value)),
      make('label', { class: 'control' }, 'on rank', this.rank));
    this.sheet.close();
    this.apply();
  }

  set(name, value) { this.filter[name] = value; this.apply(); }

  apply() {
    const plan = shown(), { name, features, type, kernel } = plan.tables;
    const text = this.filter.text.toLowerCase(), rank = this.filter.rank === '' ? null : Number(this.filter.rank);
    const rows = [];
    for (let t = 0; t < plan.length; t++)
      if ((!text || name[t].toLowerCase().includes(text) || features[t].some(one => one.toLowerCase().includes(text)))
        && (!this.filter.type || type[t] === this.filter.type)
        && (!this.filter.kernel || kernel[t] === this.filter.kernel)
        && (rank === null || plan.rankList(t).includes(rank))) rows.push(t);
    this.sheet.setRows(rows);
  }

  onRank(rank) {
    this.rank.value = String(rank);
    this.set('rank', String(rank));
    this.node.closest('section').scrollIntoView({ block: 'start' });
  }
}
