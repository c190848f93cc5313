// One weight's journey: the chosen weight's record, written by the server, is put in place. Nothing is computed here.
// Listeners hang on the document: the panel is drawn anew for every setting.
(() => {
  const show = (cell, focus) => {
    const panel = cell.closest('[data-journey]');
    const record = JSON.parse(panel.dataset.journey)[cell.dataset.weight];
    for (const other of panel.querySelectorAll('[data-weight]')) {
      other.setAttribute('aria-checked', String(other === cell));
      other.tabIndex = other === cell ? 0 : -1;
    }
    for (const field of panel.querySelectorAll('[data-field]')) field.textContent = record[field.dataset.field];
    for (const [part, at] of [['value', 'at'], ['level', 'at_level']])
      panel.querySelector(`svg [data-part="${part}"]`).setAttribute(
        'transform', `translate(${Number(record[at]) * Number(panel.dataset.pixels)} 0)`);
    if (focus) cell.focus();
  };

  document.addEventListener('click', (event) => {
    const cell = event.target.closest('.journey [data-weight]');
    if (cell) show(cell, false);
  });

  document.addEventListener('keydown', (event) => {
    const cell = event.target.closest?.('.journey [data-weight]');
    if (!cell) return;
    const cells = [...cell.parentElement.children];
    const place = cells.indexOf(cell);
    const row = getComputedStyle(cell.parentElement).gridTemplateColumns.split(' ').length;
    const step = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -row, ArrowDown: row, Home: -place, End: cells.length - 1 - place}[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const next = cells[place + step];
    if (next) show(next, true);
  });
})();
