// The view of keys: those of agents, which receive the values of one sandbox or computer, and those that manage the tenant.
import { h, button, state, table } from './dom.js';
import { createKey, replaceKey, revokeKey } from './keyactions.js';
import { list, matches } from './list.js';
import { denial, heading, small } from './secrets.js';
import { expired, keyName, permissions, place, scopes, valid, when } from './words.js';

export const title = 'Keys';

// refresh does nothing: the model has the keys. After it, the view shows new times of use, which the model doesn't count as changes.
export const refresh = async () => {};

export function view(m) {
  const create = button('Create a key', (e) => createKey(m, e.currentTarget), { key: 'create key', kind: 'primary' });
  if (m.denied.has('keys')) return [heading('Keys', null), denial(m, 'keys')];
  const names = new Map(m.keys.map((k) => [k.id, keyName(k)]));
  const { count, tools, body } = list({
    state: m.list('#keys'), items: tree(m.keys), noun: 'key', page: 100, filters, sorts,
    ids: ({ k }) => [k.id],
    narrow: (item, words) => (matches(searched(item.k, names), words) ? item : null),
    render: (found) => rows(m, names, found, m.list('#keys').sort === ''),
  });
  return [heading('Keys', count, create), tools, body];
}

const byName = (a, b) => valid(b) - valid(a) || keyName(a).localeCompare(keyName(b), undefined, { numeric: true });

// tree returns {k, depth} for each key, after the one that created it.
function tree(keys) {
  const known = new Set(keys.map((k) => k.id));
  const under = Map.groupBy(keys, (k) => (known.has(k.parent_id) ? k.parent_id : ''));
  const walk = (id, depth) => (under.get(id) || []).sort(byName).flatMap((k) => [{ k, depth }, ...walk(k.id, depth + 1)]);
  return walk('', 0);
}

const filters = [
  ['', 'All keys'],
  ['valid', 'Valid', ({ k }) => valid(k)],
  ['tenant', 'Tenant keys', ({ k }) => !k.resource_id && !k.broker],
  ['resource', 'Resource keys', ({ k }) => k.resource_id],
  ['broker', 'Broker keys', ({ k }) => k.broker],
  ['unused', 'Never used', ({ k }) => !k.last_used_at],
  ['expired', 'Expired', ({ k }) => !k.revoked_at && expired(k)],
  ['revoked', 'Revoked', ({ k }) => k.revoked_at],
];

const sorts = [
  ['', 'Created by'],
  ['name', 'Name', (a, b) => byName(a.k, b.k)],
  ['newest', 'Newest', (a, b) => b.k.created_at.localeCompare(a.k.created_at)],
  ['oldest', 'Oldest', (a, b) => a.k.created_at.localeCompare(b.k.created_at)],
  ['used', 'Last used', (a, b) => (b.k.last_used_at || '').localeCompare(a.k.last_used_at || '')],
];

// kind is the kind of a key of no single resource.
const kind = (k) => (k.broker ? 'broker key' : 'tenant key');

const searched = (k, names) => [k.label, k.id, k.resource_id ? place(k) : kind(k), names.get(k.parent_id) || k.parent_id,
  ...(k.permissions || []), ...(k.resources || [])].join('\n');

function rows(m, names, items, nested) {
  const columns = [
    { label: 'Key' }, { label: 'May', plain: true }, { label: 'Created' }, { label: 'Last used' }, { label: 'State', plain: true, class: 'early' },
    { label: 'Actions', quiet: true, class: 'actions' },
  ];
  return table('Keys', columns, items.map(({ k, depth }) => {
    const about = `the key ${k.id}${k.resource_id ? ` of ${place(k)}` : ''}`;
    const name = h('div', { class: 'nested' },
      h('span', { class: 'name' }, k.label || k.resource_id || (k.altered ? 'Unknown' : k.broker ? 'Broker key' : 'Tenant key')),
      (k.label || k.resource_id) && small(!k.resource_id ? kind(k) : k.label ? place(k) : k.resource_type),
      h('code', { class: 'small' }, k.id));
    name.style.setProperty('--depth', nested ? Math.min(depth, 5) : 0);
    return { id: k.id, cells: [
      name,
      may(k),
      [h('span', {}, when(k.created_at)), small(names.has(k.parent_id) ? `by ${names.get(k.parent_id)}` : k.parent_id ? `by ${k.parent_id}` : k.altered ? '' : 'by the operator')],
      k.last_used_at ? when(k.last_used_at) : h('span', { class: 'faint' }, 'never'),
      standing(k),
      h('div', { class: 'row-actions' }, valid(k) && [
        !k.altered && button('Replace', (e) => replaceKey(m, e.currentTarget, k), { key: `replace ${k.id}`, about }),
        button('Revoke', (e) => revokeKey(m, e.currentTarget, k), { key: `revoke ${k.id}`, about })]),
    ] };
  }));
}

function standing(k) {
  if (k.altered) return state('bad', 'altered in the database: refused');
  if (k.revoked_at) return state('bad', 'revoked ', when(k.revoked_at));
  if (expired(k)) return state('bad', 'expired ', when(k.expires_at));
  return [state('good', 'valid'), k.expires_at && small('expires ', when(k.expires_at))];
}

// may returns what a key may do.
function may(k) {
  const granted = k.permissions && permissions.filter(([p]) => k.permissions.includes(p)).map(([, words]) => words);
  return !k.altered && [
    h('span', {}, granted ? granted.join(', ') : k.broker ? 'receive what placeholders stand for' : k.resource_id ? 'receive values' : 'everything'),
    k.scopes && small('secrets of: ', k.scopes.map((s) => scopes[s]?.label.toLowerCase() || s).join(', ')),
    k.resources && small('only ', k.resources.map((r) => r.replace(':', ' ')).join(', ')),
  ];
}
