// The view of sandboxes and computers: their bindings, and the versions they last received.
import { h, button, command, icon, state, table } from './dom.js';
import { bind, unbind } from './actions.js';
import { heading, small } from './secrets.js';
import { leftovers, standing } from './taken.js';
import { kinds, place, plural, when } from './words.js';

export const title = 'Resources';

export function view(m) {
  const add = button('Bind a secret', (e) => bind(m, e.currentTarget), { key: 'bind', kind: 'primary' });
  if (m.resources.length === 0) {
    return [heading('Resources', null),
      h('section', { class: 'first', 'aria-label': 'First steps' },
        h('p', { class: 'lead' }, 'Nothing is bound to a sandbox or computer yet.'),
        h('p', {}, 'This view shows bound secrets: the current version, the version received, and the time.'),
        add,
        h('p', {}, 'On your own machine, the agent needs a resource key. The vault’s operator creates one:'),
        command('miosa-vault keys create --tenant NAME --resource sandbox:ID'))];
  }
  const lead = h('p', { class: 'lead' }, 'The values that each resource last received. Commands that were started earlier may have older ones.');
  // Resources with problems come first. The sort is stable, and the model has sorted by name.
  const all = m.resources.map((r) => examine(m, r)).sort((a, b) => a.rank - b.rank);
  return [heading('Resources', lead, add), all.map((examined) => section(m, examined))];
}

// examine returns what the view shows of a resource, and its rank.
function examine(m, r) {
  const it = place(r);
  const bindings = m.bindings.filter((b) => place(b) === it);
  const took = m.taken.get(it);
  const rows = bindings.map((b) => [b, standing(b, m.secret(b.secret_id), took)]);
  const has = (word) => rows.some(([, s]) => s.word === word);
  const rank = has('stale') ? 0 : has('expired') || (rows.length && !r.keyed) ? 1 : has('untaken') ? 2 : rows.length ? 3 : 4;
  return { r, it, bindings, took, rows, rank };
}

function section(m, { r, it, bindings, took, rows }) {
  const id = `r-${it.replaceAll(' ', '-')}`;
  return h('section', { class: 'resource', 'aria-labelledby': id },
    h('div', { class: 'heading' },
      h('div', { class: 'which' }, icon(r.resource_type),
        h('div', {}, h('h2', { id }, r.resource_id), h('p', { class: 'small' }, kinds[r.resource_type], ' · ', lastTook(took)))),
      h('div', { class: 'tools' }, summary(rows, took, r),
        button('Bind', (e) => bind(m, e.currentTarget, { resource: r }), { key: `bind ${it}`, about: `a secret to ${it}` }))),
    notes(m, bindings, took, r),
    rows.length ? bound(m, it, rows) : h('p', { class: 'plain' }, 'Nothing is bound to it.'));
}

const lastTook = (took) => (took?.ok ? ['last received values ', when(took.ok.timestamp)] : 'has never received values');

function summary(rows, took, r) {
  const stale = rows.filter(([, s]) => s.word === 'stale').length;
  const untaken = rows.filter(([, s]) => s.word === 'untaken').length;
  if (rows.length === 0) return null;
  if (stale) return state('stale', `${stale} of ${rows.length} stale`);
  if (!r.keyed) return took?.ok ? state('bad', 'key no longer valid') : state('none', 'no key');
  if (untaken) return state('none', took?.ok ? `${untaken} of ${rows.length} not received yet` : 'not received yet');
  return rows.some(([, s]) => s.word === 'expired') ? state('bad', 'has expired secrets') : state('good', 'up to date');
}

const day = 86_400_000;

// notes returns what isn't about one binding.
function notes(m, bindings, took, r) {
  const left = leftovers(bindings, took);
  const names = left.map((ref) => `${m.secret(ref.secret_id)?.name || ref.secret_id} (v${ref.version})`);
  const lines = [
    left.length && state('stale', `It last received ${plural(left.length, 'value')} that ${left.length === 1 ? 'is' : 'are'} no longer bound: ${names.join(', ')}.`),
    took?.denied && Date.now() - new Date(took.denied.timestamp) < day
      && state('bad', h('span', {}, 'A request for its values with another key was denied ', when(took.denied.timestamp), '.')),
    !r.keyed && bindings.length && h('p', { class: 'small' },
      took?.ok ? 'Its key was revoked or has expired, so it receives no changes until it has another key. The vault’s operator creates one:'
        : 'It receives nothing until it has a key. The vault’s operator creates one:'),
    !r.keyed && bindings.length && command(`miosa-vault keys create --tenant NAME --resource ${r.resource_type}:${r.resource_id}`),
  ].filter(Boolean);
  return lines.length ? h('div', { class: 'notes' }, lines) : null;
}

const words = {
  current: 'up to date', untaken: 'not received yet', expired: 'expired: not delivered', placeholder: 'placeholder received',
};

function bound(m, it, rows) {
  const columns = [
    { label: 'Variable' }, { label: 'Secret' }, { label: 'Current' }, { label: 'Received' }, { label: 'State' },
    { label: 'Actions', quiet: true, class: 'actions' },
  ];
  return table(`Bound to ${it}`, columns, rows.map(([b, s]) => [
    h('code', { class: 'name' }, b.expose_as_env),
    [h('span', {}, b.secret_name), b.delivery === 'placeholder' && small('as a placeholder')],
    [h('span', {}, `v${b.version}`), small(when(b.updated_at))],
    s.version === null ? h('span', { class: 'faint' }, 'never') : h('span', {}, `v${s.version}`),
    state(s.kind, s.word === 'stale' ? `stale: has v${s.version}, not v${b.version}` : words[s.word]),
    h('div', { class: 'row-actions' },
      button('Unbind', (e) => unbind(m, e.currentTarget, b), { key: `unbind ${b.id}`, about: `${b.expose_as_env} from ${it}` })),
  ]));
}
