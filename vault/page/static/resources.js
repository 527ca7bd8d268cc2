// The view of what each sandbox and computer has: its bindings, and what it last took of them.
import { h, button, command, icon, state, table } from './dom.js';
import { bind, unbind } from './actions.js';
import { heading, small } from './secrets.js';
import { leftovers, standing } from './taken.js';
import { kinds, place, plural, when } from './words.js';

export const title = 'Resources';

export function view(m) {
  const more = button('Bind a secret', (e) => bind(m, e.currentTarget), { key: 'bind', kind: 'primary' });
  if (m.resources.length === 0) {
    return [heading('Resources', null),
      h('section', { class: 'first', 'aria-label': 'First steps' },
        h('p', { class: 'lead' }, 'Nothing is bound to a sandbox or computer yet.'),
        h('p', {}, 'Bind a secret under the name of a variable, and it shows here: with the version that stands, the one that was taken, and when.'),
        more,
        h('p', {}, 'On a machine of your own, the agent needs a key for it. The vault’s operator creates one:'),
        command('miosa-vault keys create --tenant NAME --resource sandbox:ID'))];
  }
  const lead = h('p', { class: 'lead' }, 'What each one last took from the vault. A command that was started before may have older values.');
  // What needs a look comes first; the model has sorted the rest by name.
  const all = m.resources.map((r) => look(m, r)).sort((a, b) => a.rank - b.rank);
  return [heading('Resources', lead, more), all.map((found) => section(m, found))];
}

// look gathers what there is to say about a resource.
function look(m, r) {
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

const lastTook = (took) => (took?.ok ? ['last took its secrets ', when(took.ok.timestamp)] : 'never took anything');

function summary(rows, took, r) {
  const stale = rows.filter(([, s]) => s.word === 'stale').length;
  const untaken = rows.filter(([, s]) => s.word === 'untaken').length;
  if (rows.length === 0) return null;
  if (stale) return state('stale', `${stale} of ${rows.length} stale`);
  if (!r.keyed) return took?.ok ? state('bad', 'its key has ended') : state('none', 'has no key');
  if (untaken) return state('none', took?.ok ? `${untaken} of ${rows.length} not taken yet` : 'never took them');
  return rows.some(([, s]) => s.word === 'expired') ? state('bad', 'has expired secrets') : state('good', 'up to date');
}

const day = 86_400_000;

// notes are what the table can't say.
function notes(m, bindings, took, r) {
  const left = leftovers(bindings, took);
  const names = left.map((ref) => `${m.secret(ref.secret_id)?.name || ref.secret_id} (v${ref.version})`);
  const lines = [
    left.length && state('stale', `It last took ${plural(left.length, 'value')} that ${left.length === 1 ? 'is' : 'are'} no longer bound: ${names.join(', ')}.`),
    took?.denied && Date.now() - new Date(took.denied.timestamp) < day
      && state('bad', h('span', {}, 'A key that is not its own asked for its values, and was refused, ', when(took.denied.timestamp), '.')),
    !r.keyed && bindings.length && h('p', { class: 'small' },
      took?.ok ? 'Its key was revoked or has expired: it takes nothing new until it has another. The vault’s operator creates one:'
        : 'It takes nothing until it has a key. The vault’s operator creates one:'),
    !r.keyed && bindings.length && command(`miosa-vault keys create --tenant NAME --resource ${r.resource_type}:${r.resource_id}`),
  ].filter(Boolean);
  return lines.length ? h('div', { class: 'notes' }, lines) : null;
}

const words = {
  current: 'up to date', untaken: 'not taken yet', expired: 'expired: not handed out', placeholder: 'placeholder taken',
};

function bound(m, it, rows) {
  const columns = [
    { label: 'Variable' }, { label: 'Secret' }, { label: 'Stands' }, { label: 'Taken' }, { label: 'State' },
    { label: 'What to do', quiet: true, class: 'actions' },
  ];
  return table(`Bound to ${it}`, columns, rows.map(([b, s]) => [
    h('code', { class: 'name' }, b.expose_as_env),
    [h('span', {}, b.secret_name), b.delivery === 'placeholder' && small('as a placeholder')],
    [h('span', {}, `v${b.version}`), small(when(b.updated_at))],
    s.version === null ? h('span', { class: 'faint' }, 'never') : h('span', {}, `v${s.version}`),
    state(s.kind, s.word === 'stale' ? `stale: has v${s.version}, v${b.version} stands` : words[s.word]),
    h('div', { class: 'row-actions' },
      button('Unbind', (e) => unbind(m, e.currentTarget, b), { key: `unbind ${b.id}`, about: `${b.expose_as_env} from ${it}` })),
  ]));
}
