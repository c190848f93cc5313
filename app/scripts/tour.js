// The guided tour: a card that goes from one real control to the next. It covers nothing, can be left at any stop, and
// goes on where it was left.
(() => {
  const KEPT = 'tour-stop';
  let card = null;

  const plan = () => {
    const button = document.getElementById('page-tour');
    return button && {button, ...JSON.parse(button.dataset.tour)};
  };
  const filled = (words, values) => words.replace(/\{(\w+)\}/g, (_, name) => values[name]);
  const kept = () => Number(localStorage.getItem(KEPT) || 0);
  const mark = (id) => {
    document.querySelectorAll('.tour-here').forEach((place) => place.classList.remove('tour-here'));
    if (id) document.getElementById(id)?.classList.add('tour-here');
  };

  const label = () => {
    const {button, stops, words} = plan();
    const at = kept();
    button.textContent = at ? filled(words.resume, {at: at + 1, all: stops.length}) : words.start;
    button.hidden = Boolean(card);
  };

  const leave = (done) => {
    if (done) localStorage.removeItem(KEPT);
    card?.remove();
    card = null;
    mark(null);
    label();
    plan().button.focus();
  };

  const element = (tag, attributes, text) => {
    const made = Object.assign(document.createElement(tag), attributes);
    if (text !== undefined) made.textContent = text;
    return made;
  };

  const show = (at) => {
    const {stops, words} = plan();
    const [title, sentence, tab, place] = stops[at];
    localStorage.setItem(KEPT, at);
    if (!card) {
      card = element('section', {className: 'tour-card'});
      card.setAttribute('aria-label', words.name);
      card.setAttribute('aria-live', 'polite');
      document.querySelector('.gradio-container').append(card);
    }
    const last = at === stops.length - 1;
    const back = element('button', {type: 'button', disabled: at === 0, onclick: () => show(at - 1)}, words.back);
    const next = element('button', {type: 'button', className: 'tour-next',
      onclick: () => (last ? leave(true) : show(at + 1))}, last ? words.end : words.next);
    const end = element('button', {type: 'button', className: 'tour-leave', onclick: () => leave(false)}, '×');
    end.setAttribute('aria-label', words.leave);
    const row = element('div', {className: 'tour-row'});
    row.append(element('span', {}, filled(words.at, {at: at + 1, all: stops.length})), back, next);
    card.replaceChildren(end, element('strong', {}, title), element('p', {}, sentence), row);
    window.qloraPage.openTab(tab, place);
    setTimeout(() => { mark(place); next.focus({preventScroll: true}); }, 400);
    label();
  };

  document.addEventListener('click', (event) => {
    if (event.target.closest('#page-tour')) show(Math.min(kept(), plan().stops.length - 1));
  });
  document.addEventListener('keydown', (event) => {
    if (card && event.key === 'Escape') leave(false);
  });
  new MutationObserver((_, observer) => {
    if (!plan()) return;
    observer.disconnect();
    label();
  }).observe(document.documentElement, {childList: true, subtree: true});
})();
