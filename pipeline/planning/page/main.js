// The page, section by section; a section is there if there is something to show in it.

function planFacts(plan) {
  const { cluster } = plan;
  const gap = plan.lower_bound_ms ? ` (gap ${percent(plan.time_ms / plan.lower_bound_ms - 1)})` : '';
  return facts([
    ['tables', `${count(plan.length)}, ${size(plan.allWeight)} with optimizer state and copies`],
    ['cluster', `${count(plan.ranks)} ranks: ${cluster.name || cluster.device}, ${plural(cluster.hosts, 'host')} of ${plan.local}`],
    ['rows a rank', count(plan.batch_size)],
    ['busiest rank', `${ms(plan.load[plan.busiest])} (rank ${plan.busiest})`],
    ['mean rank', `${ms(plan.mean)}; imbalance ${figure(plan.imbalance())}`],
    ['no plan takes less than', `${ms(plan.lower_bound_ms)}${gap}`],
    ...plan.memories().map(memory => {
      const rank = plan.most(memory), used = plan.used[memory][rank], room = plan.room[memory][rank];
      return [`${memory.toUpperCase()}, the fullest rank`, `${size(used)} of ${size(room)} (${percent(used / room)})`];
    }),
    ['search', `${count(plan.rounds)} rounds, seed ${plan.seed}${plan.cut_off ? '; cut off by --seconds' : ''}`],
  ]);
}

function tablesSections() {
  let map = null;
  const list = new TableList(() => { if (map) map.refresh(); });
  const reveal = table => {
    if (!list.sheet.reveal(table)) { list.filter.text = shown().tables.name[table]; list.begin(); list.sheet.reveal(table); }
  };
  map = new ShardMap({ rows: () => list.sheet.rows, onpick: reveal });
  map.refresh();
  const given = Object.keys(shown().options).length;
  const some = plan => (given >= plan.length ? '' : given
    ? ` The options are here for the ${plural(given, 'table')} that take the most time (--options).` : '');
  const parts = [
    section('map', 'Where the tables lie',
      note('A row a table, in the order of the list below and with its filters; a column a rank. Drag to see a part closer, double-click to see all; click a cell to open its table.'), map.node),
    section('tables', 'Tables', note(`Open a table for its options, what each would cost, and why the chosen one won.${some(shown())}`), list.node),
  ];
  const another = plan => { view.plan = plan; orderRanks(view.order); list.begin(); };
  return { parts, another, list };
}

function build() {
  const main = document.querySelector('main');
  const sections = [];
  let list = null;
  const summary = make('div', { id: 'summary' });
  for (const plan of plans) {
    if (plans.length > 1) summary.append(make('h3', null, plan.name));
    summary.append(planFacts(plan));
    if (plan.rules.length)
      summary.append(make('details', null, make('summary', null, `${plural(plan.rules.length, 'rule')} of ${plan.name}`),
        make('pre', null, plan.rules.map(rule => JSON.stringify(rule)).join('\n'))));
  }
  if (plans.length) {
    const found = tablesSections();
    list = found.list;
    sections.push(ranksSection(rank => { if (rank >= 0 && rank < shown().ranks) list.onRank(rank); }));
    if (plans.length > 1) {
      sections.unshift(compareSection());
      found.parts[0].querySelector('.controls').prepend(choice('plan', plans.map((plan, i) => [String(i), plan.name]), String(view.plan), value => found.another(Number(value))));
    }
    sections.push(...found.parts);
  }
  if (PAGE.sweep) sections.push(sweepSection(PAGE.sweep));
  const links = sections.map(part => make('a', { href: `#${part.id}` }, part.querySelector('h2').textContent));
  main.append(note("Times and memory are predictions of TorchRec's estimators, of the tables alone; nothing here was measured."),
    make('nav', { 'aria-label': 'Sections' }, ...links), summary, ...sections);
  document.body.append(tip, spoken);
  for (const paint of drawn) paint();
}

build();
