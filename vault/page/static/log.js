// The audit events that the page has requested.
import { call, patiently } from './client.js';

const pageSize = 100;
export const maxEvents = 2000; // kept in the page

// Log is what the page has of the log. It outlives the renderings of the view.
export class Log {
  filter = {}; // of the API
  about = ''; // a resource, secret or key, as it was entered
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

  // loadNewer requests the events since the newest one, and counts of events that have happened again. It returns the newest
  // change, {event, again}, or null.
  async loadNewer() {
    const request = this.#requests;
    const known = new Map(this.events?.map((e) => [e.id, e]));
    const fresh = [];
    let cursor = '';
    do {
      const page = await call('GET', 'audit', { query: { ...this.filter, limit: pageSize, cursor } });
      fresh.push(...page.events);
      cursor = page.next_cursor || '';
      if (page.events.some((e) => known.has(e.id))) break;
    } while (cursor && known.size > 0 && fresh.length < maxEvents);
    if (request !== this.#requests) return null;
    const event = fresh.find((e) => known.get(e.id)?.count !== e.count || !known.has(e.id));
    const overlaps = !cursor || fresh.some((e) => known.has(e.id));
    const got = new Set(fresh.map((e) => e.id));
    const older = overlaps && this.events ? this.events.filter((e) => !got.has(e.id)) : [];
    if (older.length === 0) this.cursor = cursor;
    this.events = [...fresh, ...older].slice(0, maxEvents);
    return event ? { event, again: known.has(event.id) } : null;
  }
}

// verify verifies the whole log and returns {problem, checked}. It calls progress with the number of events checked, and stops if
// that returns false.
export async function verify(progress) {
  let checked = 0;
  let cursor = '';
  do {
    const part = await patiently(() => call('GET', 'audit/verify', { query: { limit: 5000, cursor } }));
    checked += part.data.checked;
    cursor = part.next_cursor || '';
    if (part.data.problem) return { problem: part.data.problem, checked };
  } while (cursor && progress(checked));
  return { problem: null, checked };
}
