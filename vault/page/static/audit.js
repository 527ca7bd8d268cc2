// The view of the audit log: who changed and received what, newest first.
import { allEvents, command } from './command.js';
import { h, button, say, state, table } from './dom.js';
import { more, select } from './list.js';
import { Log, maxEvents } from './log.js';
import { denial, heading, small } from './secrets.js';
import { kinds, place, plural, when } from './words.js';

export const title = 'Audit';

const followInterval = 3000; // ms

const actions = [
  'reveal', 'secret.create', 'secret.replace', 'secret.rotate', 'secret.delete', 'binding.create', 'binding.delete', 'binding.move',
  'key.create', 'key.revoke', 'oauth.start', 'oauth.callback', 'oauth.refresh', 'keys.rotate', 'keys.retire', 'root.rotate',
  'secret.read', 'binding.list', 'audit.read', 'key.read', 'oauth.read',
];

export function view(m) {
  if (m.denied.has('audit')) return [heading('Audit', null), denial(m, 'audit')];
  const log = m.log ??= new Log();
  const count = h('p', { class: 'lead' });
  const body = h('div');
  const load = () => m.attempt(async () => {
    await log.load({ action: action.value, resource_type: kind.value, resource_id: id.value.trim() });
    fill();
  });
  const action = select('Action', [['', 'All actions'], ...actions.map((a) => [a, a])], load);
  const kind = select('Kind', [['', 'All resources'], ...Object.entries(kinds)], load);
  const id = h('input', { type: 'search', onchange: load, 'aria-label': 'Resource id', placeholder: 'Resource id', autocomplete: 'off', spellcheck: 'false', 'data-key': 'id' });
  [action.value, kind.value, id.value] = [log.filter.action || '', log.filter.resource_type || '', log.filter.resource_id || ''];
  const follow = button('Follow', () => {
    log.follows = !log.follows;
    follow.setAttribute('aria-pressed', log.follows);
    if (log.follows) poll();
  }, { key: 'follow', about: 'new events', kind: 'secondary' });
  follow.setAttribute('aria-pressed', log.follows);

  const fill = () => {
    const events = log.events || [];
    count.textContent = `${log.cursor ? 'The latest ' : ''}${plural(events.length, 'event')}`;
    body.replaceChildren(events.length ? rows(m, events) : h('p', { class: 'plain' }, 'No event matches.'));
    if (log.cursor && events.length < maxEvents) {
      body.append(more('Show older events', body, () => m.attempt(async () => { await log.loadOlder(); fill(); })));
    }
    if (log.cursor) {
      body.append(h('p', { class: 'plain' }, `The page shows at most ${maxEvents} events. With the tenant key in MIOSA_TENANT_KEY, this shows all:`), command(allEvents()));
    }
  };
  let timer;
  const poll = async () => {
    if (!log.follows || !body.isConnected) return;
    if (!document.hidden && await m.attempt(() => log.loadNewer())) {
      fill();
      say(`New event: ${describe(log.events[0])}.`);
    }
    clearTimeout(timer); // of another poll, if Follow was pressed meanwhile
    timer = setTimeout(poll, followInterval);
  };
  if (log.events) fill();
  else {
    count.textContent = 'Loading events.';
    load();
  }
  if (log.follows) setTimeout(poll);
  return [heading('Audit', count, follow),
    h('div', { class: 'list-tools' }, h('div', { class: 'choices' }, action.parentNode, kind.parentNode, id)), body];
}

export const refresh = async (m) => m.log?.load(m.log.filter);

const describe = (e) => `${e.action}, ${e.outcome}${e.resource_id ? `, ${place(e)}` : ''}`;

const outcomes = { ok: 'good', denied: 'bad', failed: 'stale' };

function rows(m, events) {
  const columns = [
    { label: 'Action' }, { label: 'Outcome', plain: true }, { label: 'What', plain: true }, { label: 'Key', plain: true }, { label: 'From' }, { label: 'Time', plain: true, class: 'early' },
  ];
  return table('Audit events', columns, events.map((e) => ({ id: e.id, cells: [
    h('code', { class: 'name unbroken' }, e.action),
    state(outcomes[e.outcome] || 'none', e.outcome),
    objects(m, e).map((line) => h('span', { class: 'line' }, line)),
    h('code', { class: 'unbroken' }, e.key_id),
    [h('span', {}, e.remote_addr || ''), small(e.request_id || '')],
    when(e.timestamp),
  ] })));
}

// objects returns a line for each thing that an event is about.
function objects(m, e) {
  const secret = (id) => m.secret(id)?.name || id;
  const version = (v) => (v ? ` v${v}` : '');
  const lines = [];
  if (e.resource_id) lines.push(place(e));
  if (e.secret_id) lines.push(`${secret(e.secret_id)}${version(e.version)}`);
  if (e.bindings?.length) lines.push(e.bindings.map((b) => `${secret(b.secret_id)}${version(b.version)}`).join(', '));
  if (e.target_key_id) lines.push(`key ${e.target_key_id}`);
  if (e.detail) lines.push(e.detail);
  return lines;
}
