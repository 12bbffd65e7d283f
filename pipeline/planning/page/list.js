// Tables that are sorted by a click on a heading, and whose rows open.

const collator = new Intl.Collator('en', { numeric: true });

function sortable(table) {
  table.tHead.addEventListener('click', event => {
    const head = event.target.closest('th'), body = table.tBodies[0], index = head.cellIndex;
    const sorted = head.getAttribute('aria-sort');
    const down = sorted ? sorted === 'ascending' : head.className === 'number'; // numbers: largest first
    for (const other of head.parentElement.cells) other.removeAttribute('aria-sort');
    head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    for (const detail of all('.detail', table)) toggle(detail.previousElementSibling);
    const keys = [...body.rows].map(row => {
      const cell = row.cells[index];
      return [cell.dataset.value ?? ($('button', cell) ?? cell).textContent, row];
    });
    const order = keys.some(([key]) => Number.isNaN(Number(key))) ? collator.compare : (a, b) => a - b || 0;
    body.append(...keys.sort(([a], [b]) => (down ? -order(a, b) : order(a, b))).map(([, row]) => row));
    table.dispatchEvent(new Event('change'));
  });
  // Arrows, Home and End go from row to row.
  table.addEventListener('keydown', event => {
    if (!event.target.matches('.opens') || !['ArrowUp', 'ArrowDown', 'Home', 'End'].includes(event.key)) return;
    event.preventDefault();
    const buttons = all('.row:not([hidden]) .opens', table), at = buttons.indexOf(event.target);
    const to = { ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: buttons.length - 1 }[event.key];
    show(buttons[Math.max(0, Math.min(buttons.length - 1, to))].closest('tr'), 'nearest');
  });
  table.tBodies[0].addEventListener('click', event => {
    const button = event.target.closest('.opens');
    if (button) toggle(button.closest('tr'));
  });
}

function show(row, block) {
  row.scrollIntoView({ block, behavior: 'instant' });
  $('.opens', row).focus({ preventScroll: true });
}

function toggle(row) {
  const button = $('.opens', row), open = button.getAttribute('aria-expanded') === 'true';
  button.setAttribute('aria-expanded', !open);
  if (open) { row.nextElementSibling.remove(); return; }
  const detail = document.createElement('tr'), cell = detail.insertCell(), inside = document.createElement('div');
  detail.className = 'detail';
  cell.colSpan = row.cells.length;
  inside.append($('template', row).content.cloneNode(true));
  cell.append(inside);
  row.after(detail);
}

// The tables of a plan: filters, list and map. Returns what lists the tables of a rank.
function planTables(root, plan) {
  const list = $('.list', root), field = name => $(`[name=${name}]`, root);
  const shown = { rows: [] };
  for (const name of ['type', 'kernel'])
    field(name).append(...[...new Set(plan.tables.map(table => table[name]))].sort().map(value => new Option(value, value)));
  field('rank').max = plan.ranks - 1;

  const paint = shardMap(root, plan, shown, row => {
    if (row.nextElementSibling?.className !== 'detail') toggle(row);
    show(row, 'start');
  });
  const has = (table, rank) => table.runs.some(([first, n]) => rank >= first && rank < first + n);
  function apply() {
    const [type, kernel, rank] = ['type', 'kernel', 'rank'].map(name => field(name).value);
    const text = field('text').value.toLowerCase();
    for (const detail of all('.detail', list)) toggle(detail.previousElementSibling);
    shown.rows = [];
    for (const row of list.tBodies[0].rows) {
      const table = plan.tables[row.dataset.index];
      row.hidden = !([table.name, ...table.features].some(name => name.toLowerCase().includes(text))
        && (!type || table.type === type) && (!kernel || table.kernel === kernel) && (rank === '' || has(table, Number(rank))));
      if (!row.hidden) shown.rows.push(row);
    }
    $('[role=status]', root).textContent = `${shown.rows.length} of ${plan.tables.length} tables`;
    paint(true);
  }
  sortable(list);
  list.addEventListener('change', apply);
  for (const name of ['text', 'type', 'kernel', 'rank']) field(name).addEventListener('input', apply);
  field('colour').addEventListener('input', () => paint());
  root.addEventListener('shown', () => paint());
  redraws.push(() => paint());
  apply();
  return rank => {
    field('rank').value = rank;
    apply();
    root.closest('section').scrollIntoView({ block: 'start' });
  };
}
