// Values of controls in the address (app/tabs/address.py): read when the page opens, written when a visitor changes one.
(() => {
  const understood = (control, text) => {
    if (control.kind === 'flag') return text === '1' ? true : text === '0' ? false : control.value;
    if (control.kind === 'choice') {
      const found = control.choices.find((choice) => String(choice) === text);
      return found === undefined ? control.value : found;
    }
    const number = Number(text);
    const fits = text.trim() !== '' && Number.isFinite(number) && (!control.whole || Number.isInteger(number))
      && (control.minimum == null || number >= control.minimum)
      && (control.maximum == null || number <= control.maximum);
    return fits ? number : control.value;
  };

  const controls = {
    read: (controls) => {
      const asked = window.qloraPage.address.read(controls.map((control) => control.name));
      const values = controls.map((control) =>
        control.name in asked ? understood(control, asked[control.name]) : control.value);
      return values.length === 1 ? values[0] : values;
    },
    write: (controls, values) => {
      const changes = {};
      controls.forEach((control, number) => {
        const value = values[number];
        const text = control.kind === 'flag' ? (value ? '1' : '0') : String(value ?? '');
        changes[control.name] = value === control.value ? null : text;
      });
      window.qloraPage.address.write(changes);
    },
  };
  window.qloraPage = Object.assign(window.qloraPage || {}, {controls});
})();
