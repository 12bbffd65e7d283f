// A table of rows that can be sorted, in pages. Columns: {title, text(row), value(row), number, cell}.

const PAGE_ROWS = 50;
const collator = new Intl.Collator('en', { numeric: true });

class Sheet {
  // `detail(row)`: what opens under a row, or none; `ordered()`: called after rows have changed.
  constructor({ id, label, columns, sort, down = true, detail = null, rowName = 'row', ordered = () => {} }) {
    Object.assign(this, { columns, detail, rowName, ordered });
    this.rows = [];
    this.page = 0;
    this.open = null;
    this.sort = sort;
    this.down = down;
    this.heads = columns.map((column, i) => make('th', { scope: 'col', class: column.number && 'number' },
      make('button', { type: 'button', onclick: () => this.sortBy(i), title: column.help }, column.title)));
    this.body = make('tbody');
    this.status = make('span', { role: 'status' });
    this.earlier = make('button', { type: 'button', onclick: () => this.turn(-1) }, 'previous');
    this.later = make('button', { type: 'button', onclick: () => this.turn(1) }, 'next');
    this.pager = make('div', { class: 'pager' }, this.status, this.earlier, this.later);
    this.node = make('div', { id, class: 'sheet' },
      make('div', { class: 'scroll' }, make('table', { class: 'sortable', 'aria-label': label },
        make('thead', null, make('tr', null, ...this.heads)), this.body)), this.pager);
  }

  setRows(rows) {
    this.rows = rows.slice();
    this.page = 0;
    this.arrange();
  }

  sortBy(i) {
    this.down = this.sort === i ? !this.down : Boolean(this.columns[i].number);
    this.sort = i;
    this.page = 0;
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
    this.render();
    this.ordered();
  }

  pages() { return Math.max(1, Math.ceil(this.rows.length / PAGE_ROWS)); }

  turn(by) {
    this.page = Math.max(0, Math.min(this.pages() - 1, this.page + by));
    this.render();
  }

  render() {
    const first = this.page * PAGE_ROWS;
    const shown = this.rows.slice(first, first + PAGE_ROWS);
    this.body.replaceChildren(...shown.flatMap(row => this.line(row)));
    const last = first + shown.length;
    this.status.textContent = this.rows.length > PAGE_ROWS
      ? `${count(first + 1)} to ${count(last)} of ${plural(this.rows.length, this.rowName)}`
      : plural(this.rows.length, this.rowName);
    this.earlier.hidden = this.later.hidden = this.rows.length <= PAGE_ROWS;
    this.earlier.disabled = this.page === 0;
    this.later.disabled = this.page + 1 >= this.pages();
  }

  line(row) {
    const open = this.open === row;
    const cells = this.columns.map((column, i) => {
      const text = column.text(row);
      const content = i === 0 && this.detail
        ? make('button', { type: 'button', class: 'opens', 'aria-expanded': String(open), onclick: () => this.toggle(row) }, text)
        : text;
      return make(i ? 'td' : 'th', { scope: i ? null : 'row', class: column.number && 'number' }, content);
    });
    const line = make('tr', { class: open && 'open' }, ...cells);
    if (!open) return [line];
    return [line, make('tr', { class: 'detail' }, make('td', { colspan: this.columns.length }, this.detail(row)))];
  }

  toggle(row) {
    this.open = this.open === row ? null : row;
    this.render();
    this.focus(row);
  }

  focus(row) {
    const at = this.rows.slice(this.page * PAGE_ROWS, (this.page + 1) * PAGE_ROWS).indexOf(row);
    const button = this.body.querySelectorAll('button.opens')[at];
    if (button) button.focus({ preventScroll: true });
    return button;
  }

  // Turn to the row's page, open it, and bring it into sight. False if it is filtered out.
  reveal(row) {
    const at = this.rows.indexOf(row);
    if (at < 0) return false;
    this.page = Math.floor(at / PAGE_ROWS);
    this.open = row;
    this.render();
    const button = this.focus(row);
    button.closest('tr').scrollIntoView({ block: 'center' });
    return true;
  }
}
