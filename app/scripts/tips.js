// What a part of a chart is, beside the pointer or the part that the keyboard has reached.
(() => {
  let tip = null;

  const place = (part) => {
    const box = part.getBoundingClientRect();
    const width = tip.offsetWidth;
    const left = Math.max(8, Math.min(box.left + box.width / 2 - width / 2, window.innerWidth - width - 8));
    const above = box.top - tip.offsetHeight - 8;
    tip.style.left = `${left}px`;
    tip.style.top = `${above > 8 ? above : box.bottom + 8}px`;
  };
  const hide = () => {
    tip?.remove();
    tip = null;
  };
  const show = (event) => {
    const part = event.target.closest?.('[data-tip]');
    hide();
    if (!part) return;
    tip = document.createElement('div');
    tip.className = 'chart-tip';
    tip.textContent = part.dataset.tip;
    document.querySelector('.gradio-container').append(tip);
    place(part);
  };
  document.addEventListener('pointerover', show);
  document.addEventListener('focusin', show);
  document.addEventListener('focusout', hide);
  document.addEventListener('scroll', hide, true);
  document.addEventListener('keydown', (event) => { if (event.key === 'Escape') hide(); });
})();
