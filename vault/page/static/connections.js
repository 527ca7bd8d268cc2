// The view of connected accounts: OAuth tokens that the vault keeps fresh.
import { h, button, command, state, table } from './dom.js';
import { remove } from './actions.js';
import { connect } from './connect.js';
import { expiry, heading, small } from './secrets.js';
import { here, owner, plural, when } from './words.js';

export const title = 'Connections';

const isConnection = (s) => s.type === 'oauth_connect' || s.type === 'oauth_machine';
const facts = (s) => s.metadata?.oauth || {};
const providerOf = (s) => s.oauth_provider || facts(s).provider || '';

export function view(m) {
  const connections = m.secrets.filter(isConnection);
  const lead = h('p', { class: 'lead' }, 'Accounts whose tokens the vault keeps fresh: each renewal reaches what they are bound to by itself.');
  return [heading('Connections', lead), connections.length ? rows(m, connections) : null, providers(m, connections.length)];
}

const health = {
  connected: () => state('good', 'connected'),
  retrying: (word) => state('stale', `not renewed${word ? ` (${word})` : ''}: the vault tries again`),
  reconnect_required: () => state('bad', 'has to be connected again'),
};

function rows(m, connections) {
  const columns = [
    { label: 'Account' }, { label: 'Health' }, { label: 'May' }, { label: 'Bound to' }, { label: 'Token' }, { label: 'Ends' },
    { label: 'What to do', quiet: true, class: 'actions' },
  ];
  return table('Connections', columns, connections.map((s) => {
    const { status, scopes, error } = facts(s);
    const provider = m.providers?.find((p) => p.name === providerOf(s));
    const places = m.bound(s);
    const words = [].concat(scopes || []).flatMap((w) => String(w).split(' '));
    return [
      [h('span', { class: 'name' }, s.name), small([provider?.display_name || providerOf(s), ...owner(s).named].filter(Boolean).join(', '))],
      (health[status] || (() => state('none', 'not told')))(error),
      words.length ? h('span', {}, words.map((w) => h('code', { class: 'word' }, w))) : h('span', { class: 'faint' }, 'not told'),
      places.length ? h('a', { href: '#resources' }, plural(places.length, 'binding')) : h('span', { class: 'faint' }, 'nothing'),
      [h('span', {}, `v${s.version}`), small(when(s.updated_at))],
      expiry(s),
      h('div', { class: 'row-actions' },
        provider && button(status === 'reconnect_required' ? 'Connect again' : 'Reconnect',
          (e) => connect(m, e.currentTarget, provider, s), { key: `again ${s.id}`, about: s.name }),
        button('Delete', (e) => remove(m, e.currentTarget, s), { key: `Delete ${s.id}`, about: s.name })),
    ];
  }));
}

function providers(m, some) {
  if (!m.providers) {
    return h('section', { class: 'providers', 'aria-label': 'Providers' },
      h('p', { class: 'lead' }, 'This vault does not connect accounts: it is of a version without OAuth.'));
  }
  if (m.providers.length === 0) {
    return h('section', { class: some ? 'providers first' : 'first', 'aria-labelledby': 'providers' },
      h('h2', { id: 'providers' }, 'No provider is set up'),
      h('p', {}, 'The vault’s operator adds one: register the vault with the provider, with this address to send users back to,'),
      command(here('api/v1/egress/oauth/callback')),
      h('p', {}, 'and name the provider in the file that ', h('code', {}, 'miosa-vault serve --oauth-file'), ' reads.'));
  }
  return h('section', { class: 'providers', 'aria-labelledby': 'providers' },
    h('h2', { id: 'providers' }, some ? 'Connect another account' : 'Connect an account'),
    h('ul', {}, m.providers.map((p) => h('li', {},
      h('div', {}, h('h3', {}, p.display_name),
        p.scopes.length ? h('p', { class: 'small' }, 'asks for ', p.scopes.map((w) => h('code', { class: 'word' }, w))) : null),
      button('Connect', (e) => connect(m, e.currentTarget, p), { key: `connect ${p.name}`, about: p.display_name, kind: 'secondary' })))));
}
