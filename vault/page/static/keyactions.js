// The dialogs that create, replace and revoke keys. m is the model.
import { h, button } from './dom.js';
import { RequestError, all, call } from './client.js';
import { command, newKey, run, storeKey, useTenantKey } from './command.js';
import { form, openAfter, show } from './dialog.js';
import { choice, moment, resource, text, words } from './field.js';
import { keyName, permissions, place, plural, scopes, valid } from './words.js';

const scopeNames = Object.entries(scopes).map(([s, { label }]) => [s, label]);

// createKey creates a key, a resource key of r if that is given, and shows it once.
export function createKey(m, opener, r) {
  const use = choice('use', 'For', { resource: 'the agent of a sandbox or computer', tenant: 'managing this tenant' });
  const [kind, id] = resource({ value: r, known: m.resources, required: true });
  const label = text('label', 'Label', { hint: 'Who or what uses it, for example: CI.' });
  const expires = moment('expires_at', 'Expires', { hint: 'The key is rejected after this time. Empty: it never expires.' });
  const may = checks('permissions', 'Permissions', m.allowed(permissions, 'permissions'));
  const owners = checks('scopes', 'Secrets of', m.allowed(scopeNames, 'scopes'));
  const where = words('resources', 'Resources', { hint: 'For example sandbox:sb_1 computer:build-01. Empty: all.' });
  const which = h('div', { class: 'beside which-one' }, kind.node, id.node);
  const ofTenant = h('div', { class: 'more' }, may.node, where.node);
  const chosen = () => {
    which.hidden = Boolean(r) || use.read() !== 'resource';
    ofTenant.hidden = use.read() !== 'tenant';
  };
  use.input.addEventListener('change', chosen);
  chosen();
  let created;
  form({
    title: r ? `Create a key for ${place(r)}` : 'Create a key', submit: 'Create', opener, after: m.refresh,
    fields: [use, kind, id, label, expires, may, owners, where],
    body: [r ? null : use.node, which, label.node, expires.node,
      h('details', {}, h('summary', {}, 'Restrictions'), h('div', { class: 'more' },
        h('p', { class: 'small' }, 'The key may only do what is selected. With nothing selected, it may do everything that your key may.'), ofTenant, owners.node)),
      r && h('details', {}, h('summary', {}, 'On the command line'), h('div', { class: 'more' },
        h('p', { class: 'small' }, 'With the tenant key in MIOSA_TENANT_KEY, this writes the key to a file:'), command(newKey(r))))],
    async run({ use: what, ...body }) {
      if (r) Object.assign(body, { resource_type: r.resource_type, resource_id: r.resource_id });
      created = (await call('POST', what === 'tenant' ? 'keys' : 'resource-keys', { body })).data;
      return { added: created.id };
    },
    then: () => showKey(opener, created),
  });
}

// showKey shows a new key. No other call returns it.
function showKey(opener, created) {
  const agent = created.resource_id !== '';
  const close = show(`The key ${keyName(created)}`, h('div', { class: 'more' },
    h('p', {}, 'The key is shown only now.'),
    command(created.key),
    h('p', {}, 'On the machine that uses it, this stores it in a file that only you can read: run it, paste the key and press Enter.'),
    command(storeKey(created)),
    agent ? h('p', {}, 'This starts a shell with the variables. Replace ', h('code', {}, 'sh'), ' by your command.')
      : h('p', {}, 'After this, ', h('code', {}, 'miosa-env'), ' manages this tenant:'),
    command(agent ? run(created) : useTenantKey(created)),
    h('div', { class: 'buttons' }, button('Close', () => close(), { kind: 'primary' }))), { opener });
}

const graces = [['3600', 'one hour'], ['86400', 'one day'], ['604800', '7 days'], ['2592000', '30 days'], ['0', 'it is revoked at once']];

// replaceKey creates the successor of k and shows it once.
export function replaceKey(m, opener, k) {
  const grace = choice('grace_seconds', 'The old key still works for', graces, { value: '86400' });
  let created;
  form({
    title: `Replace the key ${keyName(k)}?`, submit: 'Replace', opener, after: m.refresh, fields: [grace],
    body: [h('p', {}, 'A new key with the same label and restrictions takes its place, and takes over the keys that it has created.'), grace.node],
    async run({ grace_seconds }) {
      created = (await call('POST', `keys/${encodeURIComponent(k.id)}/replace`, { body: { grace_seconds: Number(grace_seconds) } })).data;
      return { added: created.id };
    },
    then: () => showKey(opener, created),
  });
}

// revokeKey revokes k. It first reloads the keys, because the model may lack some that k has created since.
export function revokeKey(m, opener, k) {
  return openAfter(opener, () => m.attempt(() => all('keys', 'keys')), (keys) => confirmRevoking(m, opener, k, keys));
}

function confirmRevoking(m, opener, k, keys) {
  const under = validUnder(keys, k.id);
  const children = choice('children', 'These keys', [['', 'Choose what happens to them'], ['revoke', 'are revoked too'], ['keep', 'stay valid']]);
  form({
    title: `Revoke the key ${keyName(k)}?`, submit: 'Revoke', danger: true, opener, after: m.refresh,
    fields: under.length ? [children] : [],
    body: [
      h('p', {}, k.resource_id ? `Agents with the key ${k.id} stop receiving values at once.`
        : `Requests with the key ${k.id} are refused at once. If you have signed in with it, you are signed out.`, ' This cannot be undone.'),
      under.length > 0 && [
        h('p', {}, `It has created ${plural(under.length, 'key')}, directly or through other keys:`),
        h('ul', {}, under.slice(0, 8).map((c) => h('li', {}, keyName(c), ' ', h('code', {}, c.id))),
          under.length > 8 && h('li', {}, `and ${under.length - 8} more`)),
        children.node]],
    async run(query) {
      try {
        const { revoked } = await call('DELETE', `keys/${encodeURIComponent(k.id)}`, { query });
        return revoked.length > 1 ? `${plural(revoked.length, 'key')} are revoked.` : `The key ${keyName(k)} is revoked.`;
      } catch (error) {
        if (error.status !== 409) throw error;
        throw new RequestError(409, 'It has created other keys meanwhile. Close this dialog and press Revoke again.');
      }
    },
  });
}

// validUnder returns the valid keys under the key with that id.
function validUnder(keys, id) {
  const direct = keys.filter((k) => k.parent_id === id);
  return direct.flatMap((k) => [...(valid(k) ? [k] : []), ...validUnder(keys, k.id)]);
}

// checks are checkboxes, of options [value, label]. read returns the values of those that are checked, or '' for none.
function checks(name, label, options) {
  const boxes = options.map(([value, words]) => [value, h('input', { type: 'checkbox' }), words]);
  const error = h('p', { class: 'error', hidden: true });
  const checked = () => boxes.filter(([, box]) => box.checked).map(([value]) => value);
  return {
    name, label, input: boxes[0][1],
    node: h('fieldset', {}, h('legend', {}, label, h('span', { class: 'optional' }, ' optional')),
      h('div', { class: 'checks' }, boxes.map(([, box, words]) => h('label', {}, box, ' ', words))), error),
    read: () => (checked().length ? checked() : ''),
    fault: () => '',
    problem(sentence) {
      error.textContent = sentence;
      error.hidden = !sentence;
    },
    wipe() {},
  };
}
