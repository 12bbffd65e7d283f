const dark = matchMedia('(prefers-color-scheme: dark)');
const touch = matchMedia('(pointer: coarse)');
function draw() {
  const style = getComputedStyle(document.documentElement);
  const color = name => style.getPropertyValue(name).trim();
  const [ink, line, card] = ['--ink', '--line', '--card'].map(color);
  for (const figure of document.querySelectorAll('figure')) {
    const {data, layout} = JSON.parse(figure.querySelector('script').textContent);
    layout.font = {color: ink, size: 13, family: getComputedStyle(document.body).fontFamily};
    layout.hoverlabel = {bgcolor: card, bordercolor: line, font: {color: ink}};
    // A finger that scrolls the page must not zoom the chart.
    layout.dragmode = touch.matches ? false : 'zoom';
    for (const axis of Object.keys(layout).filter(name => /^[xy]axis/.test(name)))
      Object.assign(layout[axis], {gridcolor: line, zerolinecolor: line, linecolor: line});
    Plotly.react(figure.querySelector('.plot'), data, layout,
      {responsive: true, displayModeBar: false, displaylogo: false});
  }
}
draw();
dark.addEventListener('change', draw);
for (const button of document.querySelectorAll('.sortable button'))
  button.onclick = () => {
    const head = button.parentElement, row = head.parentElement, index = head.cellIndex;
    const up = head.getAttribute('aria-sort') === 'descending' ? 1 : -1;
    for (const other of row.cells) other.removeAttribute('aria-sort');
    head.setAttribute('aria-sort', up === 1 ? 'ascending' : 'descending');
    const body = row.closest('table').tBodies[0];
    const key = tr => tr.cells[index].dataset.value ?? tr.cells[index].textContent;
    const order = (a, b) => isNaN(key(a)) ? -key(a).localeCompare(key(b)) : key(a) - key(b);
    body.append(...[...body.rows].sort((a, b) => up * order(a, b)));
  };
