// The Start tab's picture runs through the steps of a recorded run: its words are filled with each step's numbers.
(() => {
  const STEP_MS = 600;
  const shown = new WeakMap();

  const draw = (story, at) => {
    const {frames, pages} = shown.get(story);
    const frame = frames[at];
    for (const text of story.querySelectorAll('[data-detail]')) {
      text.textContent = text.dataset.detail.replace(/\{(\w+)\}/g, (_, name) => frame.words[name] ?? '–');
      const box = text.closest('[role=button]');
      box.setAttribute('aria-label', `${box.querySelector('.story-title').textContent}: ${text.textContent}`);
    }
    for (const square of story.querySelectorAll('[data-page]'))
      square.classList.toggle('away', frame.away.includes(Number(square.dataset.page)));
    const slider = story.querySelector('input[type=range]');
    slider.value = at;
    slider.setAttribute('aria-valuetext', frame.caption);
    story.querySelector('.story-step').textContent = frame.caption;
  };

  const play = (story, on) => {
    const state = shown.get(story);
    clearInterval(state.timer);
    state.timer = null;
    const button = story.querySelector('[data-story-play]');
    button.textContent = on ? button.dataset.pause : button.dataset.play;
    if (!on) return;
    const slider = story.querySelector('input[type=range]');
    state.timer = setInterval(() => {
      if (!document.contains(story)) return clearInterval(state.timer);
      if (story.offsetParent !== null && !document.hidden) draw(story, (Number(slider.value) + 1) % state.frames.length);
    }, STEP_MS);
  };

  const begin = (story) => {
    if (shown.has(story)) return;
    shown.set(story, {...JSON.parse(story.dataset.run), timer: null});
    draw(story, 0);
    play(story, !matchMedia('(prefers-reduced-motion: reduce)').matches);
  };

  document.addEventListener('click', (event) => {
    const button = event.target.closest('[data-story-play]');
    if (button) play(button.closest('[data-run]'), !shown.get(button.closest('[data-run]')).timer);
  });
  document.addEventListener('input', (event) => {
    const story = event.target.matches?.('.story-controls input') && event.target.closest('[data-run]');
    if (!story) return;
    play(story, false);
    draw(story, Number(event.target.value));
  });
  new MutationObserver(() => document.querySelectorAll('[data-run]').forEach(begin))
    .observe(document.documentElement, {childList: true, subtree: true});
})();
