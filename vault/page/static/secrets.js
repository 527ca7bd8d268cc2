// The view of all secrets.
import { h, button, state, table } from './dom.js';
import { RequestError } from './client.js';
import { openAfter } from './dialog.js';
import { checkbox, list, matches } from './list.js';
import { day, expired, owner, place, plural, types, when } from './words.js';

export const title = 'Secrets';

// dialog returns a function that opens a dialog of a module, which is loaded then.
const dialog = (module, name) => (m, opener, ...args) => openAfter(opener, () => m.attempt(() => module().catch(() => {
  throw new RequestError(0, 'This form could not be loaded. Check that the vault is running and that the network works.');
})), (dialogs) => dialogs[name](m, opener, ...args));
const [setSecret, bind, rotate, rotateAll, remove] = ['setSecret', 'bind', 'rotate', 'rotateAll', 'remove']
  .map((name) => dialog(() => import('./actions.js'), name));
const setRule = dialog(() => import('./egress.js'), 'setRule');

// view returns the nodes of the page's main part.
export function view(m) {
  const writes = m.may('secrets:write');
  const set = writes && button('Set a secret', (e) => setSecret(m, e.currentTarget), { key: 'set', kind: 'primary' });
  if (m.denied.has('secrets')) return [heading('Secrets', null, set), denial(m, 'secrets')];
  if (m.secrets.length === 0) return [heading('Secrets', null), set ? first(set) : h('p', { class: 'plain' }, 'There are no secrets that this key may see.')];
  const { count, tools, body } = list({
    state: m.list('#secrets'), items: m.secrets, noun: 'secret', page: 100,
    filters: filters(m), sorts: sorts(m),
    ids: (s) => [s.id],
    selects: (s) => (writes && rotates(s) ? [s.id] : []),
    narrow: (s, words) => (matches(searched(m, s), words) ? s : null),
    render: (found) => rows(m, found),
    actions: (ids) => [button('Rotate', (e) => rotateAll(m, e.currentTarget, ids.map((id) => m.secret(id))), { key: 'rotate selected', about: 'the selected secrets' })],
  });
  return [heading('Secrets', count, set), tools, body];
}

// denial says why the key may not see a list.
export const denial = (m, what) => h('p', { class: 'plain' }, m.denied.get(what));

export const heading = (words, lead, ...tools) => h('div', { class: 'heading' },
  h('div', {}, h('h1', { tabindex: '-1' }, words), lead), h('div', { class: 'tools' }, tools));

// rotates reports whether a user can rotate a secret. The vault rotates the others itself.
const rotates = (s) => s.type !== 'oauth_connect';

const soon = 30 * day;
const old = 90 * day;

function filters(m) {
  const left = (s) => new Date(s.expires_at) - Date.now();
  const present = new Set(m.secrets.map((s) => s.type));
  return [
    ['', 'All secrets'],
    ['unbound', 'Not bound', (s) => m.bound(s).length === 0],
    ['expiring', 'Expiring within 30 days', (s) => s.expires_at && left(s) > 0 && left(s) < soon],
    ['expired', 'Expired', expired],
    ['stale', 'Stale on a resource', (s) => m.stale(s) > 0],
    ['old', 'Not rotated for 90 days', (s) => Date.now() - new Date(s.updated_at) > old],
    ...[...present].map((type) => [`type ${type}`, `Type: ${types[type] || type}`, (s) => s.type === type]),
  ];
}

const sorts = (m) => [
  ['', 'Name'],
  ['newest', 'Last rotated', (a, b) => b.updated_at.localeCompare(a.updated_at)],
  ['oldest', 'Oldest value', (a, b) => a.updated_at.localeCompare(b.updated_at)],
  ['expiry', 'Expiry', (a, b) => (a.expires_at || '9').localeCompare(b.expires_at || '9')],
  ['bindings', 'Most bindings', (a, b) => m.bound(b).length - m.bound(a).length],
];

// searched returns the text in which a search finds a secret.
const searched = (m, s) => [s.name, s.id, types[s.type] || s.type, ...owner(s).named,
  ...(s.egress?.hosts || []), ...m.bound(s).flatMap((b) => [b.expose_as_env, place(b)])].join('\n');

function rows(m, secrets) {
  const writes = m.may('secrets:write');
  const columns = [
    { label: 'Name' }, { label: 'Value', plain: true }, { label: 'Belongs to', plain: true }, { label: 'Version', plain: true }, { label: 'Expires' },
    { label: 'Bound to' }, { label: 'Actions', quiet: true, class: 'actions' },
  ];
  return table('Secrets', columns, secrets.map((s) => {
    const { scope, named } = owner(s);
    const about = m.twins(s) ? `${s.name} of ${named.join(', ') || scope}` : s.name;
    const act = (allowed, label, what) => allowed && button(label, (e) => what(m, e.currentTarget, s), { key: `${label} ${s.id}`, about });
    return { id: s.id, cells: [
      h('div', { class: 'selectable' }, writes && (rotates(s) ? checkbox(s.id, about) : h('span', { class: 'no-checkbox' })), h('div', {}, h('span', { class: 'name' }, s.name), small(types[s.type] || s.type))),
      h('code', { class: 'masked-value' }, s.masked_value === '********' ? h('span', { 'aria-label': 'hidden', role: 'img' }, '••••••••') : s.masked_value),
      [h('span', {}, scope), named.map((n) => small(n))],
      [h('span', {}, `v${s.version}`), small(when(s.updated_at))],
      expiry(s),
      [boundTo(m, s), sentTo(m, s)],
      h('div', { class: 'row-actions' }, act(writes && rotates(s), 'Rotate', rotate), act(m.binds, 'Bind', (_, o) => bind(m, o, { secret: s })), act(writes && m.may('bindings:write'), 'Restrict', setRule), act(writes, 'Delete', remove)),
    ] };
  }));
}

// boundTo returns a link to a secret's bindings, and how many of them are stale.
export function boundTo(m, s) {
  const places = m.bound(s);
  if (places.length === 0) return h('span', { class: 'faint' }, 'nothing');
  const link = h('a', { href: `#resources?find=${encodeURIComponent(s.id)}` }, plural(places.length, 'binding'), h('span', { class: 'unseen' }, ` of ${s.name}`));
  const stale = m.stale(s);
  return [link, stale > 0 && h('div', {}, state('stale', `${stale} stale`))];
}

// sentTo says where a broker sends a secret, if it has a rule or needs one.
function sentTo(m, s) {
  if (s.egress) return small('sent to ', s.egress.hosts.join(', '));
  return m.bound(s).some((b) => b.delivery === 'placeholder') && h('div', {}, state('stale', 'sent nowhere'));
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
      h('li', {}, h('h2', {}, 'Run a command with it'), h('p', {}, 'Create a key for the sandbox or computer under Resources, which shows how to run a command with the variable.'))));
}
