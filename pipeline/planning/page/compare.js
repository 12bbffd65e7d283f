// Two plans: figures side by side, what each rank sends and receives, the tables that move.

function compareSection() {
  const [before, after] = plans, moves = PAGE.moves;
  const figures = [
    ['ranks', plan => plan.ranks, count],
    ['rows a rank', plan => plan.batch_size, count],
    ['busiest rank', plan => plan.load[plan.busiest], ms],
    ['mean rank', plan => plan.mean, ms],
    ['imbalance (busiest / mean)', plan => plan.imbalance(), value => figure(value)],
    ['no plan takes less than', plan => plan.lower_bound_ms, ms],
    ...[...new Set(plans.flatMap(plan => plan.memories()))].flatMap(memory => [
      [`${memory.toUpperCase()}, most of a rank`, plan => plan.used[memory][plan.most(memory)], size],
      [`${memory.toUpperCase()}, room of that rank`, plan => plan.room[memory][plan.most(memory)], size],
    ]),
    ['tables and optimizer state, all copies', plan => plan.allWeight, size],
  ];
  const lines = figures.map(([title, of, text]) => {
    const [a, b] = [of(before), of(after)];
    const change = a === b || !a ? '' : `${b > a ? '+' : ''}${percent(b / a - 1)}`;
    return make('tr', null, make('th', { scope: 'row' }, title), ...[text(a), text(b), change].map(cell => make('td', { class: 'number' }, cell)));
  });
  const side = make('div', { class: 'scroll' }, make('table', { id: 'side-by-side', 'aria-label': 'Figures of both plans' },
    make('thead', null, make('tr', null, make('th', { scope: 'col' }, ''),
      ...[before.name, after.name, 'change'].map(title => make('th', { scope: 'col', class: 'number' }, title)))),
    make('tbody', null, ...lines)));
  return section('compare', 'Two plans', note(`From ${before.name} to ${after.name}. The bars under "Ranks" show both on the same axes.`),
    side, make('h3', null, 'What moves'), ...whatMoves(before, after, moves));
}

function whatMoves(before, after, moves) {
  const bytes = moves.tables.reduce((sum, move) => sum + move.bytes, 0);
  if (!moves.tables.length) return [make('p', { class: 'missing' }, 'Nothing moves: every shard stays where it is.')];
  const parts = [facts([
    ['tables that move', `${count(moves.tables.length)} of ${count(after.length)}`],
    ['over links', `${traffic(bytes)}, between ${plural(moves.pairs, 'pair')} of ranks`],
    ['takes about', `${figure(moves.seconds, 3)} s`],
    ['busy longest', `rank ${moves.busiest}: sends ${traffic(moves.sent[moves.busiest])}, receives ${traffic(moves.received[moves.busiest])}`],
  ])];
  if (bytes) parts.push(trafficChart(moves));
  const tookOf = (plan, name) => plan.took[plan.index.get(name)];
  const column = (title, value, number, text, help) => ({ title, value, number, text: text || value, help });
  const sheet = new Sheet({
    id: 'moves', label: 'Tables that move', sort: 3, rowName: 'table',
    columns: [
      column('table', move => move.table),
      column('from', move => move.before),
      column('to', move => move.after),
      column('over links', move => move.bytes, true, move => traffic(move.bytes), 'weights and optimizer state'),
      column('ms before', move => tookOf(before, move.table), true, move => figure(tookOf(before, move.table)), 'all shards together'),
      column('ms after', move => tookOf(after, move.table), true, move => figure(tookOf(after, move.table)), 'all shards together'),
    ],
  });
  sheet.setRows(moves.tables);
  return [...parts, sheet.node];
}

function trafficChart(moves) {
  const stacks = [{ name: 'sends', colour: '#D55E00', values: moves.sent }, { name: 'receives', colour: '#0072B2', values: moves.received }];
  const bars = new Bars({
    plan: null, label: `Bytes that ranks send and receive; busiest is rank ${moves.busiest}`, height: 170, axis: 'GB', stacks,
    top: () => 1.05 * highest(moves.sent.map((sent, rank) => sent + moves.received[rank])),
    text: { tick: value => figure(value / 1e9, 3), value: traffic },
  });
  return make('figure', { class: 'chart', id: 'traffic' }, make('figcaption', null, make('h3', null, 'Bytes that a rank sends and receives'),
    note("Links carry both at once: the time is that of the busiest rank's larger direction, bytes within the host and to other hosts each at their speed, without latency."),
    key(stacks)), bars.node);
}
