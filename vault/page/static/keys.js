// The view of resource keys, with which agents receive the values of one sandbox or computer.
import { command, newKey, run, storeKey } from './command.js';
import { h, button, state, table } from './dom.js';
import { call } from './client.js';
import { form, show } from './dialog.js';
import { moment, resource } from './field.js';
import { list, matches } from './list.js';
import { expiry, heading, small } from './secrets.js';
import { expired, place, valid, when } from './words.js';

export const title = 'Keys';

export function view(m) {
  const create = button('Create a key', (e) => createKey(m, e.currentTarget), { key: 'create key', kind: 'primary' });
  if (m.keys.length === 0) {
    return [heading('Keys', null), h('section', { class: 'first', 'aria-label': 'First steps' },
      h('p', { class: 'lead' }, 'There are no resource keys yet. The agent on each sandbox or computer needs one.'), create)];
  }
  const { count, tools, body } = list({
    state: m.list('#keys'), items: m.keys, noun: 'key', page: 100, filters, sorts,
    ids: (k) => [k.id],
    narrow: (k, words) => (matches(`${place(k)}\n${k.id}`, words) ? k : null),
    render: (found) => rows(m, found),
  });
  return [heading('Keys', count, create), tools, body];
}

const filters = [
  ['', 'All keys'], ['valid', 'Valid', valid], ['expired', 'Expired', (k) => !k.revoked_at && expired(k)], ['revoked', 'Revoked', (k) => k.revoked_at],
];

const sorts = [
  ['', 'Resource', (a, b) => valid(b) - valid(a) || place(a).localeCompare(place(b), undefined, { numeric: true })],
  ['newest', 'Newest', (a, b) => b.created_at.localeCompare(a.created_at)],
  ['oldest', 'Oldest', (a, b) => a.created_at.localeCompare(b.created_at)],
];

function rows(m, keys) {
  const columns = [
    { label: 'Resource' }, { label: 'Id', plain: true }, { label: 'Created' }, { label: 'Expires' }, { label: 'State', plain: true, class: 'first' }, { label: 'Actions', quiet: true, class: 'actions' },
  ];
  return table('Keys', columns, keys.map((k) => ({ id: k.id, cells: [
    [h('span', { class: 'name' }, k.resource_id), small(k.resource_type)],
    h('code', {}, k.id),
    when(k.created_at),
    expiry(k),
    k.revoked_at ? state('bad', 'revoked ', when(k.revoked_at)) : expired(k) ? state('bad', 'expired') : state('good', 'valid'),
    h('div', { class: 'row-actions' },
      valid(k) && button('Revoke', (e) => revoke(m, e.currentTarget, k), { key: `revoke ${k.id}`, about: `the key ${k.id} of ${place(k)}` })),
  ] })));
}

// createKey creates a key, for r if it is given, and shows it once.
export function createKey(m, opener, r) {
  const [kind, id] = resource({ value: r, known: m.resources, required: true });
  const expires = moment('expires_at', 'Expires', { hint: 'The key is rejected after this time. Empty: it never expires.' });
  let created;
  form({
    title: r ? `Create a key for ${place(r)}` : 'Create a key', submit: 'Create', opener, after: m.refresh,
    fields: [kind, id, expires],
    body: [r ? null : h('div', { class: 'beside which-one' }, kind.node, id.node), expires.node,
      r && h('details', {}, h('summary', {}, 'On the command line'),
        h('div', { class: 'more' }, h('p', { class: 'small' }, 'With the tenant key in MIOSA_TENANT_KEY, this writes the key to a file:'), command(newKey(r))))],
    async run(values) {
      const body = r ? { ...values, resource_type: r.resource_type, resource_id: r.resource_id } : values;
      created = (await call('POST', 'resource-keys', { body })).data;
      return { added: created.id };
    },
    then: () => showKey(opener, created),
  });
}

// showKey shows a new key. No other call returns it.
function showKey(opener, created) {
  const close = show(`The key of ${place(created)}`, h('div', { class: 'more' },
    h('p', {}, 'The key is shown only now.'),
    command(created.key),
    h('p', {}, 'On the machine, this stores it in a file that only you can read: run it, paste the key and press Enter.'),
    command(storeKey(created)),
    h('p', {}, 'This starts a shell with the variables. Replace ', h('code', {}, 'sh'), ' by your command.'),
    command(run(created)),
    h('div', { class: 'buttons' }, button('Close', () => close(), { kind: 'primary' }))), { opener });
}

function revoke(m, opener, k) {
  form({
    title: `Revoke the key of ${place(k)}?`, submit: 'Revoke', danger: true, opener, after: m.refresh,
    body: [h('p', {}, `Agents with the key ${k.id} stop receiving values at once. This cannot be undone.`)],
    async run() {
      await call('DELETE', `resource-keys/${encodeURIComponent(k.id)}`);
      return `The key of ${place(k)} is revoked.`;
    },
  });
}
