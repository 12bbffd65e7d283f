// A table of rows that can be sorted. Columns: {title, text(row), value(row), number, help}.

const collator = new Intl.Collator('en', { numeric: true });

class Sheet {
  // `detail(row)`: what opens under a row, or none; `ordered()`: called after rows have changed.
  constructor({ id, label, columns, sort, down = true, detail = null, rowName = 'row', ordered = () => {} }) {
    Object.assign(this, { columns, detail, rowName, ordered, sort, down });
    this.rows = [];
    this.heads = columns.map((column, i) => make('th', { scope: 'col', class: column.number && 'number' },
      make('button', { type: 'button', onclick: () => this.sortBy(i), title: column.help }, column.title)));
    this.long = new Rows({ line: row => this.line(row), detail, columns: columns.length });
    this.table = make('table', { class: 'sortable', 'aria-label': label },
      make('thead', null, make('tr', null, ...this.heads)), this.long.body);
    this.long.node.append(this.table);
    this.long.node.setAttribute('role', 'group');
    this.long.node.setAttribute('aria-label', label);
    this.status = make('p', { class: 'note', role: 'status' });
    this.node = make('div', { id, class: 'sheet' }, this.long.node, this.status);
  }

  setRows(rows) {
    this.rows = rows.slice();
    this.arrange();
  }

  sortBy(i) {
    this.down = this.sort === i ? !this.down : Boolean(this.columns[i].number);
    this.sort = i;
    this.arrange();
  }

  arrange() {
    const { value, number } = this.columns[this.sort];
    const way = this.down ? -1 : 1;
    const keyed = this.rows.map((row, i) => [value(row), i, row]);
    const order = number ? (a, b) => a - b : (a, b) => collator.compare(a, b);
    keyed.sort((a, b) => way * order(a[0], b[0]) || a[1] - b[1]);
    this.rows = keyed.map(entry => entry[2]);
    this.heads.forEach((head, i) => {
      if (i === this.sort) head.setAttribute('aria-sort', this.down ? 'descending' : 'ascending');
      else head.removeAttribute('aria-sort');
    });
    this.table.setAttribute('aria-rowcount', this.rows.length + 1);
    this.status.textContent = plural(this.rows.length, this.rowName);
    this.long.set(this.rows);
    this.ordered();
  }

  line(row) {
    const open = this.long.open === row;
    const cells = this.columns.map((column, i) => {
      const text = column.text(row);
      const content = i === 0 && this.detail
        ? make('button', { type: 'button', class: 'opens', 'aria-expanded': String(open), onclick: () => this.toggle(row) }, text)
        : text;
      return make(i ? 'td' : 'th', { scope: i ? null : 'row', class: column.number && 'number', title: i ? null : text }, content);
    });
    return make('tr', null, ...cells);
  }

  close() { this.long.open = null; this.long.again(); }

  toggle(row) {
    this.long.open = this.long.open === row ? null : row;
    this.long.extra = 0;
    this.long.again();
    this.long.focus(row);
  }

  // Open a row and bring it into sight. False if it is filtered out.
  reveal(row) {
    if (!this.rows.includes(row)) return false;
    this.long.open = row;
    this.long.extra = 0;
    this.long.show(row, true);
    this.node.scrollIntoView({ block: 'start' });
    return true;
  }
}
