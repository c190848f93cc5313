// A file that is too large is refused before it is sent: the sentence stands where the file would. The server refuses it
// as well.
(() => {
  const refuse = (event, files) => {
    const limit = document.getElementById('quantize-upload-limit');
    if (!limit || !event.target.closest?.('#quantize-upload')) return;
    const large = [...files].find((file) => file.size > Number(limit.dataset.bytes));
    limit.hidden = !large;
    if (!large) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (event.target.value) event.target.value = '';
    limit.textContent = limit.dataset.sentence.replace('{size}', Math.ceil(large.size / 2 ** 20).toLocaleString('en'));
  };
  // On the way down: before gradio hears of it.
  document.addEventListener('change', (event) => { if (event.target.files) refuse(event, event.target.files); }, true);
  document.addEventListener('drop', (event) => refuse(event, event.dataTransfer.files), true);
})();
