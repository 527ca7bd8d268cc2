// The view of connected accounts, whose OAuth tokens the vault renews.
import { command } from './command.js';
import { h, button, state, table } from './dom.js';
import { remove } from './actions.js';
import { connect } from './connect.js';
import { boundTo, denial, expiry, heading, small } from './secrets.js';
import { here, owner, when } from './words.js';

export const title = 'Connections';

const isConnection = (s) => s.type === 'oauth_connect' || s.type === 'oauth_machine';
const facts = (s) => s.metadata?.oauth || {};
const providerOf = (s) => s.oauth_provider || facts(s).provider || '';

export function view(m) {
  const connections = m.secrets.filter(isConnection);
  const lead = h('p', { class: 'lead' }, 'The vault renews the tokens of these accounts. Everything they are bound to receives each new token.');
  const offered = m.denied.has('providers') ? denial(m, 'providers') : providers(m, connections.length);
  return [heading('Connections', lead), connections.length ? rows(m, connections) : null, offered];
}

const health = {
  connected: () => state('good', 'connected'),
  retrying: (word) => state('stale', `not renewed${word ? ` (${word})` : ''}: the vault retries`),
  reconnect_required: () => state('bad', 'must be connected again'),
};

function rows(m, connections) {
  const columns = [
    { label: 'Account' }, { label: 'Health', plain: true, class: 'early' }, { label: 'Scopes' }, { label: 'Bound to' }, { label: 'Token' }, { label: 'Expires' },
    { label: 'Actions', quiet: true, class: 'actions' },
  ];
  return table('Connections', columns, connections.map((s) => {
    const { status, scopes, error } = facts(s);
    const provider = m.providers?.find((p) => p.name === providerOf(s));
    const words = [].concat(scopes || []).flatMap((w) => String(w).split(' '));
    return { id: s.id, cells: [
      [h('span', { class: 'name' }, s.name), small([provider?.display_name || providerOf(s), ...owner(s).named].filter(Boolean).join(', '))],
      (health[status] || (() => state('none', 'unknown')))(error),
      words.length ? h('span', {}, words.map((w) => h('code', { class: 'word' }, w))) : h('span', { class: 'faint' }, 'unknown'),
      boundTo(m, s),
      [h('span', {}, `v${s.version}`), small(when(s.updated_at))],
      expiry(s),
      h('div', { class: 'row-actions' },
        provider && m.may('oauth') && button(status === 'reconnect_required' ? 'Connect again' : 'Reconnect',
          (e) => connect(m, e.currentTarget, provider, s), { key: `again ${s.id}`, about: s.name }),
        m.may('secrets:write') && button('Delete', (e) => remove(m, e.currentTarget, s), { key: `Delete ${s.id}`, about: s.name })),
    ] };
  }));
}

function providers(m, some) {
  if (!m.providers) {
    return h('section', { class: 'providers', 'aria-label': 'Providers' },
      h('p', { class: 'lead' }, 'This version of the vault has no OAuth.'));
  }
  if (m.providers.length === 0) {
    return h('section', { class: some ? 'providers first' : 'first', 'aria-labelledby': 'providers' },
      h('h2', { id: 'providers' }, 'No provider is configured'),
      h('p', {}, 'The vault’s operator can add one: register the vault with the provider, using this redirect address,'),
      command(here('api/v1/egress/oauth/callback')),
      h('p', {}, 'and add the provider to the file of ', h('code', {}, 'miosa-vault serve --oauth-file'), '.'));
  }
  return h('section', { class: 'providers', 'aria-labelledby': 'providers' },
    h('h2', { id: 'providers' }, some ? 'Connect another account' : 'Connect an account'),
    h('ul', {}, m.providers.map((p) => h('li', {},
      h('div', {}, h('h3', {}, p.display_name),
        p.scopes.length ? h('p', { class: 'small' }, 'scopes: ', p.scopes.map((w) => h('code', { class: 'word' }, w))) : null),
      button('Connect', (e) => connect(m, e.currentTarget, p), { key: `connect ${p.name}`, about: p.display_name, kind: 'secondary' })))));
}
