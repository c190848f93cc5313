// Buttons under every chart, and tables that stay open when their chart is drawn anew. One listener for the whole page:
// charts come and go.
(() => {
  const FOLDS = 'open-tables';
  const opened = new Set(JSON.parse(sessionStorage.getItem(FOLDS) || '[]'));

  const save = (blob, name) => {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };

  // The drawing as it is seen now: variables become the theme's colours, and a file has no page behind it.
  const standalone = (svg) => {
    const style = getComputedStyle(svg);
    const copy = svg.cloneNode(true);
    const [, , width, height] = svg.getAttribute('viewBox').split(/[\s,]+/).map(Number);
    copy.setAttribute('width', width);
    copy.setAttribute('height', height);
    copy.style.fontFamily = 'system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif';
    const ground = document.createElementNS('http://www.w3.org/2000/svg', 'rect');
    ground.setAttribute('width', width);
    ground.setAttribute('height', height);
    ground.setAttribute('fill', style.getPropertyValue('--surface').trim());
    copy.insertBefore(ground, copy.firstChild);
    const coloured = (text) => text.replace(/var\((--[\w-]+)(?:,\s*([^)]+))?\)/g,
      (_, name, fallback) => style.getPropertyValue(name).trim() || fallback);
    for (const element of [copy, ...copy.querySelectorAll('*')]) {
      for (const attribute of ['style', 'fill', 'stroke']) {
        const value = element.getAttribute(attribute);
        if (value && value.includes('var(')) element.setAttribute(attribute, coloured(value));
      }
    }
    return {text: new XMLSerializer().serializeToString(copy), width, height};
  };

  const png = ({text, width, height}) => new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => {
      const canvas = document.createElement('canvas');
      [canvas.width, canvas.height] = [2 * width, 2 * height];
      const pen = canvas.getContext('2d');
      pen.scale(2, 2);
      pen.drawImage(image, 0, 0, width, height);
      canvas.toBlob(resolve, 'image/png');
    };
    image.onerror = reject;
    image.src = 'data:image/svg+xml;charset=utf-8,' + encodeURIComponent(text);
  });

  document.addEventListener('click', async (event) => {
    const button = event.target.closest('[data-save]');
    if (!button) return;
    const figure = button.closest('figure');
    const kind = button.dataset.save;
    const name = `${figure.dataset.name}.${kind}`;
    if (kind === 'csv') return save(new Blob([figure.dataset.csv], {type: 'text/csv'}), name);
    const drawing = standalone(figure.querySelector('svg'));
    save(kind === 'svg' ? new Blob([drawing.text], {type: 'image/svg+xml'}) : await png(drawing), name);
  });

  const foldsOf = (node) => node.querySelectorAll ? node.querySelectorAll('details[data-fold]') : [];
  new MutationObserver((changes) => {
    if (!opened.size) return;
    for (const change of changes) for (const node of change.addedNodes) for (const fold of foldsOf(node))
      if (opened.has(fold.dataset.fold)) fold.open = true;
  }).observe(document.documentElement, {childList: true, subtree: true});
  // "toggle" does not bubble, and tells of folds that were drawn open as well as of those that a visitor opened; a fold
  // that has left the page says nothing.
  document.addEventListener('click', (event) => {
    const fold = event.target.closest('details[data-fold] > summary')?.parentElement;
    if (!fold) return;
    fold.open ? opened.delete(fold.dataset.fold) : opened.add(fold.dataset.fold);
    sessionStorage.setItem(FOLDS, JSON.stringify([...opened]));
  });
})();
