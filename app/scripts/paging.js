// The player of the Paging tab: a run comes once as JSON (app/tabs/paging_replay.py), and every moment of it is drawn
// here, so that scrubbing answers at once. `stateAt` is the same function as there; a test holds the two together.
(() => {
  const [OUT, IN, , , STEP, RESUMED] = [0, 1, 2, 3, 4, 5];
  const [UNUSED, RESIDENT, AWAY] = [0, 1, 2];
  const MIB = 2 ** 20;
  const SVG = 'http://www.w3.org/2000/svg';
  const SENTENCES = 5;
  const players = new WeakMap();

  const stateAt = (run, count) => {
    let state = run.initial.slice();
    for (let number = 0; number < count; number++) {
      const [code, page] = run.rows[number];
      if (code === OUT || code === IN) { if (page < state.length) state[page] = code === OUT ? AWAY : RESIDENT; }
      else if (code === STEP) state = state.map((place) => (place === UNUSED ? RESIDENT : place));
      else if (code === RESUMED) {
        state.fill(RESIDENT);
        for (const page of run.awayAfter[number]) state[page] = AWAY;
      }
    }
    return state;
  };
  const movingAt = (run, count) =>
    (count && (run.rows[count - 1][0] === OUT || run.rows[count - 1][0] === IN) ? run.rows[count - 1][1] : null);
  const residentBytes = (run, state) => {
    const held = state.filter((place) => place === RESIDENT).length * run.pageBytes;
    return held - (state.at(-1) === RESIDENT ? run.pageBytes - run.lastPageBytes : 0);
  };
  const timeAt = (run, count) => (count ? run.rows[count - 1][2] : 0);
  const countAt = (run, time) => {
    let [low, high] = [0, run.rows.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      run.rows[middle][2] <= time ? low = middle + 1 : high = middle;
    }
    return low;
  };
  window.qloraPaging = {stateAt, movingAt, residentBytes, players};

  const filled = (words, values) => words.replace(/\{(\w+)(?:[^}]*)\}/g, (_, name) => values[name] ?? '');
  const mib = (bytes) => (bytes / MIB).toLocaleString('en', {minimumFractionDigits: 1, maximumFractionDigits: 1});
  const clock = (milliseconds) => {
    const seconds = milliseconds / 1e3;
    return seconds < 60 ? `${seconds.toFixed(1)} s` : `${Math.floor(seconds / 60)} min ${String(Math.floor(seconds % 60)).padStart(2, '0')} s`;
  };
  const put = (element, words) => { if (element.textContent !== words) element.textContent = words; };

  // The step that the moment belongs to: the first that ends at or after it.
  const stepOf = (run, count) => run.steps.find((step) => step[0] >= count - 1) ?? null;

  const buildGrid = (player) => {
    const {grid, run} = player;
    const width = Math.max(grid.parentElement.clientWidth, 200);
    const pitch = run.pages <= 40 ? (width > 500 ? 46 : 34) : run.pages <= 100 ? (width > 500 ? 34 : 28) : run.pages <= 250 ? 20 : run.pages <= 700 ? 14 : 10;
    const columns = Math.max(1, Math.floor(width / pitch));
    const size = pitch - (pitch > 12 ? 4 : 2);
    player.gridWidth = width;
    grid.setAttribute('viewBox', `0 0 ${columns * pitch} ${Math.ceil(run.pages / columns) * pitch}`);
    grid.style.width = `${columns * pitch}px`;
    const marks = `<path class="page-mark" d="M${size * .12} ${size * .88}L${size * .88} ${size * .12}"/>` +
      `<path class="page-arrow" d="M${size / 2} ${size * .82}V${size * .2}M${size * .24} ${size * .46}l${size * .26} ${-size * .26} ${size * .26} ${size * .26}"/>`;
    grid.innerHTML = run.initial.map((_, page) =>
      `<g class="page-cell" transform="translate(${(page % columns) * pitch + 1} ${Math.floor(page / columns) * pitch + 1})">` +
      `<title></title><rect width="${size}" height="${size}" rx="2"/>${marks}</g>`).join('');
    player.cells = [...grid.children];
  };

  const drawGrid = (player, state, moving, direction) => {
    const {words, cells, grid} = player;
    const names = ['unused', 'resident', 'away'];
    const told = [words.LEGEND_UNUSED, words.LEGEND_RESIDENT, words.LEGEND_AWAY];
    cells.forEach((cell, page) => {
      const kind = `page-cell page-${names[state[page]]}` +
        (page === moving ? (direction === OUT ? ' page-moving-out' : ' page-moving-in') : '');
      if (cell.getAttribute('class') === kind) return;
      cell.setAttribute('class', kind);
      cell.firstChild.textContent = filled(words.PAGE_LABEL, {page, where: told[state[page]]});
    });
    const count = (place) => state.filter((one) => one === place).length;
    const about = moving === null ? '' : filled(direction === OUT ? words.MOVING_OUT : words.MOVING_IN, {page: moving});
    const label = {pages: state.length, resident: count(RESIDENT), away: count(AWAY), unused: count(UNUSED), moving: about};
    grid.setAttribute('aria-label', filled(words.GRID_LABEL, label).trim());
    return label;
  };

  const drawBar = (player, where, name, parts, room) => {
    const {run, words} = player;
    const box = player.root.querySelector(`[data-pager-bar=${where}]`);
    const total = parts.reduce((sum, [, bytes]) => sum + bytes, 0);
    const scale = player.scale;
    const said = parts.filter(([, bytes]) => bytes).map(([key, bytes]) =>
      filled(words.BAR_PART, {name: words.COMPONENTS[key], mib: mib(bytes)}));
    const limit = run.budget ? filled(words.LIMIT_WORDS, {mib: mib(run.budget)}) : words.NO_LIMIT;
    const spans = parts.map(([key, bytes]) => `<span class="pager-${key}" style="width:${100 * bytes / scale}%"></span>`);
    if (room > 0) spans.push(`<span class="pager-room" style="width:${100 * room / scale}%"></span>`);
    const mark = run.budget ? `<i style="left:${100 * run.budget / scale}%"></i>` : '';
    box.innerHTML = `<p>${name}<b>${mib(total)} MiB, ${limit}</b></p>` +
      `<div class="pager-stack" role="img" aria-label="${filled(words.BAR_LABEL, {name, parts: said.join(', ')})}">${spans.join('')}${mark}</div>`;
  };

  const drawLog = (player) => {
    const {run, words, at} = player;
    let end = run.sentences.length;
    while (end && run.sentences[end - 1][0] >= at) end--;
    const told = run.sentences.slice(Math.max(0, end - SENTENCES), end).reverse().map(([, last, sentence]) =>
      (last >= at ? filled(words.UNDER_WAY, {words: sentence.replace(/\.$/, '')}) : sentence));
    const key = told.join('\n') || words.LATEST_NONE;
    if (player.told === key) return;
    player.told = key;
    player.log.replaceChildren(...key.split('\n').map((sentence) => {
      const item = document.createElement('li');
      item.textContent = sentence;
      return item;
    }));
  };

  const drawCursor = (player) => {
    const chart = document.querySelector('[data-pager-chart]');
    const drawing = chart?.querySelector('svg');
    if (!drawing) return;
    const [left, right, ...edges] = chart.dataset.pagerChart.split(',').map(Number);
    let line = drawing.querySelector('.pager-cursor');
    if (!line) {
      line = document.createElementNS(SVG, 'path');
      line.setAttribute('class', 'pager-cursor');
      line.setAttribute('style', 'stroke: var(--ink); stroke-width: 2; fill: none');
      drawing.append(line);
    }
    const x = left + (right - left) * Math.min(1, player.time / 1e3 / Number(chart.dataset.seconds || 1));
    line.setAttribute('d', `M${x} ${edges[0]}V${edges[1]}M${x} ${edges[2]}V${edges[3]}`);
  };

  const draw = (player) => {
    const {run, words, root, at} = player;
    const state = stateAt(run, at);
    const moving = movingAt(run, at);
    const code = at ? run.rows[at - 1][0] : null;
    const counts = drawGrid(player, state, moving, code);
    const step = stepOf(run, at);
    const when = !at ? words.WHEN_BEFORE : step ? filled(words.WHEN_STEP, {step: step[1]}) : words.WHEN_AFTER;
    const sentence = filled(words.WHEN, {when, clock: clock(player.time)});
    put(root.querySelector('[data-pager-when]'), sentence);
    player.slider.value = at;
    player.slider.setAttribute('aria-valuetext', `${sentence}. ${player.grid.getAttribute('aria-label')}`);
    let [out, back] = [0, 0];
    for (let number = 0; number < at; number++) {
      if (run.rows[number][0] === OUT) out++;
      else if (run.rows[number][0] === IN) back++;
    }
    const held = residentBytes(run, state);
    const about = (key, value, note) => {
      put(root.querySelector(`[data-pager-count=${key}]`), value.toLocaleString('en'));
      put(root.querySelector(`[data-pager-note=${key}]`), note);
    };
    const used = counts.pages - counts.unused;
    about('resident', counts.resident, filled(words.COUNT_MIB, {mib: mib(held)}));
    about('away', counts.away, filled(words.COUNT_MIB, {mib: mib(Math.max(0, usedBytes(run, state) - held))}));
    about('moves', out + back, used ? filled(words.COUNT_MOVES_NOTE, {out, in: back}) : '');
    const constant = Object.entries(run.constant);
    const fixed = constant.reduce((sum, [, bytes]) => sum + bytes, 0);
    drawBar(player, 'now', words.NOW, [...constant, ['optimizer', held]], run.budget ? run.budget - fixed - held : 0);
    const shown = step ?? run.steps.at(-1);
    if (shown) {
      const name = filled(words.FULLEST, {step: shown[1]});
      drawBar(player, 'fullest', name, [...constant, ['optimizer', shown[4]], ['activations', shown[5]]], 0);
    }
    drawLog(player);
    drawCursor(player);
  };
  const usedBytes = (run, state) => residentBytes(run, state.map((place) => (place === UNUSED ? UNUSED : RESIDENT)));

  const go = (player, at, time) => {
    player.at = Math.max(0, Math.min(player.run.rows.length, at));
    player.time = time ?? timeAt(player.run, player.at);
    draw(player);
  };

  const play = (player, on) => {
    player.playing = on;
    const button = player.root.querySelector('[data-pager-play]');
    put(button, on ? player.words.PAUSE : player.words.PLAY);
    if (!on) return;
    const {run} = player;
    if (player.at >= run.rows.length && !player.live) go(player, 0, 0);
    let last = null;
    const tick = (now) => {
      if (!player.playing || !document.contains(player.root)) return;
      const speed = player.root.querySelector('[data-pager-speed]').value;
      if (speed === 'all') { go(player, player.run.rows.length); play(player, false); return; }
      const passed = last === null ? 0 : (now - last) * Number(speed);
      last = now;
      player.time += passed;
      const at = countAt(player.run, player.time);
      if (at !== player.at) go(player, at, Math.min(player.time, timeAt(player.run, player.run.rows.length)));
      else if (player.root.offsetParent) { drawCursor(player); }
      if (at >= player.run.rows.length && !player.live) { play(player, false); return; }
      player.time = Math.min(player.time, timeAt(player.run, player.run.rows.length));
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  };

  const load = (root, data) => {
    const run = JSON.parse(data.dataset.runRows);
    const before = players.get(root);
    const live = data.dataset.live === '1';
    const player = before ?? {
      root, words: JSON.parse(root.dataset.words), playing: false, at: 0, time: 0,
      grid: root.querySelector('[data-pager-grid]'), slider: root.querySelector('[data-pager-at]'),
      log: root.querySelector('[data-pager-log]'),
    };
    const follows = !before || (before.live && before.at >= before.run.rows.length);
    Object.assign(player, {run, live, source: data.dataset.runRows, told: null});
    const fullest = run.steps.map((step) => step[4] + step[5]);
    const fixed = Object.values(run.constant).reduce((sum, bytes) => sum + bytes, 0);
    const all = (run.pages - 1) * run.pageBytes + run.lastPageBytes;
    player.scale = Math.max(run.budget ?? 0, fixed + all, fixed + Math.max(0, ...fullest)) * 1.04;
    player.slider.max = run.rows.length;
    players.set(root, player);
    if (!before || before.cells?.length !== run.pages) {
      buildGrid(player);
      new ResizeObserver(() => {
        if (root.offsetParent && Math.abs(player.gridWidth - player.grid.parentElement.clientWidth) > 8) {
          buildGrid(player);
          draw(player);
        }
      }).observe(root);
    }
    if (before) return go(player, follows ? run.rows.length : player.at);
    const asked = window.qloraPage?.address.read(['paging', 'moment']) ?? {};
    const mine = asked.paging === root.dataset.pager && asked.moment !== undefined;
    go(player, mine ? Number(asked.moment) || 0 : live ? run.rows.length : run.start);
    if (chosen !== null && chosen !== root.dataset.pager) remember(player);
    chosen = root.dataset.pager;
  };
  let chosen = null;

  const sync = () => {
    const data = document.querySelector('[data-pager-data]');
    if (!data) return;
    for (const root of document.querySelectorAll('[data-pager]')) {
      if (root.dataset.pager !== data.dataset.pagerData) continue;
      if (players.get(root)?.source !== data.dataset.runRows) load(root, data);
      else if (!document.querySelector('[data-pager-chart] .pager-cursor')) drawCursor(players.get(root));
    }
  };
  new MutationObserver(sync).observe(document.documentElement, {childList: true, subtree: true});

  const remember = (player) => window.qloraPage?.address.write({paging: player.root.dataset.pager, moment: player.at});
  const playerOf = (element) => players.get(element.closest?.('[data-pager]'));
  document.addEventListener('click', (event) => {
    const player = event.target.closest?.('[data-pager-play]') && playerOf(event.target);
    if (!player) return;
    play(player, !player.playing);
    if (!player.playing) remember(player);
  });
  document.addEventListener('input', (event) => {
    const player = event.target.matches?.('[data-pager-at]') && playerOf(event.target);
    if (!player) return;
    play(player, false);
    go(player, Number(event.target.value));
  });
  document.addEventListener('change', (event) => {
    const player = event.target.matches?.('[data-pager-at]') && playerOf(event.target);
    if (player) remember(player);
  });
  document.addEventListener('keydown', (event) => {
    const player = playerOf(event.target);
    if (!player || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.target.matches('select') || (event.key === ' ' && event.target.matches('button, summary'))) return;
    const ways = {
      ArrowRight: player.at + 1, ArrowUp: player.at + 1, ArrowLeft: player.at - 1, ArrowDown: player.at - 1,
      Home: 0, End: player.run.rows.length,
    };
    if (event.key === ' ') play(player, !player.playing);
    else if (event.key in ways) {
      play(player, false);
      go(player, ways[event.key]);
      remember(player);
    } else return;
    event.preventDefault();
  });

  // Dragging on the chart is scrubbing, too.
  const scrub = (event) => {
    const chart = event.target.closest?.('[data-pager-chart]');
    const drawing = event.target.closest?.('svg');
    const root = document.querySelector('[data-pager]');
    const player = chart && drawing && root && players.get(root);
    if (!player) return;
    const [left, right] = chart.dataset.pagerChart.split(',').map(Number);
    const box = drawing.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * drawing.viewBox.baseVal.width;
    const time = Math.max(0, Math.min(1, (x - left) / (right - left))) * Number(chart.dataset.seconds) * 1e3;
    play(player, false);
    go(player, countAt(player.run, time), time);
  };
  let dragging = false;
  document.addEventListener('pointerdown', (event) => {
    dragging = Boolean(event.target.closest?.('[data-pager-chart] svg'));
    if (dragging) scrub(event);
  });
  document.addEventListener('pointermove', (event) => { if (dragging && event.buttons) scrub(event); });
  document.addEventListener('pointerup', () => {
    const root = dragging && document.querySelector('[data-pager]');
    dragging = false;
    if (root && players.get(root)) remember(players.get(root));
  });
})();
