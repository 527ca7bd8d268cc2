// The audit events that the page has requested.
import { call } from './client.js';

const pageSize = 100;
export const maxEvents = 2000; // kept in the page

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
