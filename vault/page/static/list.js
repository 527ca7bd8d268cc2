// Lists that can be searched, filtered and sorted, and that show a limited number of items at a time.
import { h, button, focusOn } from './dom.js';
import { plural } from './words.js';

const few = 6; // items for which there are no tools

// ListState is what a user has chosen for a list. It outlives the renderings of a view.
export class ListState {
  search = '';
  filter = '';
  sort = '';
  limit = 0; // items shown; 0: one page
  selected = new Set(); // ids of rows
  added = ''; // id of the row to show next
}

// matches reports whether a text contains all words of a search, which are in lower case.
export function matches(text, words) {
  const lower = text.toLowerCase();
  return words.every((word) => lower.includes(word));
}

// list returns the nodes of a list: count for the heading, tools, and body, which changes with the tools and ends with the
// selected rows' actions.
//   state     a ListState
//   items     all items, in their default order
//   noun      for the count
//   page      items shown at first, and added by each Show more
//   filters   [value, label, (item) => boolean][]; the first is the default
//   sorts     [value, label, compare][]; the first is the default order, without compare
//   narrow    (item, words) => the item, or what is left of it, or null if it doesn't match the search
//   ids       (item) => the ids of the item's rows
//   selects   (item) => the ids of its rows that have a checkbox
//   render    (items) => nodes
//   actions   (ids) => buttons for selected rows; left out if rows have no checkbox
export function list({ state, items, noun, page, filters, sorts, narrow, ids, selects = () => [], render, actions }) {
  const count = h('p', { class: 'lead' });
  const body = h('div');
  const selection = h('div', { class: 'selection', role: 'group', 'aria-label': 'Selected', hidden: true });
  const known = new Set(items.flatMap(ids));
  for (const id of state.selected) if (!known.has(id)) state.selected.delete(id);

  const find = h('input', {
    type: 'search', 'aria-label': `Find ${noun}s`, placeholder: 'Find', autocomplete: 'off', spellcheck: 'false', 'data-key': 'find',
    oninput: () => change({ search: find.value }),
  });
  const filter = select('Show', filters, (value) => change({ filter: value }));
  const sort = select('Sort by', sorts, (value) => change({ sort: value }));
  const tools = h('div', { class: 'list-tools' }, h('div', { class: 'choices' }, find, filter.parentNode, sort.parentNode));
  let left = [];

  const change = (chosen) => {
    Object.assign(state, chosen, { limit: 0 });
    fill();
  };
  const found = () => {
    const words = state.search.toLowerCase().split(/\s+/).filter(Boolean);
    const [, , passes] = filters.find(([value]) => value === state.filter) || filters[0];
    const [, , compare] = sorts.find(([value]) => value === state.sort) || [];
    const passed = items.filter((item) => !passes || passes(item)).map((item) => narrow(item, words)).filter(Boolean);
    return compare ? passed.sort(compare) : passed;
  };
  const fill = () => {
    left = found();
    const added = (item) => ids(item).includes(state.added);
    if (state.added && known.has(state.added)) {
      if (!left.some(added)) {
        Object.assign(state, { search: '', filter: '' });
        left = found();
      }
      state.limit = Math.max(state.limit, page * Math.ceil((left.findIndex(added) + 1) / page));
    }
    const limit = state.limit || page;
    [find.value, filter.value, sort.value] = [state.search, state.filter, state.sort];
    tools.hidden = items.length <= few && !state.search && !state.filter;
    count.textContent = left.length < items.length ? `${left.length} of ${plural(items.length, noun)}` : plural(items.length, noun);
    body.replaceChildren(...[left.length ? render(left.slice(0, limit)) : h('p', { class: 'plain' }, `No ${noun} matches.`)].flat(Infinity));
    if (left.length > limit) {
      body.append(more(`Show ${Math.min(page, left.length - limit)} more`, body, () => { state.limit = limit + page; fill(); }));
    }
    for (const box of body.querySelectorAll('input[data-select]')) {
      box.checked = state.selected.has(box.dataset.select);
      box.addEventListener('change', () => {
        state.selected[box.checked ? 'add' : 'delete'](box.dataset.select);
        showSelection();
      });
    }
    showSelection();
    const row = state.added && body.querySelector(`[data-row="${CSS.escape(state.added)}"]`);
    if (row) {
      state.added = '';
      row.classList.add('added');
      requestAnimationFrame(() => row.scrollIntoView({ block: 'center' }));
    }
  };
  const showSelection = () => {
    selection.hidden = state.selected.size === 0;
    if (selection.hidden) return;
    const all = left.flatMap(selects);
    selection.replaceChildren(...[h('span', {}, `${state.selected.size} selected`), ...actions([...state.selected]),
      all.some((id) => !state.selected.has(id)) && button(`Select all ${all.length}`, () => { all.forEach((id) => state.selected.add(id)); fill(); focusOn('clear'); }, { key: 'all' }),
      button('Clear', () => { state.selected.clear(); fill(); focusOn(tools.hidden ? '' : 'find'); }, { key: 'clear', about: 'the selection' })].filter(Boolean));
  };
  fill();
  return { count, tools, body: [body, selection] };
}

// more returns a button that calls add, which adds rows to body, and moves the focus to the first of them.
export function more(label, body, add) {
  return button(label, async () => {
    const shown = body.querySelectorAll('tbody tr').length;
    await add();
    const row = body.querySelectorAll('tbody tr')[shown];
    if (!row) return;
    row.tabIndex = -1;
    row.focus({ preventScroll: true });
  }, { key: 'more', kind: 'secondary' });
}

// checkbox selects the row with that id.
export const checkbox = (id, about) => h('input', { type: 'checkbox', 'aria-label': `Select ${about}`, 'data-select': id, 'data-key': `select ${id}` });

// select returns a select, in a label. choices are [value, text].
export function select(label, choices, onchoice) {
  const it = h('select', { 'aria-label': label, 'data-key': label, onchange: () => onchoice(it.value) }, choices.map(([value, text]) => h('option', { value }, text)));
  h('label', {}, h('span', {}, label), ' ', it);
  return it;
}
