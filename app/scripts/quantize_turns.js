// Which of the Quantize tab's panels is drawn when: one in view at once, another when it comes into view or when nothing
// has changed for a second. So a visitor's next move waits for no drawing that nobody looks at, and gradio's page, which
// is busy for a good part of the time from a move to its drawing, with one request at a time.
(() => {
  const CHECK_MS = 100, PATIENCE_MS = 1000;
  const latest = {};

  const seen = (id) => {
    const box = document.getElementById(id)?.getBoundingClientRect();
    return Boolean(box) && box.bottom > 0 && box.top < innerHeight;
  };

  // Resolves when it is the panel's turn; never for a change that a later one has overtaken.
  const turn = (id) => new Promise((go) => {
    const mine = latest[id] = {};
    const started = performance.now();
    const look = () => {
      if (latest[id] !== mine) return;
      if (seen(id) || performance.now() - started > PATIENCE_MS) go();
      else setTimeout(look, CHECK_MS);
    };
    look();
  });

  // A panel is drawn by a click on its hidden button (app/tabs/quantize.py).
  window.quantizeTurns = (panels) => panels.forEach(async (id) => {
    await turn(id);
    window.qloraPage.arise(`${id}-turn`);
  });
})();
