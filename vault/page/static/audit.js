// The view of the audit log: who changed and received what, newest first.
import { h, button, command, say, state, table } from './dom.js';
import { call } from './client.js';
import { select } from './list.js';
import { heading, small } from './secrets.js';
import { kinds, place, plural, when } from './words.js';

export const title = 'Audit';

const pageSize = 100;
const maxEvents = 2000; // kept in the page
const followInterval = 3000; // ms

const actions = [
  'reveal', 'secret.create', 'secret.replace', 'secret.rotate', 'secret.delete', 'binding.create', 'binding.delete',
  'key.create', 'key.revoke', 'oauth.start', 'oauth.callback', 'oauth.refresh', 'keys.rotate', 'keys.retire', 'root.rotate',
  'secret.read', 'binding.list', 'audit.read', 'key.read', 'oauth.read',
];

// Log is what the page has of the log. It outlives the renderings of the view.
export class Log {
  filter = {}; // of the API
  events = null; // newest first; null: not requested
  cursor = ''; // for older events
  follows = false;
  #requests = 0;

  // load requests the newest events that match the filter.
  async load(filter) {
    const request = ++this.#requests;
    this.filter = filter;
    const { events, next_cursor } = await call('GET', 'audit', { query: { ...filter, limit: pageSize } });
    if (request === this.#requests) Object.assign(this, { events, cursor: next_cursor || '' });
  }

  async loadOlder() {
    const request = this.#requests;
    const { events, next_cursor } = await call('GET', 'audit', { query: { ...this.filter, limit: pageSize, cursor: this.cursor } });
    if (request === this.#requests) Object.assign(this, { events: this.events.concat(events), cursor: next_cursor || '' });
  }

  // loadNewer requests the events since the newest one, and returns whether there are any.
  async loadNewer() {
    const request = this.#requests;
    const since = this.events?.[0]?.timestamp; // none before the first response
    if (!since) {
      await this.load(this.filter);
      return this.events?.length > 0;
    }
    const known = new Set(this.events.map((e) => e.id));
    let fresh = [];
    for (let cursor = ''; ;) { // oldest first, with since
      const page = await call('GET', 'audit', { query: { ...this.filter, since, limit: 1000, cursor } });
      fresh.push(...page.events);
      cursor = page.next_cursor;
      if (!cursor) break;
    }
    fresh = fresh.filter((e) => !known.has(e.id)).reverse();
    if (request !== this.#requests || fresh.length === 0) return false;
    this.events = [...fresh, ...this.events].slice(0, maxEvents);
    return true;
  }
}

export function view(m) {
  const { log } = m;
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
      body.append(button('Show older events', () => m.attempt(async () => { await log.loadOlder(); fill(); }), { key: 'older', kind: 'secondary' }));
    }
    if (events.length >= maxEvents) {
      body.append(h('p', { class: 'plain' }, `The page shows at most ${maxEvents} events. The command line shows all of them:`), command('miosa-env audit'));
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
  else load();
  if (log.follows) setTimeout(poll);
  return [heading('Audit', count, follow),
    h('div', { class: 'list-tools' }, h('div', { class: 'choices' }, action.parentNode, kind.parentNode, id)), body];
}

const describe = (e) => `${e.action}, ${e.outcome}${e.resource_id ? `, ${place(e)}` : ''}`;

const outcomes = { ok: 'good', denied: 'bad', failed: 'stale' };

function rows(m, events) {
  const columns = [{ label: 'Action' }, { label: 'Outcome' }, { label: 'What' }, { label: 'Key' }, { label: 'From' }, { label: 'Time' }];
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
