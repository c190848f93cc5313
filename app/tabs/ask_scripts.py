"""What the browser does by itself in the questions of the Ask tab (``js_on_load`` of ``gr.HTML``)."""

# The visitor's identifier, kept in the browser (gradio's BrowserState loses it). Without room for it there, as in some
# private windows, it lasts as long as the page.
RECOGNISE = """() => {
  const make = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, '0'));
  try {
    const known = localStorage.getItem('qlora-visitor') || make().join('');
    localStorage.setItem('qlora-visitor', known);
    return known;
  } catch {
    return make().join('');
  }
}"""

# A click on a source, a vote or an earlier question reaches Python as the event's data. The answers are drawn anew
# after some of these, so the button that was used is found again: whoever uses the keyboard stays where they are.
CONVERSATION = """
let used = '';
element.addEventListener('click', (event) => {
  const source = event.target.closest('[data-citation]');
  const vote = event.target.closest('[data-vote]');
  if (source) {
    used = `.${source.classList[0]}[data-citation="${source.dataset.citation}"]`;
    for (const other of element.querySelectorAll('[data-citation]'))
      other.setAttribute('aria-pressed', String(other.dataset.citation === source.dataset.citation));
    trigger('select', {citation: source.dataset.citation});
  }
  if (vote) {
    used = `[data-vote="${vote.dataset.vote}"][data-value="${vote.dataset.value}"]`;
    trigger('like', {entry: vote.dataset.vote, value: vote.dataset.value});
  }
});
element.addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && document.activeElement.matches('.ask-verdict')) document.activeElement.blur();
});
watch('value', () => requestAnimationFrame(() => {
  const lost = !document.activeElement || document.activeElement === document.body;
  if (used && lost) element.querySelector(used)?.focus({preventScroll: true});
}));
"""

EARLIER = """
element.addEventListener('click', (event) => {
  const again = event.target.closest('[data-question]');
  if (again) trigger('select', {question: again.dataset.question});
});
"""

# A page that has been drawn is scrolled to its first mark, and on a narrow window, where it lies below the answers,
# into view when the visitor chose it. Browsers refuse `navigator.clipboard` to pages without TLS
# on other machines, where the older way still works.
PAGE = """
const write = async (copied) => {
  try {
    await navigator.clipboard.writeText(copied);
    return true;
  } catch {
    const area = document.createElement('textarea');
    area.value = copied;
    area.style.position = 'fixed';
    document.body.append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    return done;
  }
};
element.addEventListener('click', async (event) => {
  const button = event.target.closest('[data-copy]');
  if (!button) return;
  const done = await write(button.dataset.copy);
  button.focus({preventScroll: true});
  const said = button.parentElement.querySelector('.ask-copied');
  said.textContent = done ? button.dataset.done : button.dataset.failed;
  clearTimeout(said.timer);
  said.timer = setTimeout(() => { said.textContent = ''; }, 2500);
});
watch('value', () => requestAnimationFrame(() => {
  const sheet = element.querySelector('.ask-sheet');
  const mark = element.querySelector('.ask-mark');
  if (sheet && mark) {
    sheet.scrollTop = Math.max(0, mark.offsetTop - sheet.clientHeight / 3);
    const middle = (sheet.scrollWidth - sheet.clientWidth) / 2;
    sheet.scrollLeft = Math.min(middle, Math.max(0, mark.offsetLeft - 24));
  }
  const asked = document.activeElement?.closest('[data-citation]');
  if (asked && element.querySelector('.ask-page') && window.innerWidth <= 900)
    element.scrollIntoView({behavior: 'smooth', block: 'start'});
}));
"""
