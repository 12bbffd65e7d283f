// A canvas that fits its column, sharp on any screen, with a tooltip, a cursor for the keyboard and
// a rectangle drawn with the mouse.

const EDGE = { left: 64, right: 12, top: 10, bottom: 26 };

class Surface {
  // paint(context, box, colours, ratio); pick(x, y) -> {lines, mark} or null; all in CSS pixels.
  // drag(from, to): corners of a rectangle; act(x, y): a click; keys(event) -> [x, y] of the cursor.
  constructor({ label, height, paint, pick, drag = null, act = null, reset = () => {}, keys = () => null, edge = EDGE }) {
    Object.assign(this, { height, paint, pick, drag, act, keys, edge, reset });
    this.canvas = make('canvas', { tabindex: 0, role: 'img', 'aria-label': label });
    this.mark = make('div', { class: 'mark', hidden: true });
    this.node = make('div', { class: 'surface' }, this.canvas, this.mark);
    this.begun = null;
    const listen = (name, heard) => this.canvas.addEventListener(name, heard);
    listen('pointermove', event => this.moved(event));
    listen('pointerleave', () => { if (!this.begun) this.leave(); });
    listen('pointerdown', event => {
      if (event.button !== 0) return;
      this.begun = this.place(event);
      if (event.pointerType === 'mouse') this.canvas.setPointerCapture(event.pointerId);
    });
    listen('pointerup', event => this.released(event));
    listen('pointercancel', () => { this.begun = null; this.leave(); });
    listen('dblclick', () => this.reset());
    listen('blur', () => this.leave());
    listen('keydown', event => this.pressed(event));
    drawn.push(() => this.draw());
  }

  draw() {
    const width = this.node.clientWidth;
    if (!width) return;
    const ratio = devicePixelRatio || 1, height = typeof this.height === 'function' ? this.height() : this.height;
    this.canvas.style.height = `${height}px`;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    const { left, right, top, bottom } = this.edge;
    this.box = { x: left, y: top, w: width - left - right, h: height - top - bottom };
    const context = this.canvas.getContext('2d');
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.font = '12px system-ui, "DejaVu Sans", sans-serif';
    this.paint(context, this.box, colours(), ratio);
  }

  place(event) {
    const { left, top } = this.canvas.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  }

  moved(event) {
    const [x, y] = this.place(event);
    if (this.begun && this.drag && event.pointerType === 'mouse') {
      const [x0, y0] = this.begun;
      if (Math.abs(x - x0) > 4) { this.frame(this.drag.area(this.begun, [x, y]), 'drag'); hideTip(); return; }
    }
    this.show(x, y);
  }

  show(x, y, aloud = false) {
    const found = this.box && this.pick(x, y);
    if (!found) { this.leave(); return; }
    this.frame(found.mark, '');
    const { left, top } = this.canvas.getBoundingClientRect();
    showTip(found.lines, left + x, top + y, aloud);
  }

  frame({ x, y, w, h }, kind) {
    this.mark.className = `mark ${kind}`;
    this.mark.hidden = false;
    Object.assign(this.mark.style, { left: `${x}px`, top: `${y}px`, width: `${w}px`, height: `${h}px` });
  }

  leave() { this.mark.hidden = true; hideTip(); }

  released(event) {
    const from = this.begun, to = this.place(event);
    this.begun = null;
    if (!from) return;
    if (this.drag && event.pointerType === 'mouse' && Math.abs(to[0] - from[0]) > 4) {
      this.leave();
      this.drag.done(from, to);
    } else if (this.act) this.act(...to);
  }

  pressed(event) {
    if (event.key === 'Escape') { this.leave(); this.reset(); return; }
    const at = this.keys(event);
    if (!at) return;
    event.preventDefault();
    this.show(...at, true);
    if (event.key === 'Enter' && this.act) this.act(...at);
  }
}

// Round numbers from 0 up, about `wanted` of them.
function ticks(most, wanted) {
  if (!(most > 0)) return [0];
  const rough = most / wanted, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map(by => by * power).find(by => by >= rough * 0.999);
  const found = [];
  for (let i = 0; i * step <= most * 1.0001; i++) found.push(i * step);
  return found;
}

// Lines and numbers of the upright axis; round ones of its unit.
function upright(context, box, most, { tick: text, unit = 1 }, { soft, line }) {
  context.textAlign = 'right';
  context.textBaseline = 'middle';
  for (const tick of ticks(most / unit, box.h / 45).map(at => at * unit)) {
    const y = Math.round(box.y + box.h * (1 - tick / most)) + 0.5;
    context.strokeStyle = line;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(box.x, y);
    context.lineTo(box.x + box.w, y);
    context.stroke();
    context.fillStyle = soft;
    context.fillText(text(tick), box.x - 6, y);
  }
}
