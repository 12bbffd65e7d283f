// Puts the page to work.

if (world) orderRanks();
const lists = all('.plan').map((root, i) => planTables(root, maps[i]));
for (const table of all('.sortable:not(.list)')) sortable(table);
$('#reading').remove();
for (const plot of all('.chart')) {
  const figure = JSON.parse(plot.nextElementSibling.textContent);
  if (figure.places) sweepChart(plot, figure);
  else rankChart(plot, figure, rank => lists[view.plan](rank));
}
function refresh() { for (const redraw of redraws) redraw(); }
for (const select of all('[data-choose]')) {
  const blocks = all('.choice', select.closest('section'));
  select.addEventListener('change', () => {
    blocks.forEach((block, i) => { block.hidden = i !== select.selectedIndex; });
    if (select.closest('#tables')) { view.plan = select.selectedIndex; orderRanks(); refresh(); }
    blocks[select.selectedIndex].dispatchEvent(new Event('shown'));
  });
}
$('#order')?.addEventListener('change', event => { view.order = event.target.value; orderRanks(); refresh(); });
dark.addEventListener('change', refresh);
addEventListener('resize', () => requestAnimationFrame(refresh));
