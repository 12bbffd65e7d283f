// Tables that are sorted by a click on a heading, and whose rows open.

const collator = new Intl.Collator('en', { numeric: true });

const CHUNK = 100;

// `keep(row)`: the filter; `changed(rows)`: after rows were sorted or filtered.
function sortable(table, keep = () => true, changed = () => {}) {
  const body = table.tBodies[0], box = table.closest('.long'), rows = [...body.rows];
  let shown = rows, count = 0;
  // Rows are in the document as far down as someone has scrolled.
  function more(to) {
    body.append(...shown.slice(count, to));
    count = Math.max(count, Math.min(to, shown.length));
  }
  function refresh() {
    for (const detail of all('.detail', body)) toggle(detail.previousElementSibling);
    shown = rows.filter(keep);
    count = 0;
    body.replaceChildren();
    more(CHUNK);
    box.scrollTop = 0;
    changed(shown);
  }
  function show(row, block) {
    more(shown.indexOf(row) + CHUNK);
    row.scrollIntoView({ block, behavior: 'instant' });
    $('.opens', row).focus({ preventScroll: true });
  }
  box.addEventListener('scroll', () => { if (box.scrollTop + 2 * box.clientHeight > box.scrollHeight) more(count + CHUNK); });
  table.tHead.addEventListener('click', event => {
    const head = event.target.closest('th'), index = head.cellIndex;
    const sorted = head.getAttribute('aria-sort');
    const down = sorted ? sorted === 'ascending' : head.className === 'number'; // numbers: largest first
    for (const other of head.parentElement.cells) other.removeAttribute('aria-sort');
    head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    const keys = new Map(rows.map(row => {
      const cell = row.cells[index];
      return [row, cell.dataset.value ?? ($('button', cell) ?? cell).textContent];
    }));
    const order = head.className === 'number' ? (a, b) => a - b || 0 : collator.compare;
    rows.sort((a, b) => (down ? -1 : 1) * order(keys.get(a), keys.get(b)));
    refresh();
  });
  // Arrows, Home and End go from row to row.
  body.addEventListener('keydown', event => {
    const at = shown.indexOf(event.target.closest('tr'));
    const to = { ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: shown.length - 1 }[event.key];
    if (to === undefined || !event.target.matches('.opens')) return;
    event.preventDefault();
    show(shown[Math.max(0, Math.min(shown.length - 1, to))], 'nearest');
  });
  body.addEventListener('click', event => {
    const button = event.target.closest('.opens');
    if (button) toggle(button.closest('tr'));
  });
  refresh();
  return { refresh, open(row) {
    if (row.nextElementSibling?.className !== 'detail') toggle(row);
    show(row, 'start');
  } };
}

function toggle(row) {
  const button = $('.opens', row), open = button.getAttribute('aria-expanded') === 'true';
  button.setAttribute('aria-expanded', !open);
  if (open) { row.nextElementSibling.remove(); return; }
  for (const other of all('.detail', row.parentElement)) toggle(other.previousElementSibling);
  const detail = document.createElement('tr'), cell = detail.insertCell(), inside = document.createElement('div');
  detail.className = 'detail';
  cell.colSpan = row.cells.length;
  inside.innerHTML = $('script', row).textContent; // rendered by the template, names escaped
  cell.append(inside);
  row.after(detail);
}

// The tables of a plan: filters, list and map. Returns what lists the tables of a rank.
function planTables(root, plan) {
  const table = $('.list', root), field = name => $(`[name=${name}]`, root);
  const shown = { rows: [] };
  for (const row of table.tBodies[0].rows) row.index = Number(row.dataset.index);
  for (const name of ['type', 'kernel'])
    field(name).append(...[...new Set(plan.tables.map(one => one[name]))].sort().map(value => new Option(value, value)));
  field('rank').max = plan.ranks - 1;
  const paint = shardMap(root, plan, shown, row => list.open(row));

  function keep(row) {
    const { name, features, type, kernel, runs } = plan.tables[row.index];
    const rank = field('rank').value, text = field('text').value.toLowerCase();
    return [name, ...features].some(one => one.toLowerCase().includes(text))
      && ['', type].includes(field('type').value) && ['', kernel].includes(field('kernel').value)
      && (rank === '' || runs.some(([first, n]) => rank >= first && rank < first + n));
  }
  const list = sortable(table, keep, rows => {
    shown.rows = rows;
    $('[role=status]', root).textContent = `${rows.length} of ${plan.tables.length} tables`;
    paint(true);
  });
  for (const name of ['text', 'type', 'kernel', 'rank']) field(name).addEventListener('input', list.refresh);
  field('color').addEventListener('input', () => paint());
  root.addEventListener('shown', () => paint());
  redraws.push(() => paint());
  return rank => {
    field('rank').value = rank;
    list.refresh();
    root.closest('section').scrollIntoView({ block: 'start' });
  };
}
