// The view of outgoing requests: policies, hosts that are to be allowed or denied, the allowlist, and where secrets were used.
import { h, button, state, table } from './dom.js';
import { all, call, patiently } from './client.js';
import { form } from './dialog.js';
import { choice, resource, text, words } from './field.js';
import { heading, small } from './secrets.js';
import { place, plural, when } from './words.js';

export const title = 'Network';

const maxUsed = 50; // secrets of which the view shows where they were used

// Network is what the page has requested for the view. It outlives the renderings of the view.
class Network {
  at = null; // the time of the last load
  policies = [];
  rules = [];
  suggestions = [];
  used = []; // {secret, groups}

  async load(m) {
    const none = async () => [];
    const list = m.lacks('network') ? none : all;
    const [policies, rules, suggestions, used] = await Promise.all([
      list('policies', 'policies'), list('allowlist', 'rules'),
      m.lacks('audit') ? [] : call('GET', 'audit/suggestions').then((a) => a.suggestions),
      m.lacks('audit') ? [] : usedSecrets(m),
    ]);
    Object.assign(this, { policies, rules, suggestions, used, at: new Date() });
  }
}

// usedSecrets returns the hosts that secrets were sent to, of those that a resource has a placeholder for.
async function usedSecrets(m) {
  const left = m.secrets.filter((s) => m.bound(s).some((b) => b.delivery === 'placeholder')).slice(0, maxUsed);
  const used = [];
  await Promise.all(Array.from({ length: 4 }, async () => {
    for (let secret; (secret = left.shift());) {
      const { groups } = await patiently(() => call('GET', 'audit', { query: { secret_id: secret.id, group_by: 'host', limit: 20 } }));
      if (groups.length) used.push({ secret, groups });
    }
  }));
  return used.sort((a, b) => a.secret.name.localeCompare(b.secret.name, undefined, { numeric: true }));
}

export const refresh = (m) => m.network?.load(m);

export function view(m) {
  const net = m.network ??= new Network();
  const lacks = ['network', 'audit'].map((what) => m.lacks(what)).filter(Boolean);
  const lead = h('p', { class: 'lead' }, 'Which hosts the requests of sandboxes and computers may go to through a broker.');
  const body = h('div');
  const fill = () => body.replaceChildren(...sections(m, net).filter(Boolean));
  if (net.at) fill();
  else if (lacks.length < 2) m.attempt(async () => { await net.load(m); fill(); });
  const add = !m.lacks('network') && button('Add a host', (e) => addEntry(m, e.currentTarget), { key: 'add host', kind: 'primary' });
  return [heading(title, lead, add), lacks.map((why) => h('p', { class: 'plain' }, why)), body];
}

function sections(m, net) {
  const writes = !m.lacks('network');
  const audits = !m.lacks('audit');
  return [
    audits && section('Hosts that no entry names', net.suggestions.length ? pending(m, net.suggestions, writes) : 'No request of the last 7 days went to such a host.'),
    writes && section('Policies', policies(m, net.policies)),
    writes && section('Allowlist', net.rules.length ? entries(m, net.rules) : 'There are no entries.'),
    audits && section('Where secrets were used', net.used.length ? uses(net.used) : 'No broker has reported a request with a secret.'),
  ];
}

function section(name, content) {
  const id = `n-${name.replaceAll(' ', '-')}`;
  return h('section', { class: 'providers', 'aria-labelledby': id }, h('h2', { id }, name),
    typeof content === 'string' ? h('p', { class: 'plain' }, content) : content);
}

// after loads the view's data again after a dialog.
const after = (m) => async (added) => {
  await m.attempt(() => m.network.load(m));
  await m.refresh(added);
};

function pending(m, suggestions, writes) {
  const columns = [
    { label: 'Host' }, { label: 'From', plain: true }, { label: 'Requests' }, { label: 'Last', class: 'early' }, { label: 'Actions', quiet: true, class: 'actions' },
  ];
  return table('Hosts that no entry names', columns, suggestions.map((s) => {
    const from = { resource_type: s.resource_type, resource_id: s.resource_id };
    const id = `${s.host} ${place(from)}`;
    const act = (label, effect) => writes && button(label, (e) => addEntry(m, e.currentTarget, { host: s.host, effect, r: from }),
      { key: `${effect} ${id}`, about: `${s.host} for ${place(from)}` });
    return { id, cells: [
      h('code', { class: 'name' }, s.host),
      [h('span', {}, place(from)), s.methods.length > 0 && small(s.methods.join(', '))],
      s.denied_count ? state('bad', `${s.denied_count} of ${s.count} denied`) : h('span', {}, s.count),
      when(s.last_seen),
      h('div', { class: 'row-actions' }, act('Allow', 'allow'), act('Deny', 'deny')),
    ] };
  }));
}

const modes = { enforce: 'enforced', audit_only: 'recorded only' };
const defaults = { deny: 'denied', allow: 'allowed' };

// policies returns the table of policies, the tenant's default first: without one, the vault's applies.
function policies(m, list) {
  const columns = [
    { label: 'For' }, { label: 'Rules', plain: true }, { label: 'Other hosts' }, { label: 'Changed' }, { label: 'Actions', quiet: true, class: 'actions' },
  ];
  const general = list.find((p) => !p.resource_id) || { id: 'default', mode: 'audit_only', default_effect: 'deny' };
  const own = list.filter((p) => p.resource_id);
  const rows = table('Policies', columns, [general, ...own].map((p) => {
    const about = p.resource_id ? `the policy of ${place(p)}` : 'the default policy';
    return { id: p.id, cells: [
      h('span', { class: 'name' }, p.resource_id ? place(p) : 'All others'),
      state(p.mode === 'enforce' ? 'good' : 'none', modes[p.mode] || p.mode),
      h('span', {}, defaults[p.default_effect] || p.default_effect),
      p.updated_at ? when(p.updated_at) : h('span', { class: 'faint' }, 'never'),
      h('div', { class: 'row-actions' }, button('Change', (e) => setPolicy(m, e.currentTarget, p), { key: `change ${p.id}`, about })),
    ] };
  }));
  return [rows, button('Set a policy for a resource', (e) => setPolicy(m, e.currentTarget), { key: 'set policy', kind: 'secondary' })];
}

// setPolicy changes a policy, or sets that of a resource.
function setPolicy(m, opener, p) {
  const [kind, id] = resource({ known: m.resources, required: true });
  const mode = choice('mode', 'Rules are', modes, { value: p?.mode });
  const effect = choice('default_effect', 'Hosts that no entry names are', defaults, { value: p?.default_effect });
  const what = p && (p.resource_id ? place(p) : 'all other resources');
  form({
    title: p ? `Policy for ${what}` : 'Set a policy for a resource', submit: 'Set', opener, after: after(m),
    fields: [...(p ? [] : [kind, id]), mode, effect],
    body: [p ? null : h('div', { class: 'beside which-one' }, kind.node, id.node), mode.node, effect.node],
    async run(body) {
      if (p?.resource_id) Object.assign(body, { resource_type: p.resource_type, resource_id: p.resource_id });
      const { data } = await call('PATCH', 'policies', { body });
      return { message: `The policy for ${data.resource_id ? place(data) : 'all other resources'} is set.`, added: data.id };
    },
  });
}

function entries(m, list) {
  const columns = [
    { label: 'Host' }, { label: 'Effect', plain: true, class: 'early' }, { label: 'For', plain: true }, { label: 'Note', plain: true }, { label: 'Added' },
    { label: 'Actions', quiet: true, class: 'actions' },
  ];
  return table('Allowlist', columns, list.map((e) => ({ id: e.id, cells: [
    [h('code', { class: 'name' }, e.host), (e.methods.length > 0 || e.path_glob) && small([...e.methods, e.path_glob].filter(Boolean).join(' '))],
    state(e.effect === 'allow' ? 'good' : 'bad', e.effect === 'allow' ? 'allowed' : 'denied'),
    h('span', {}, whose(m, e)),
    h('span', {}, e.note || ''),
    when(e.created_at),
    h('div', { class: 'row-actions' }, button('Remove', (event) => removeEntry(m, event.currentTarget, e), { key: `remove ${e.id}`, about: `${e.host} for ${whose(m, e)}` })),
  ] })));
}

// whose returns the resources that an entry is for.
function whose(m, e) {
  if (e.resource_id) return place(e);
  if (!e.policy_id) return 'all resources';
  const name = m.network.policies.find((p) => p.id === e.policy_id)?.name;
  return `policy ${name || e.policy_id}`;
}

// addEntry adds an entry, with a host, an effect and a resource to begin with.
function addEntry(m, opener, { host = '', effect = 'allow', r } = {}) {
  const name = text('host', 'Host', { value: host, mono: true, required: true, hint: 'For example api.example.com, *.example.com for its subdomains, or 192.0.2.0/24.' });
  const what = choice('effect', 'Effect', [['allow', 'allow'], ['deny', 'deny']], { value: effect });
  const scope = choice('scope', 'For', [['all', 'all resources'], ['one', 'one resource']], { value: r ? 'one' : 'all' });
  const [kind, id] = resource({ value: r, known: m.resources, required: true });
  const methods = words('methods', 'Methods', { hint: 'For example GET POST. Empty: all.' });
  const path = text('path_glob', 'Path', { mono: true, hint: 'For example /repos/**. Empty: all.' });
  const note = text('note', 'Note');
  const which = h('div', { class: 'beside which-one' }, kind.node, id.node);
  const chosen = () => { which.hidden = scope.read() !== 'one'; };
  scope.input.addEventListener('change', chosen);
  chosen();
  form({
    title: host ? `${effect === 'allow' ? 'Allow' : 'Deny'} ${host}` : 'Add a host', submit: 'Add', opener, after: after(m),
    fields: [name, what, scope, kind, id, methods, path, note],
    body: [name.node, h('div', { class: 'beside' }, what.node, scope.node), which,
      h('details', {}, h('summary', {}, 'Methods, path and note'), h('div', { class: 'more' }, methods.node, path.node, note.node))],
    async run({ scope: _, ...body }) {
      const { data } = await call('POST', 'allowlist', { body });
      return { message: `${data.host} is ${data.effect === 'allow' ? 'allowed' : 'denied'} for ${whose(m, data)}.`, added: data.id };
    },
  });
}

function removeEntry(m, opener, e) {
  form({
    title: `Remove ${e.host}?`, submit: 'Remove', danger: true, opener, after: after(m),
    body: [h('p', {}, `The policy of a resource then decides about ${e.host}, for ${whose(m, e)}, unless another entry names it.`)],
    async run() {
      await call('DELETE', `allowlist/${encodeURIComponent(e.id)}`);
      return { message: `${e.host} is removed.`, added: e.id };
    },
  });
}

function uses(list) {
  const columns = [{ label: 'Secret' }, { label: 'Host', plain: true }, { label: 'Requests' }, { label: 'Last', class: 'early' }];
  return table('Where secrets were used', columns, list.flatMap(({ secret, groups }) => groups.map((g) => ({ id: `${secret.id} ${g.host}`, cells: [
    h('a', { href: `#secrets?find=${encodeURIComponent(secret.id)}` }, secret.name),
    h('code', {}, g.host),
    h('span', {}, plural(g.count, 'request')),
    when(g.last_at),
  ] }))));
}
