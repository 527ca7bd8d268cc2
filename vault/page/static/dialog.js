// Modal dialogs. They are dialog elements, so the browser handles Escape, the focus and the inert page.
import { h, button, focusOn, say } from './dom.js';
import { RequestError } from './client.js';

export const isOpen = () => document.querySelector('dialog') !== null;

let latest = 0; // number of the dialog that was opened or requested last
let loading; // key of the button for which a dialog is being loaded; undefined: none

function supersede(key) {
  loading = key;
  return ++latest;
}

// openAfter calls open, which opens a dialog, with what load returns. It does nothing if the same button, opener, was pressed
// before and its dialog is still being loaded. It does not call open if load returns undefined, or if meanwhile another dialog
// was opened or requested, or all were closed.
export async function openAfter(opener, load, open) {
  const { key } = opener.dataset;
  if (key && key === loading) return;
  const own = supersede(key);
  const loaded = await load();
  if (own !== latest) return;
  loading = undefined;
  if (loaded !== undefined) await open(loaded);
}

// closeAll closes the dialogs, and those that are being loaded do not open.
export function closeAll() {
  supersede();
  for (const dialog of document.querySelectorAll('dialog')) dialog.close();
}

// show opens a dialog and returns a function that closes it. ended is called after it has closed.
export function show(title, content, { opener, alert, ended } = {}) {
  const heading = h('h2', { id: 'dialog-title' }, title);
  const dialog = h('dialog', {
    'aria-labelledby': 'dialog-title', 'aria-describedby': alert && 'dialog-about', role: alert && 'alertdialog',
  }, heading, content);
  const key = opener?.dataset.key;
  dialog.addEventListener('close', () => {
    const there = dialog.isConnected; // false after signing out, which sets the focus itself
    dialog.remove();
    const options = { preventScroll: true }; // the page may have scrolled to a new row
    if (there && opener?.isConnected) opener.focus(options);
    else if (there) focusOn(key, options);
    ended?.();
  });
  supersede();
  say('');
  document.body.append(dialog);
  dialog.showModal();
  return () => dialog.close();
}

// form opens a dialog with fields, which body contains. run receives {name: value} without empty values, calls the vault, and
// returns the message for the result, or {message, added} with the id of a new row. after is called next, and then after the
// dialog has closed.
export function form({ title, fields = [], body = fields.map((f) => f.node), submit, danger, opener, run, after, then }) {
  const problem = h('p', { class: 'error', role: 'alert', hidden: true });
  const send = h('button', { type: 'submit', class: danger ? 'danger' : 'primary' }, submit);
  const cancel = button('Cancel', () => close());
  let busy = false;
  let done = false;

  const showProblem = (sentence) => {
    problem.textContent = sentence;
    problem.hidden = !sentence;
  };
  const showProblemAt = (field, sentence) => {
    field.problem(sentence);
    field.node.closest('details')?.setAttribute('open', '');
    field.input.focus();
  };
  const submitted = async (event) => {
    event.preventDefault();
    if (busy) return;
    showProblem('');
    const shown = fields.filter((f) => !f.node.closest('[hidden]'));
    const faults = shown.map((f) => [f, f.fault()]);
    for (const [f, fault] of faults) f.problem(fault);
    const first = faults.find(([, fault]) => fault);
    if (first) return showProblemAt(...first);

    const values = Object.fromEntries(shown.map((f) => [f.name, f.read()]).filter(([, v]) => v !== ''));
    for (const f of fields) f.wipe();
    busy = true;
    send.setAttribute('aria-disabled', 'true');
    let outcome;
    try {
      outcome = await run(values);
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      return refused(error);
    } finally {
      busy = false;
      send.removeAttribute('aria-disabled');
    }
    const { message = '', added } = typeof outcome === 'string' ? { message: outcome } : outcome;
    await after(added);
    done = true;
    close();
    say(message);
  };
  // The API's messages about a field begin with its name.
  const refused = (error) => {
    const [, word, rest] = error.message.match(/^(?:egress\.)?(?:shape\.)?(\w+)(.*)$/is) || [];
    const field = fields.find((f) => f.name === word?.toLowerCase());
    const wiped = fields.find((f) => f.name === 'value' && f.read() === '');
    const again = wiped ? ' The value was removed from the form when it was sent: enter it again.' : '';
    if (field && !field.node.closest('[hidden]')) showProblemAt(field, field.label + rest + (field === wiped ? '' : again));
    else showProblem(error.message + again);
  };
  const all = h('form', { novalidate: true, autocomplete: 'off', onsubmit: submitted },
    danger ? h('div', { class: 'more', id: 'dialog-about' }, body) : body, problem, h('div', { class: 'buttons' }, cancel, send));
  const close = show(title, all, { opener, alert: danger, ended() {
    for (const f of fields) f.wipe();
    if (done) then?.();
  } });
  if (danger) cancel.focus();
}
