// The fields of a dialog. Each is {name, node, input, read, fault, problem, wipe}: read returns its value, fault the error that
// the page itself finds, problem shows an error, and wipe removes a secret value.
import { h, button } from './dom.js';

let ids = 0;

function field(name, label, input, { hint, required, beside, fault } = {}) {
  const id = `f${++ids}`;
  const error = h('p', { class: 'error', id: `${id}-error`, hidden: true });
  input.id = id;
  input.setAttribute('aria-describedby', [hint && `${id}-hint`, error.id].filter(Boolean).join(' '));
  if (required) input.required = true;
  const it = {
    name, label, input,
    node: h('div', { class: beside ? 'field with-tools' : 'field' },
      h('label', { for: id }, label, required ? null : h('span', { class: 'optional' }, ' optional')),
      h('div', { class: 'entry' }, input, beside || null),
      hint && h('p', { class: 'hint', id: `${id}-hint` }, hint), error),
    read: () => it.input.value.trim(),
    fault: () => (required && it.read() === '' ? `${label} is needed.` : fault?.(it.read()) || ''),
    problem(sentence) {
      error.textContent = sentence;
      error.hidden = !sentence;
      if (sentence) it.input.setAttribute('aria-invalid', 'true');
      else it.input.removeAttribute('aria-invalid');
    },
    rename(other, words) {
      Object.assign(it, { name: other, label: words });
      it.node.querySelector('label').firstChild.data = words;
    },
    wipe() {},
  };
  return it;
}

const plain = { autocomplete: 'off', autocapitalize: 'off', autocorrect: 'off', spellcheck: 'false' };

// text is a single line, with optional suggestions.
export function text(name, label, { value = '', suggestions, mono, ...more } = {}) {
  const input = h('input', { ...plain, type: 'text', class: mono && 'mono' });
  input.value = value;
  const it = field(name, label, input, more);
  if (suggestions?.length) {
    const list = h('datalist', { id: `${input.id}-list` }, [...new Set(suggestions)].map((s) => h('option', { value: s })));
    input.setAttribute('list', list.id);
    it.node.append(list);
  }
  return it;
}

// words is a list of words, as in text. read returns an array, or '' for none.
export function words(name, label, { value = [], ...more } = {}) {
  const it = text(name, label, { value: value.join(' '), mono: true, ...more });
  const typed = it.read;
  it.read = () => (typed() ? typed().split(/[\s,]+/).filter(Boolean) : '');
  return it;
}

// choice is one of options: {value: label}, or a list of pairs.
export function choice(name, label, options, { value, ...more } = {}) {
  const pairs = Array.isArray(options) ? options : Object.entries(options);
  const select = h('select', {}, pairs.map(([v, l]) => h('option', { value: v }, l)));
  if (value !== undefined) select.value = value;
  return field(name, label, select, { required: true, ...more });
}

// secretChoice is one of the secrets, found by typing a part of its name. read returns its id.
export function secretChoice(m, name, label) {
  const ids = new Map(m.secrets.map((s) => [m.twins(s) ? `${s.name} (${s.id})` : s.name, s.id]));
  const it = text(name, label, { required: true, suggestions: [...ids.keys()], hint: 'Type a part of its name.' });
  const typed = it.read;
  it.read = () => ids.get(typed()) || '';
  it.fault = () => (typed() === '' ? `${label} is needed.` : it.read() === '' ? `${label} must be one of the secrets.` : '');
  return it;
}

// moment is an optional time. read returns RFC 3339.
export function moment(name, label, more = {}) {
  const it = field(name, label, h('input', { type: 'datetime-local', autocomplete: 'off' }), {
    fault: (v) => (v && new Date(v) <= Date.now() ? `${label} must be in the future.` : ''), ...more,
  });
  const raw = it.read;
  it.read = () => (raw() ? new Date(raw()).toISOString() : '');
  return it;
}

const maxBytes = 1 << 20;

// value is a secret value: hidden unless Show is pressed, and removed when it is sent. It becomes a text area for several
// lines, also when they are pasted.
export function value(name, label, more = {}) {
  const line = h('input', { ...plain, type: 'password', class: 'mono', 'data-1p-ignore': true, 'data-lpignore': 'true' });
  const area = h('textarea', { ...plain, class: 'mono masked', rows: 5, wrap: 'off', 'data-1p-ignore': true });
  const show = button('Show', () => reveal(show.getAttribute('aria-pressed') !== 'true'), { about: label.toLowerCase() });
  const lines = button('Several lines', () => swap(it.input === line), { about: `in ${label.toLowerCase()}` });
  for (const b of [show, lines]) b.setAttribute('aria-pressed', 'false');
  const it = field(name, label, line, { required: true, beside: h('div', { class: 'above' }, more.single ? null : lines, show), ...more });

  function reveal(shown) {
    show.setAttribute('aria-pressed', shown);
    line.type = shown ? 'text' : 'password';
    area.classList.toggle('masked', !shown);
  }
  function swap(toArea) {
    const [from, to] = toArea ? [line, area] : [area, line];
    if (it.input === to) return;
    to.value = from.value;
    from.value = '';
    for (const a of ['id', 'aria-describedby', 'aria-invalid']) {
      if (from.hasAttribute(a)) to.setAttribute(a, from.getAttribute(a));
      from.removeAttribute(a);
    }
    to.required = from.required;
    from.replaceWith(to);
    it.input = to;
    lines.setAttribute('aria-pressed', toArea);
    to.focus();
  }
  // A single-line input would remove the line breaks of a pasted key.
  line.addEventListener('paste', (event) => {
    const pasted = event.clipboardData.getData('text/plain');
    if (more.single || !/[\r\n]/.test(pasted.trim())) return;
    event.preventDefault();
    const at = [line.selectionStart, line.selectionEnd];
    swap(true);
    area.setRangeText(pasted, ...at, 'end');
  });
  it.read = () => it.input.value;
  it.fault = () => {
    if (it.read() === '') return `${label} is needed.`;
    return new TextEncoder().encode(it.read()).length > maxBytes ? `${label} is longer than 1 MiB.` : '';
  };
  it.wipe = () => {
    line.value = area.value = '';
    reveal(false);
  };
  return it;
}

// variable is the name of an environment variable. needed returns an error if it can't be empty now, and suggest a name that
// an empty field gets with the focus.
export function variable({ needed, suggest, ...more } = {}) {
  const it = text('expose_as_env', 'Variable', {
    mono: true, hint: 'For example GH_TOKEN.',
    fault(v) {
      if (v === '') return needed?.() || '';
      return /^[A-Za-z_][A-Za-z0-9_]*$/.test(v) ? '' : 'Variable must consist of letters, digits and _, and not begin with a digit.';
    },
    ...more,
  });
  it.input.addEventListener('focus', () => {
    if (it.input.value !== '') return;
    it.input.value = suggest?.() || '';
    it.input.select();
  });
  return it;
}

// variableOf returns the usual name of a variable for a secret: github-deploy is GITHUB_DEPLOY.
export const variableOf = (name) => name.toUpperCase().replace(/[^A-Z0-9]+/g, '_').replace(/^_+|_+$/g, '').replace(/^(?=[0-9])/, '_');

// resource is a sandbox or computer: two fields on one line.
export function resource({ value: r, known = [], required } = {}) {
  return [
    choice('resource_type', 'Kind', { sandbox: 'Sandbox', computer: 'Computer' }, { value: r?.resource_type }),
    text('resource_id', 'Id', { value: r?.resource_id, suggestions: known.map((k) => k.resource_id), mono: true, required }),
  ];
}

// delivery is what the resource receives.
export const delivery = () => choice('delivery', 'Delivery', [
  ['value', 'the value'], ['placeholder', 'a placeholder for the proxy'],
]);
