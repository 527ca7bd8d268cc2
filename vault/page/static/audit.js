// The view of the audit log: who changed and received what, newest first.
import { RequestError, call } from './client.js';
import { allEvents, command } from './command.js';
import { show } from './dialog.js';
import { h, button, say, state, table } from './dom.js';
import { more, select } from './list.js';
import { Log, maxEvents, verify } from './log.js';
import { denial, heading, small } from './secrets.js';
import { kinds, place, plural, when } from './words.js';

export const title = 'Audit';

const followInterval = 3000; // ms

const actions = [
  'reveal', 'broker.reveal', 'secret.create', 'secret.replace', 'secret.rotate', 'secret.rule', 'secret.delete', 'binding.create', 'binding.delete', 'binding.rule', 'binding.move',
  'traffic.allow', 'traffic.deny', 'traffic.pending', 'policy.create', 'policy.update', 'policy.delete', 'allowlist.create', 'allowlist.delete',
  'key.create', 'key.replace', 'key.revoke', 'key.refused', 'oauth.start', 'oauth.callback', 'oauth.refresh',
  'keys.rotate', 'keys.retire', 'keys.delete', 'root.rotate', 'audit.prune', 'audit.altered', 'row.refused',
  'secret.read', 'binding.list', 'audit.read', 'key.read', 'oauth.read', 'network.read', 'traffic', // denied attempts
];

export function view(m) {
  if (m.denied.has('audit')) return [heading('Audit', null), denial(m, 'audit')];
  const log = m.log ??= new Log();
  const count = h('p', { class: 'lead' });
  const body = h('div');
  const load = () => m.attempt(async () => {
    log.about = about.value.trim();
    await log.load({ action: action.value, resource_type: kind.value, ...concerns(m, log.about) });
    fill();
  });
  const action = select('Action', [['', 'All actions'], ...actions.map((a) => [a, a])], load);
  const kind = select('Kind', [['', 'All resources'], ...Object.entries(kinds)], load);
  const words = 'Resource, secret or key';
  const about = h('input', { type: 'search', onchange: load, 'aria-label': words, placeholder: words, autocomplete: 'off', spellcheck: 'false', 'data-key': 'about' });
  [action.value, kind.value, about.value] = [log.filter.action || '', log.filter.resource_type || '', log.about];
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
    const change = !document.hidden && await m.attempt(() => log.loadNewer());
    if (change) {
      fill();
      say(`${change.again ? 'Again' : 'New event'}: ${describe(change.event)}.`);
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
  const all = !m.own.scopes && !m.own.resources; // others see a part of the log, which can't be verified alone
  const check = all && button('Verify', (e) => verifyLog(e.currentTarget), { key: 'verify', about: 'the log', kind: 'secondary' });
  return [heading('Audit', count, check, follow),
    h('div', { class: 'list-tools' }, h('div', { class: 'choices' }, action.parentNode, kind.parentNode, about)), body];
}

// concerns returns the filter for the events about a resource, secret or key, by id or name.
function concerns(m, text) {
  if (text.startsWith('key_')) return { key_id: text };
  if (text.startsWith('sec_')) return { secret_id: text };
  const [secret] = m.secrets.filter((s) => s.name === text);
  const [key] = m.keys.filter((k) => k.label === text);
  if (!m.resources.some((r) => r.resource_id === text)) {
    if (secret) return { secret_id: secret.id };
    if (key && text) return { key_id: key.id };
  }
  return { resource_id: text };
}

// verifyLog opens a dialog that verifies the log, and shows its newest event's number and hash.
async function verifyLog(opener) {
  let open = true;
  const progress = h('div', { role: 'status' }, 'Verifying.');
  const close = show('Verify the audit log', h('div', { class: 'more' },
    h('p', {}, 'The vault checks that no event was changed, inserted or removed outside of it.'), progress,
    h('div', { class: 'buttons' }, button('Close', () => close(), { kind: 'primary' }))), { opener, ended() { open = false; } });
  const counted = (n) => { progress.textContent = `${plural(n, 'event')} verified so far.`; };
  let nodes;
  try {
    const { problem, checked } = await verify((n) => { counted(n); return open; });
    const { data: head } = await call('GET', 'audit/head');
    nodes = problem ? [state('bad', problem.message), problem.event_id && h('p', {}, 'Event ', h('code', {}, problem.event_id))]
      : [h('p', {}, state('good', `${plural(checked, 'event')} verified: the log is unchanged.`)),
        h('p', {}, `Its newest event is number ${head.seq}, with this hash. Store both elsewhere, to detect later that an older copy took the place of the log:`),
        command(head.hash)];
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    nodes = [h('p', { class: 'error' }, error.message)];
  }
  progress.replaceChildren(...nodes.filter(Boolean));
}

export const refresh = async (m) => m.log?.load(m.log.filter);

const describe = (e) => `${e.action}, ${e.outcome}${e.resource_id ? `, ${place(e)}` : ''}`;

const outcomes = { ok: 'good', denied: 'bad', failed: 'stale' };

function rows(m, events) {
  const columns = [
    { label: 'Action' }, { label: 'Outcome', plain: true }, { label: 'What', plain: true }, { label: 'Key', plain: true }, { label: 'From' }, { label: 'Time', plain: true, class: 'early' },
  ];
  const labels = new Map(m.keys.filter((k) => k.label).map((k) => [k.id, k.label]));
  return table('Audit events', columns, events.map((e) => ({ id: e.id, cells: [
    h('code', { class: 'name unbroken' }, e.action),
    state(outcomes[e.outcome] || 'none', e.outcome),
    objects(m, e).map((line) => h('span', { class: 'line' }, line)),
    [labels.has(e.key_id) && h('span', {}, labels.get(e.key_id)), h('code', { class: 'unbroken small' }, e.key_id)],
    [h('span', {}, e.remote_addr || ''), small(e.request_id || '')],
    [h('span', {}, when(e.timestamp)), e.count > 1 && small(`${e.count} times, last `, when(e.last_at))],
  ] })));
}

// objects returns a line for each thing that an event is about.
function objects(m, e) {
  const secret = (id) => m.secret(id)?.name || id;
  const key = (id) => m.keys.find((k) => k.id === id)?.label || id;
  const version = (v) => (v ? ` v${v}` : '');
  const lines = [];
  if (e.resource_id) lines.push(place(e));
  if (e.secret_id) lines.push(`${secret(e.secret_id)}${version(e.version)}`);
  if (e.bindings?.length) lines.push(e.bindings.map((b) => `${secret(b.secret_id || b.id)}${version(b.version)}`).join(', '));
  if (e.target_key_id) lines.push(`key ${key(e.target_key_id)}`);
  if (e.detail) lines.push(key(secret(e.detail)));
  return lines;
}
