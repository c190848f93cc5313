// The outlier: as it is dragged, or its two sliders move, the weights are quantized here with the arithmetic of
// qlora/quantization/blockwise.py (tests/app/test_quantize_outlier_script.py holds one against the other). The server
// draws the panel; this moves its parts. Listeners hang on the document: the panel is drawn anew for every setting.
(() => {
  const SLIDERS = {size: '#quantize-outlier-size', place: '#quantize-outlier-place'};
  const single = Math.fround;
  const known = new WeakMap();  // panel -> its settings, parsed once
  const settingsOf = (panel) => {
    if (!known.has(panel)) known.set(panel, JSON.parse(panel.dataset.outlier));
    return known.get(panel);
  };

  // |decoded − weight| of every weight. A whole block is multiplied by the reciprocal of its largest magnitude, a last,
  // shorter one divided by it; each step is rounded to 32 bits.
  const errors = (weights, blockSize, {levels, thresholds}) => {
    const lost = new Float64Array(weights.length);
    for (let start = 0; start < weights.length; start += blockSize) {
      const stop = Math.min(start + blockSize, weights.length);
      let absmax = 0;
      for (let i = start; i < stop; i++) absmax = Math.max(absmax, Math.abs(weights[i]));
      const divisor = single(Math.max(absmax, 1e-38));
      const reciprocal = single(1 / divisor);
      const whole = stop - start === blockSize;
      for (let i = start; i < stop; i++) {
        const scaled = Math.max(-1, Math.min(1, whole ? single(weights[i] * reciprocal) : single(weights[i] / divisor)));
        let level = 0;
        while (level < thresholds.length && thresholds[level] < scaled) level++;
        lost[i] = Math.abs(single(single(levels[level]) * (whole ? absmax : divisor)) - weights[i]);
      }
    }
    return lost;
  };

  const meanWithout = (lost, start, stop, place) => {
    let sum = 0, others = 0;
    for (let i = start; i < stop; i++) if (i !== place) { sum += lost[i]; others++; }
    return others ? sum / others : 0;
  };

  const measure = (settings, place, size) => {
    const weights = Float32Array.from(settings.weights);
    const count = weights.length;
    let largest = 0, squares = 0;
    for (const weight of weights) {
      largest = Math.max(largest, Math.abs(weight));
      squares += weight * weight;
    }
    const share = 100 / Math.sqrt(squares / count);
    const before = meanWithout(errors(weights, settings.wholeSize, settings), 0, count, place) * share;
    weights[place] = size * largest;
    const lanes = {whole: errors(weights, settings.wholeSize, settings), blocks: errors(weights, settings.blockSize, settings)};
    const groups = {whole: [], blocks: []}, mean = {};
    for (const [lane, lost] of Object.entries(lanes)) {
      for (let start = 0; start < count; start += settings.blockSize)
        groups[lane].push(meanWithout(lost, start, Math.min(start + settings.blockSize, count), place) * share);
      mean[lane] = meanWithout(lost, 0, count, place) * share;
    }
    return {before, groups, mean, count};
  };

  const box = (part, left, top, width, height) => part.querySelector('path').setAttribute(
    'd', `M ${left} ${top + height} L ${left + width} ${top + height} L ${left + width} ${top} L ${left} ${top} z`);

  const tell = (panel, settings, place, size, {before, groups, mean}) => {
    const own = groups.blocks[Math.floor(place / settings.blockSize)];
    const words = {size, before, whole: mean.whole, own, blocks: mean.blocks};
    panel.querySelector('.conclusion').textContent =
      settings.sentence.replace(/\{(\w+)\}/g, (_, name) => words[name].toFixed(1));
    panel.querySelector('svg desc').textContent = settings.description.replace('{place}', place + 1);
    const rows = [[mean.whole, mean.blocks], ...groups.whole.map((error, number) => [error, groups.blocks[number]])];
    const figure = panel.querySelector('figure');
    const [heading, ...lines] = figure.dataset.csv.trimEnd().split('\n');
    const csv = lines.map((line, number) => [line.replace(/,[^,]*,[^,]*$/, ''), ...rows[number]].join(','));
    figure.dataset.csv = [heading, ...csv, ''].join('\n');
    panel.querySelectorAll('tbody tr').forEach((row, number) => row.querySelectorAll('td').forEach((cell, column) => {
      cell.textContent = `${rows[number][column].toFixed(2)} %`;
    }));
  };

  const draw = (panel, place, size) => {
    const settings = settingsOf(panel);
    const {places, blockSize} = settings;
    const {before, groups, mean, count} = measure(settings, place, size);
    const svg = panel.querySelector('svg');
    const part = (name) => svg.querySelector(`[data-part="${name}"]`);
    const step = places.width / count;
    const first = Math.floor(place / blockSize) * blockSize;
    const last = Math.min(first + blockSize, count);
    box(part('own-block'), places.left + first * step, places.top, (last - first) * step, places.lanes.blocks - places.top);
    const x = places.left + (place + 0.5) * step, y = places.zero - size * places.unit;
    box(part('stem'), x - 1.25, y, 2.5, size * places.unit);
    const drawn = [places.left + (settings.drawn.place + 0.5) * step, places.zero - settings.drawn.size * places.unit];
    for (const name of ['handle', 'reach'])
      part(name).setAttribute('transform', `translate(${x - drawn[0]} ${y - drawn[1]})`);
    const largest = Math.max(...settings.weights.map(Math.abs));
    part('weights').querySelector('path').setAttribute('d', settings.weights.map((weight, i) => {
      const at = (places.left + (i + 0.5) * step).toFixed(2);
      const end = places.zero - (i === place ? 0 : weight / largest) * places.unit;
      return `M ${at} ${places.zero} L ${at} ${end.toFixed(2)}`;
    }).join(' '));
    const gap = groups.blocks.length > 1 ? 1 : 0;
    for (const lane of ['whole', 'blocks']) groups[lane].forEach((error, number) => {
      const start = number * blockSize * step, stop = Math.min((number + 1) * blockSize, count) * step;
      const length = Math.min(error, 100) / 100 * places.lane_height;
      box(part(`${lane}-${number}`), places.left + start, places.lanes[lane] - length, stop - start - gap, length);
    });
    tell(panel, settings, place, size, {before, groups, mean});
  };

  const panelNow = () => document.querySelector('[data-outlier]');
  const inputs = (name) => [...document.querySelectorAll(`${SLIDERS[name]} input`)];
  const valueOf = (name) => Number(inputs(name).find((input) => input.type === 'range').value);

  document.addEventListener('input', (event) => {
    const moved = Object.keys(SLIDERS).find((name) => event.target.closest?.(SLIDERS[name]));
    const panel = moved && panelNow();
    if (!panel) return;
    const now = {size: valueOf('size'), place: valueOf('place'), [moved]: Number(event.target.value)};
    const {weights, largestSize} = settingsOf(panel);
    if (!Number.isFinite(now.size) || !Number.isInteger(now.place)) return;
    draw(panel, Math.min(Math.max(now.place, 1), weights.length) - 1, Math.min(Math.max(now.size, 1), largestSize));
  });

  // A drag moves the sliders, which are what keeps the values and what the keyboard uses.
  const move = (name, value) => {
    for (const input of inputs(name)) {
      if (input.type !== 'range' || Number(input.value) === value) continue;
      input.value = value;
      input.dispatchEvent(new Event('input', {bubbles: true}));
    }
  };

  let dragged = null;
  const follow = (event) => {
    const {places, weights, largestSize} = settingsOf(dragged);
    const point = new DOMPoint(event.clientX, event.clientY)
      .matrixTransform(dragged.querySelector('svg').getScreenCTM().inverse());
    const place = Math.ceil((point.x - places.left) / places.width * weights.length);
    const size = (places.zero - point.y) / places.unit;
    move('place', Math.min(Math.max(place, 1), weights.length));
    move('size', Number(Math.min(Math.max(size, 1), largestSize).toFixed(1)));
  };

  document.addEventListener('pointerdown', (event) => {
    const panel = event.target.closest?.('[data-outlier]');
    const svg = event.target.closest?.('svg');
    if (!panel || !svg || event.button) return;
    // A finger drags the handle and scrolls the page elsewhere; a mouse may point anywhere among the weights.
    const {places} = settingsOf(panel);
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const among = point.y < places.zero + places.unit && point.x > places.left;
    if (!event.target.closest('[data-part="handle"], [data-part="reach"]') && !(event.pointerType === 'mouse' && among)) return;
    event.preventDefault();
    dragged = panel;
    follow(event);
  });
  document.addEventListener('pointermove', (event) => { if (dragged) follow(event); });
  for (const end of ['pointerup', 'pointercancel']) document.addEventListener(end, () => { dragged = null; });
})();
