// Ways through the page: boxes and buttons that open a tab at a place, questions handed to the assistant, and the tab in
// the address, so that a view can be shared.
(() => {
  // The page's own tabs, by identifier; in a narrow window those that do not fit are in a menu, where only their names
  // tell them apart.
  const names = () => JSON.parse(document.querySelector('[data-tabs]')?.dataset.tabs || '{}');
  const menu = () => document.querySelectorAll('.tabs > .tab-wrapper .overflow-dropdown > button');
  const tabButton = (id) => document.querySelector(`button[role=tab][data-tab-id="${id}"]`)
    || [...menu()].find((button) => button.textContent.trim() === names()[id]);
  const idOf = (button) => Object.entries(names()).find(([id, name]) =>
    button.dataset.tabId ? button.dataset.tabId === id : button.textContent.trim() === name)?.[0];
  const visible = (element) => element && element.offsetParent !== null;

  const when = (found, act, tries = 100) => {
    const element = found();
    if (element) act(element);
    else if (tries) setTimeout(() => when(found, act, tries - 1), 50);
  };

  // Occasions to draw (app/tabs/viewport.py) are hidden buttons; the first may come before the page has them.
  const PAGE_BUILT_TRIES = 2000;
  const arise = (name) => when(() => document.getElementById(name), (button) => button.click(), PAGE_BUILT_TRIES);

  // Panels above the place may be drawn after it was reached, and push it away; until the visitor moves, it comes back.
  const SETTLED_MS = 10000;
  let moved = 0;
  for (const gesture of ['wheel', 'touchmove', 'pointerdown', 'keydown'])
    document.addEventListener(gesture, () => { moved = Date.now(); }, {passive: true, capture: true});
  const stay = (place, until, since = Date.now()) => setTimeout(() => {
    if (moved > since || Date.now() > until || !visible(place)) return;
    const box = place.getBoundingClientRect();
    if (box.bottom < 0 || box.top > window.innerHeight) place.scrollIntoView({block: 'center'});
    stay(place, until, since);
  }, 400);

  const openTab = (id, at) => {
    const button = tabButton(id);
    if (!button) return;
    button.click();
    when(() => visible(document.getElementById(at)) && document.getElementById(at), (place) => {
      const fold = place.closest('details:not([open])');
      if (fold) fold.open = true;
      place.scrollIntoView({behavior: 'smooth', block: 'center'});
      stay(place, Date.now() + SETTLED_MS);
      place.classList.add('arrived');
      setTimeout(() => place.classList.remove('arrived'), 2000);
      const control = place.querySelector('textarea, input, button, [tabindex]') || place;
      control.focus({preventScroll: true});
    }, at ? 100 : 0);
  };

  // Gradio listens to "input"; the setter of the prototype is the one that frameworks do not see through.
  const type = (field, words) => {
    Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field), 'value').set.call(field, words);
    field.dispatchEvent(new Event('input', {bubbles: true}));
  };

  const ask = (question) => {
    openTab('ask');
    when(() => tabButton('ask-questions'), (button) => button.click());
    when(() => [...document.querySelectorAll('#ask-question textarea')].find(visible), (field) => {
      type(field, question);
      field.scrollIntoView({behavior: 'smooth', block: 'center'});
      field.focus({preventScroll: true});
    });
  };

  const follow = (event) => {
    const link = event.target.closest('[data-open-tab], [data-ask]');
    if (!link) return;
    if (event.type === 'keydown') {
      if (link.tagName === 'BUTTON' || (event.key !== 'Enter' && event.key !== ' ')) return;
      event.preventDefault();
    }
    link.dataset.ask === undefined ? openTab(link.dataset.openTab, link.dataset.openAt) : ask(link.dataset.ask);
  };
  document.addEventListener('click', follow);
  document.addEventListener('keydown', follow);

  // The address: ?tab=memory&rank=16. Only what differs from the first view stands there.
  const address = {
    read: (names) => {
      const asked = new URLSearchParams(location.search);
      return Object.fromEntries(names.filter((name) => asked.has(name)).map((name) => [name, asked.get(name)]));
    },
    write: (changes) => {
      const asked = new URLSearchParams(location.search);
      for (const [name, value] of Object.entries(changes))
        value === null ? asked.delete(name) : asked.set(name, value);
      const query = asked.toString();
      history.replaceState(history.state, '', location.pathname + (query ? '?' + query : '') + location.hash);
    },
  };
  window.qloraPage = Object.assign(window.qloraPage || {}, {openTab, ask, address, arise});

  document.addEventListener('click', (event) => {
    const button = event.target.closest('button[role=tab][data-tab-id], .overflow-dropdown > button');
    const id = button && idOf(button);
    if (id) address.write({tab: id === Object.keys(names())[0] ? null : id});
  });
  const asked = new URLSearchParams(location.search).get('tab');
  if (asked) when(() => asked in names() && tabButton(asked), (button) => button.click());
})();
