// The view of all secrets.
import { h, button, command, state, table } from './dom.js';
import { bind, remove, rotate, setSecret } from './actions.js';
import { expired, owner, plural, types, when } from './words.js';

export const title = 'Secrets';

const maxRows = 500;

// view returns the nodes of the page's main part.
export function view(m) {
  const set = button('Set a secret', (e) => setSecret(m, e.currentTarget), { key: 'set', kind: 'primary' });
  if (m.secrets.length === 0) return [heading('Secrets', null), first(set)];
  const count = h('p', { class: 'lead' });
  const list = h('div');
  const fill = () => {
    const found = m.secrets.filter((s) => matches(s, m.search));
    count.textContent = m.search ? `${found.length} of ${plural(m.secrets.length, 'secret')}` : plural(m.secrets.length, 'secret');
    list.replaceChildren(found.length ? rows(m, found.slice(0, maxRows)) : h('p', { class: 'plain' }, 'No secret matches.'));
    if (found.length > maxRows) list.append(h('p', { class: 'plain' }, `Only the first ${maxRows} are shown. Use Find for the others.`));
  };
  fill();
  return [heading('Secrets', count, m.secrets.length > 6 && find(m, fill), set), list];
}

export const heading = (words, lead, ...tools) => h('div', { class: 'heading' },
  h('div', {}, h('h1', { tabindex: '-1' }, words), lead), h('div', { class: 'tools' }, tools));

function find(m, fill) {
  const input = h('input', {
    type: 'search', 'aria-label': 'Find a secret', placeholder: 'Find', autocomplete: 'off', spellcheck: 'false', 'data-key': 'find',
    oninput: (e) => { m.search = e.target.value.trim().toLowerCase(); fill(); },
  });
  input.value = m.search;
  return input;
}

const matches = (s, words) => [s.name, s.type, ...owner(s).named].some((t) => t.toLowerCase().includes(words));

function rows(m, secrets) {
  const columns = [
    { label: 'Name' }, { label: 'Value' }, { label: 'Belongs to' }, { label: 'Version' }, { label: 'Expires' },
    { label: 'Bound to' }, { label: 'Actions', quiet: true, class: 'actions' },
  ];
  return table('Secrets', columns, secrets.map((s) => {
    const { scope, named } = owner(s);
    const about = m.twins(s) ? `${s.name} of ${named.join(', ') || scope}` : s.name;
    const act = (label, what) => button(label, (e) => what(m, e.currentTarget, s), { key: `${label} ${s.id}`, about });
    const places = m.bound(s);
    return [
      [h('span', { class: 'name' }, s.name), small(types[s.type] || s.type)],
      h('code', { class: 'masked-value' }, s.masked_value === '********' ? h('span', { 'aria-label': 'hidden', role: 'img' }, '••••••••') : s.masked_value),
      [h('span', {}, scope), named.map((n) => small(n))],
      [h('span', {}, `v${s.version}`), small(when(s.updated_at))],
      expiry(s),
      places.length ? h('a', { href: '#resources' }, plural(places.length, 'binding')) : h('span', { class: 'faint' }, 'nothing'),
      h('div', { class: 'row-actions' }, s.type === 'oauth_connect' ? null : act('Rotate', rotate), act('Bind', (_, o) => bind(m, o, { secret: s })), act('Delete', remove)),
    ];
  }));
}

export const small = (...words) => h('span', { class: 'small' }, ...words);

export function expiry(s) {
  if (!s.expires_at) return h('span', { class: 'faint' }, 'never');
  return expired(s) ? state('bad', 'expired ', when(s.expires_at)) : when(s.expires_at);
}

// first returns the first steps, for a tenant without secrets.
function first(set) {
  return h('section', { class: 'first', 'aria-label': 'First steps' },
    h('p', { class: 'lead' }, 'There are no secrets yet. Three steps give a command its first one.'),
    h('ol', {},
      h('li', {}, h('h2', {}, 'Set a secret'), h('p', {}, 'Its value is stored encrypted, and never shown again.'), set),
      h('li', {}, h('h2', {}, 'Bind it'), h('p', {}, 'Choose the sandbox or computer that receives it, and the variable’s name. The same form does both.')),
      h('li', {}, h('h2', {}, 'Run a command on it'), h('p', {}, 'The command has the variable in its environment:'),
        command('miosa-env run -- ./app'))));
}
