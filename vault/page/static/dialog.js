// Dialogs: real ones, so that Escape, the focus and what lies behind are the browser's business.
import { h, button, focusOn, say } from './dom.js';
import { Refusal } from './client.js';

export const isOpen = () => document.querySelector('dialog') !== null;

// show opens a dialog and gives its close. ended runs when it has closed, however that came.
export function show(title, content, { opener, alert, ended } = {}) {
  const heading = h('h2', { id: 'dialog-title' }, title);
  const dialog = h('dialog', {
    'aria-labelledby': 'dialog-title', 'aria-describedby': alert && 'dialog-about', role: alert && 'alertdialog',
  }, heading, content);
  const key = opener?.dataset.key;
  dialog.addEventListener('close', () => {
    const there = dialog.isConnected; // signing out takes dialogs away, and has the focus elsewhere
    dialog.remove();
    if (there && opener?.isConnected) opener.focus();
    else if (there) focusOn(key);
    ended?.();
  });
  say('');
  document.body.append(dialog);
  dialog.showModal();
  return () => dialog.close();
}

// form opens a dialog with fields, laid out in body. run gets {name: value} without what is empty, asks
// the vault, and gives the sentence that says how it went; after refreshes; then comes once it has closed.
export function form({ title, fields = [], body = fields.map((f) => f.node), submit, danger, opener, run, after, then }) {
  const problem = h('p', { class: 'error', role: 'alert', hidden: true });
  const send = h('button', { type: 'submit', class: danger ? 'danger' : 'primary' }, submit);
  const cancel = button('Cancel', () => close());
  let busy = false;
  let done = false;

  const tell = (sentence) => {
    problem.textContent = sentence;
    problem.hidden = !sentence;
  };
  const point = (field, sentence) => {
    field.problem(sentence);
    field.node.closest('details')?.setAttribute('open', '');
    field.input.focus();
  };
  const submitted = async (event) => {
    event.preventDefault();
    if (busy) return;
    tell('');
    const shown = fields.filter((f) => !f.node.closest('[hidden]'));
    const faults = shown.map((f) => [f, f.fault()]);
    for (const [f, fault] of faults) f.problem(fault);
    const first = faults.find(([, fault]) => fault);
    if (first) return point(...first);

    const values = Object.fromEntries(shown.map((f) => [f.name, f.read()]).filter(([, v]) => v !== ''));
    for (const f of fields) f.wipe();
    busy = true;
    send.setAttribute('aria-disabled', 'true');
    let outcome;
    try {
      outcome = await run(values);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return refused(error);
    } finally {
      busy = false;
      send.removeAttribute('aria-disabled');
    }
    await after();
    done = true;
    close();
    say(outcome);
  };
  // The API's sentences begin with the field they are about, where they are about one.
  const refused = (error) => {
    const [, word, rest] = error.message.match(/^(\w+)(.*)$/s) || [];
    const field = fields.find((f) => f.name === word?.toLowerCase());
    const wiped = fields.find((f) => f.name === 'value' && f.read() === '');
    const again = wiped ? ' The value was wiped when it was sent: enter it again.' : '';
    if (field && !field.node.closest('[hidden]')) point(field, field.label + rest + (field === wiped ? '' : again));
    else tell(error.message + again);
  };
  const all = h('form', { novalidate: true, autocomplete: 'off', onsubmit: submitted },
    danger ? h('div', { class: 'more', id: 'dialog-about' }, body) : body, problem, h('div', { class: 'buttons' }, cancel, send));
  const close = show(title, all, { opener, alert: danger, ended() {
    for (const f of fields) f.wipe();
    if (done) then?.();
  } });
  if (danger) cancel.focus();
}
