// The view of sandboxes and computers: their bindings, and the versions they last received.
import { h, button, icon, state, table } from './dom.js';
import { bind, someOf } from './actions.js';
import { call, forEach } from './client.js';
import { form } from './dialog.js';
import { narrowRule } from './egress.js';
import { createKey } from './keyactions.js';
import { checkbox, list, matches } from './list.js';
import { denial, heading, small } from './secrets.js';
import { lastTime, leftovers, standing } from './taken.js';
import { day, kinds, place, plural, when } from './words.js';

export const title = 'Resources';

export function view(m) {
  const add = m.binds && button('Bind a secret', (e) => bind(m, e.currentTarget), { key: 'bind', kind: 'primary' });
  if (m.denied.has('bindings')) return [heading('Resources', null), denial(m, 'bindings')];
  if (m.resources.length === 0) {
    return [heading('Resources', null),
      h('section', { class: 'first', 'aria-label': 'First steps' },
        h('p', { class: 'lead' }, 'Nothing is bound to a sandbox or computer yet.'),
        h('p', {}, 'This view shows bound secrets: the current version, the version received, and the time.'),
        add,
        m.may('keys:write') && h('p', {}, 'On your own machine, the agent needs a resource key.'),
        m.may('keys:write') && button('Create a key', (e) => createKey(m, e.currentTarget), { key: 'create key', kind: 'secondary' }))];
  }
  const { count, tools, body } = list({
    state: m.list('#resources'), items: m.resources.map((r) => examine(m, r)), noun: 'resource', page: 25, filters, sorts,
    ids: ({ rows }) => rows.map(([b]) => b.id), selects: ({ rows }) => (m.may('bindings:write') ? rows.map(([b]) => b.id) : []),
    narrow, render: (found) => found.map((examined) => section(m, examined)),
    actions: (ids) => [button('Unbind', (e) => unbindAll(m, e.currentTarget, m.bindings.filter((b) => ids.includes(b.id))), { key: 'unbind selected', about: 'the selected variables' })],
  });
  return [heading('Resources', [count, m.denied.has('audit') ? denial(m, 'audit') : h('p', { class: 'lead' }, 'The values that each resource last received. Commands that were started earlier may have older ones.')], add), tools, body];
}

const has = (word) => ({ rows }) => rows.some(([, s]) => s.word === word);
const keyless = ({ r, rows }) => rows.length > 0 && r.keyed === false;

const filters = [
  ['', 'All resources'],
  ['stale', 'Stale', has('stale')],
  ['untaken', 'Not received yet', has('untaken')],
  ['expired', 'With expired secrets', has('expired')],
  ['keyless', 'Without a valid key', keyless],
  ['empty', 'Nothing bound', ({ rows }) => rows.length === 0],
];

// Resources with problems come first by default. Sorting is stable, and the model has sorted by name.
const sorts = [
  ['', 'Problems first', (a, b) => rank(a) - rank(b)],
  ['name', 'Name', () => 0],
  ['newest', 'Last received', (a, b) => received(b) - received(a)],
  ['oldest', 'Longest not received', (a, b) => received(a) - received(b)],
];

function rank(examined) {
  if (has('stale')(examined)) return 0;
  if (has('expired')(examined) || keyless(examined)) return 1;
  if (has('untaken')(examined)) return 2;
  return examined.rows.length ? 3 : 4;
}

const received = ({ took }) => (took?.ok ? lastTime(took.ok) : 0);

// examine returns what the view shows of a resource.
function examine(m, r) {
  const it = place(r);
  const bindings = m.bindings.filter((b) => place(b) === it);
  const took = m.tookBy(r);
  return { r, it, bindings, took, rows: bindings.map((b) => [b, standing(b, m.secret(b.secret_id), took)]) };
}

// narrow returns a resource with the rows that match, or with all rows if its name does.
function narrow(examined, words) {
  if (matches(examined.it, words)) return examined;
  const rows = examined.rows.filter(([b]) => matches(`${examined.it}\n${b.expose_as_env}\n${b.secret_name}\n${b.secret_id}`, words));
  return rows.length ? { ...examined, rows } : null;
}

function section(m, { r, it, bindings, took, rows }) {
  const id = `r-${it.replaceAll(' ', '-')}`;
  return h('section', { class: 'resource', 'aria-labelledby': id },
    h('div', { class: 'heading' },
      h('div', { class: 'which' }, icon(r.resource_type),
        h('div', {}, h('h2', { id }, r.resource_id), h('p', { class: 'small' }, kinds[r.resource_type], ' · ', lastTook(took)))),
      h('div', { class: 'tools' }, summary(rows, took, r),
        m.binds && button('Bind', (e) => bind(m, e.currentTarget, { resource: r }), { key: `bind ${it}`, about: `a secret to ${it}` }))),
    notes(m, it, bindings, took, r),
    rows.length ? bound(m, it, rows) : h('p', { class: 'plain' }, 'Nothing is bound to it.'));
}

const lastTook = (took) => (!took ? 'what it has received is unknown' : took.ok ? ['last received values ', when(took.ok.last_at || took.ok.timestamp)] : 'has never received values');

function summary(rows, took, r) {
  const stale = rows.filter(([, s]) => s.word === 'stale').length;
  const untaken = rows.filter(([, s]) => s.word === 'untaken').length;
  if (rows.length === 0) return null;
  if (stale) return state('stale', `${stale} of ${rows.length} stale`);
  if (r.keyed === false) return took?.ok ? state('bad', 'key no longer valid') : state('none', 'no key');
  if (untaken) return state('none', took?.ok ? `${untaken} of ${rows.length} not received yet` : 'not received yet');
  if (rows.some(([, s]) => s.word === 'expired')) return state('bad', 'has expired secrets');
  return took && state('good', 'up to date');
}

// notes returns what isn't about one binding.
function notes(m, it, bindings, took, r) {
  const left = leftovers(bindings, took);
  const names = left.map((ref) => `${m.secret(ref.secret_id)?.name || ref.secret_id} (v${ref.version})`);
  const lines = [
    left.length && state('stale', `It last received ${plural(left.length, 'value')} that ${left.length === 1 ? 'is' : 'are'} no longer bound: ${names.join(', ')}.`),
    took?.denied && Date.now() - lastTime(took.denied) < day
      && state('bad', h('span', {}, 'A request for its values with another key was denied ', when(took.denied.last_at || took.denied.timestamp), '.')),
    r.keyed === false && bindings.length && h('p', { class: 'small' },
      took?.ok ? 'Its key was revoked or has expired, so it receives no changes until it has another key.' : 'It receives nothing until it has a key.'),
    r.keyed === false && bindings.length && button('Create a key', (e) => createKey(m, e.currentTarget, r), { key: `key ${it}`, about: `for ${it}`, kind: 'secondary' }),
  ].filter(Boolean);
  return lines.length ? h('div', { class: 'notes' }, lines) : null;
}

const words = {
  unknown: 'unknown', current: 'up to date', untaken: 'not received yet', expired: 'expired: not delivered', placeholder: 'placeholder received',
};

function bound(m, it, rows) {
  const unbinds = m.may('bindings:write');
  const columns = [
    { label: 'Variable' }, { label: 'Secret', plain: true }, { label: 'Current' }, { label: 'Received' }, { label: 'State', plain: true, class: 'early' },
    { label: 'Actions', quiet: true, class: 'actions' },
  ];
  return table(`Bound to ${it}`, columns, rows.map(([b, s]) => ({ id: b.id, cells: [
    h('div', { class: 'selectable' }, unbinds && checkbox(b.id, `${b.expose_as_env} of ${it}`), h('code', { class: 'name' }, b.expose_as_env)),
    [h('a', { href: `#secrets?find=${encodeURIComponent(b.secret_id)}` }, b.secret_name), b.delivery === 'placeholder' && sentTo(m, b)],
    [h('span', {}, `v${b.version}`), small(when(b.updated_at))],
    s.version === null ? h('span', { class: 'faint' }, 'never') : h('span', {}, `v${s.version}`),
    state(s.kind, s.word === 'stale' ? `stale: has v${s.version}, not v${b.version}` : words[s.word]),
    h('div', { class: 'row-actions' },
      unbinds && b.delivery === 'placeholder' && button('Restrict', (e) => narrowRule(m, e.currentTarget, b), { key: `restrict ${b.id}`, about: `${b.expose_as_env} of ${it}` }),
      unbinds && button('Unbind', (e) => unbind(m, e.currentTarget, b), { key: `unbind ${b.id}`, about: `${b.expose_as_env} from ${it}` })),
  ] })));
}

// sentTo says where a broker sends what a placeholder stands for.
function sentTo(m, b) {
  const secret = m.secret(b.secret_id);
  if (secret && !secret.egress) return [small('as a placeholder'), state('stale', 'sent nowhere')];
  const hosts = (b.egress || secret?.egress)?.hosts;
  return small('as a placeholder', hosts && `, sent to ${hosts.join(', ')}`);
}

// unbind deletes a binding, not the secret.
function unbind(m, opener, binding) {
  form({
    title: `Unbind ${binding.expose_as_env}?`, submit: 'Unbind', danger: true, opener, after: m.refresh,
    body: [h('p', {}, `New commands on ${place(binding)} will not have `, h('code', {}, binding.expose_as_env),
      `. The secret ${binding.secret_name} is kept.`)],
    async run() {
      await call('DELETE', `bindings/${encodeURIComponent(binding.id)}`);
      return `${binding.expose_as_env} is unbound from ${place(binding)}.`;
    },
  });
}

// unbindAll deletes several bindings, not the secrets.
function unbindAll(m, opener, bindings) {
  form({
    title: `Unbind ${plural(bindings.length, 'variable')}?`, submit: 'Unbind', danger: true, opener, after: m.refresh,
    body: [h('p', {}, 'New commands will not have these variables. The secrets are kept.'), someOf(bindings)],
    async run() {
      await forEach(bindings, (b) => call('DELETE', `bindings/${encodeURIComponent(b.id)}`));
      m.list('#resources').selected.clear();
      return `${plural(bindings.length, 'variable')} ${bindings.length === 1 ? 'is' : 'are'} unbound.`;
    },
  });
}
