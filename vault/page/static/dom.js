// Elements of the page. Text is never parsed as markup.

// h returns an element. An attribute that is a function becomes a listener (onclick), and true an attribute without value;
// false and null are omitted. Children are nodes or strings; null and false are omitted.
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== false && value != null) element.setAttribute(name, String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return element;
}

const shapes = {
  sandbox: 'M12 2.8 20 7v10l-8 4.2L4 17V7zM4 7l8 4.2L20 7M12 11.2v10',
  computer: 'M4 4.5h16v11H4zM9 20h6M12 15.5V20',
  good: 'M5 12.5l4.5 4.5L19 7.5',
  stale: 'M12 7v5.5l3.5 2M12 3.5a8.5 8.5 0 1 1 0 17 8.5 8.5 0 0 1 0-17z',
  bad: 'M12 4 21 19.5H3zM12 10v4.5M12 17v.3',
  none: 'M6 12h12',
};

// icon returns a decorative drawing, always used next to a word.
export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  path.setAttribute('d', shapes[name]);
  svg.append(path);
  return svg;
}

// state returns words with the icon and color of a kind: good, stale, bad or none.
export function state(kind, ...words) {
  return h('span', { class: `state ${kind}` }, icon(kind), h('span', {}, ...words));
}

// table returns a table. On a phone, CSS shows its rows as cards; the roles are explicit because browsers otherwise no longer
// treat them as rows. columns: {label, class, quiet, plain}: quiet hides the label, and plain only that of the cells of cards.
// rows: {id, cells}; a cell is a node, a string or a list of them.
export function table(caption, columns, rows) {
  return h('table', { role: 'table' },
    h('caption', { class: 'unseen' }, caption),
    h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, columns.map((c) =>
      h('th', { role: 'columnheader', scope: 'col', class: c.class }, c.quiet ? h('span', { class: 'unseen' }, c.label) : c.label)))),
    h('tbody', { role: 'rowgroup' }, rows.map(({ id, cells }) => h('tr', { role: 'row', 'data-row': id }, cells.map((cell, i) => {
      const first = i === 0;
      return h(first ? 'th' : 'td', {
        role: first ? 'rowheader' : 'cell', scope: first ? 'row' : null,
        class: columns[i].class, 'data-label': first || columns[i].quiet || columns[i].plain ? null : columns[i].label,
      }, cell);
    })))));
}

// button returns a button. key identifies it in the next rendering, to restore the focus. about completes the label for
// screen readers.
export function button(label, onclick, { key, about, kind = 'quiet' } = {}) {
  return h('button', { type: 'button', class: kind, onclick, 'data-key': key },
    label, about ? h('span', { class: 'unseen' }, ` ${about}`) : null);
}

let clearTimer;
let showTimer;

// say shows a message, and announces it to screen readers.
export function say(text) {
  const notice = document.getElementById('notice');
  const dismiss = document.getElementById('dismiss');
  clearTimeout(clearTimer);
  clearTimeout(showTimer);
  notice.textContent = '';
  dismiss.hidden = !text;
  if (!text) return;
  // Later, so that the same message is announced again.
  showTimer = setTimeout(() => { notice.textContent = text; }, 50);
  clearTimer = setTimeout(() => say(''), 12_000);
}

// focusOn moves the focus to the element with that key, or else to the view's heading.
export function focusOn(key, options) {
  const again = key && document.querySelector(`[data-key="${CSS.escape(key)}"]`);
  (again || document.querySelector('main h1') || document.getElementById('main')).focus(options);
}
