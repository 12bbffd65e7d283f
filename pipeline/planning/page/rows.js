// A long table's body: of thousands of rows, those in sight are in the document.

const SPARE = 12; // rows above and below what is in sight, so that Tab and quick scrolls find some

class Rows {
  // line(row): a <tr>; detail(row): what stands under the open row, or none.
  constructor({ line, detail, columns }) {
    Object.assign(this, { line, detail, columns });
    this.rows = [];
    this.open = null;
    this.high = 34; // of a row and of what is open, in pixels, until they have been measured
    this.extra = 0;
    this.body = make('tbody');
    this.node = make('div', { class: 'scroll rows', tabindex: 0 });
    this.node.addEventListener('scroll', () => this.render());
    this.node.addEventListener('keydown', event => this.pressed(event));
    drawn.push(() => this.render());
  }

  set(rows) { this.rows = rows; this.seen = null; this.node.scrollTop = 0; this.render(); }

  again() { this.seen = null; this.render(); }

  // Where a row begins, in pixels below the first.
  topOf(at) { return at * this.high + (this.extra && at > this.openAt ? this.extra : 0); }

  rowAt(y) {
    const below = this.openAt >= 0 ? this.topOf(this.openAt) + this.high : Infinity;
    return Math.floor((y > below ? Math.max(below, y - this.extra) : y) / this.high);
  }

  render() {
    this.openAt = this.open === null ? -1 : this.rows.indexOf(this.open);
    if (this.openAt < 0) this.extra = 0;
    const { scrollTop, clientHeight } = this.node;
    const first = Math.max(0, this.rowAt(scrollTop) - SPARE);
    const last = Math.min(this.rows.length, this.rowAt(scrollTop + (clientHeight || 600)) + 1 + SPARE);
    const seen = `${first} ${last} ${this.open}`;
    if (seen === this.seen) return;
    this.seen = seen;
    const held = document.activeElement, heldRow = this.body.contains(held) ? this.rowOf(held) : null;
    const lines = [];
    for (let at = first; at < last; at++) {
      const line = this.line(this.rows[at]);
      line.classList.add('row');
      line.setAttribute('aria-rowindex', at + 2);
      lines.push(line);
      if (at === this.openAt) {
        line.classList.add('open');
        lines.push(make('tr', { class: 'detail' }, make('td', { colspan: this.columns }, this.detail(this.rows[at]))));
      }
    }
    this.first = first;
    this.body.replaceChildren(this.space(this.topOf(first)), ...lines, this.space(this.topOf(this.rows.length) - this.topOf(last)));
    this.measure();
    if (heldRow !== null && !this.focus(heldRow)) this.node.focus({ preventScroll: true });
  }

  space(high) {
    const cell = make('td', { colspan: this.columns });
    cell.style.height = `${Math.max(0, high)}px`;
    return make('tr', { class: 'space', 'aria-hidden': 'true' }, cell);
  }

  measure() {
    const row = this.body.querySelector('tr.row'), detail = this.body.querySelector('tr.detail');
    const high = row ? row.getBoundingClientRect().height : 0, extra = detail ? detail.getBoundingClientRect().height : this.extra;
    if (!high || (Math.abs(high - this.high) < 0.01 && Math.abs(extra - this.extra) < 0.01)) return;
    this.high = high;
    this.extra = extra;
    this.again();
  }

  rowOf(node) {
    const line = node.closest('tr.row');
    return line ? this.rows[Number(line.getAttribute('aria-rowindex')) - 2] : null;
  }

  // The button of a row that is in the document; undefined if it is not.
  focus(row) {
    const line = this.body.querySelector(`tr.row[aria-rowindex="${this.rows.indexOf(row) + 2}"]`);
    const button = line && line.querySelector('button');
    if (button) button.focus({ preventScroll: true });
    return button;
  }

  // Scroll to a row, a third of the way down if it is not in sight; false if there is no such row.
  show(row, anyway = false) {
    const at = this.rows.indexOf(row);
    if (at < 0) return false;
    this.openAt = this.open === null ? -1 : this.rows.indexOf(this.open);
    const { scrollTop, clientHeight } = this.node, y = this.topOf(at), head = this.high;
    if (anyway || y < scrollTop || y + this.high + head > scrollTop + clientHeight)
      this.node.scrollTop = Math.max(0, y - (anyway ? 0 : clientHeight / 3));
    this.render();
    this.focus(row);
    return true;
  }

  // Arrows, Home and End go from row to row.
  pressed(event) {
    const row = this.rowOf(event.target), at = this.rows.indexOf(row);
    if (row === null || !event.target.matches('button')) return;
    const to = { ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: this.rows.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.show(this.rows[Math.max(0, Math.min(this.rows.length - 1, to))]);
  }
}
