// All points of a sweep in words, to sort and to read without a mouse.

function pointsSheet(sweep) {
  const { points } = sweep, values = Object.keys(points[0].values);
  const isNumber = name => points.every(point => !Number.isNaN(Number(point.values[name])));
  const memories = [...new Set(points.flatMap(point => Object.keys(point.memory).filter(memory => point.memory[memory][1] > 0)))];
  // What does not fit comes after all that does.
  const given = of => point => (point.feasible ? of(point) : Infinity);
  const text = of => point => (point.feasible ? of(point) : '-');
  const sheet = new Sheet({
    id: 'points', label: 'Points of the sweep', sort: values.length, down: false, rowName: 'combination',
    columns: [
      ...values.map(name => ({
        title: name.replaceAll('_', ' '), number: isNumber(name), text: point => point.values[name],
        value: point => (isNumber(name) ? Number(point.values[name]) : point.values[name]),
      })),
      { title: 'ms of a step', number: true, value: given(point => point.time_ms), text: point => (point.feasible ? figure(point.time_ms) : 'does not fit') },
      { title: 'no plan takes less', number: true, value: given(point => point.lower_bound_ms), text: text(point => figure(point.lower_bound_ms)) },
      { title: 'busiest / mean', number: true, value: given(point => point.imbalance), text: text(point => figure(point.imbalance, 3)) },
      ...memories.map(memory => ({
        title: `${memory.toUpperCase()} of a rank, most`, number: true, value: given(point => point.memory[memory][1]),
        text: text(point => `${size(point.memory[memory][1])} of ${size(point.room[memory] || 0)}`),
      })),
    ],
  });
  sheet.setRows(points);
  return sheet.node;
}
