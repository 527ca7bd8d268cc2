// The tenant's data, from the API.
import { all, call } from './client.js';
import { ListState } from './list.js';
import { standing, taken } from './taken.js';
import { expired, place, valid } from './words.js';

// Model is filled by load. Its lists are the API's own objects.
export class Model {
  secrets = [];
  bindings = [];
  keys = [];
  resources = []; // {resource_type, resource_id, keyed}: those with a binding or a valid key
  providers = null; // null: the vault has no OAuth
  taken = new Map(); // by place, from taken
  log = null; // of the audit view
  at = null; // the time of the last load
  #text = ''; // to detect changes
  #loads = 0;
  #lists = new Map();
  #byID = new Map();
  #byName = new Map();
  #bound = new Map();

  // list returns the state of a view's list.
  list(view) {
    if (!this.#lists.has(view)) this.#lists.set(view, new ListState());
    return this.#lists.get(view);
  }

  // showAdded makes the lists show the row with that id in the next rendering.
  showAdded(id) {
    for (const state of this.#lists.values()) state.added = id;
  }

  secret(id) { return this.#byID.get(id); }
  bound(secret) { return this.#bound.get(secret.id) || []; }

  // stale returns on how many resources a secret has an older version.
  stale(secret) { return this.bound(secret).filter((b) => standing(b, secret, this.taken.get(place(b))).word === 'stale').length; }

  // twins reports whether another secret has the same name.
  twins(secret) { return this.#byName.get(secret.name).length > 1; }

  async #listProviders() {
    if (this.at && !this.providers) return null; // a vault without OAuth
    try {
      return (await call('GET', 'oauth/providers')).providers;
    } catch (error) {
      if (error.status === 404) return null;
      throw error;
    }
  }

  // load requests everything again and returns whether anything has changed. Of concurrent loads, only the result of the
  // last one started is used: the others may have been answered before the latest change.
  async load() {
    const load = ++this.#loads;
    const [secrets, { bindings }, { resource_keys: keys }, providers] = await Promise.all([
      all('secrets', 'secrets', { limit: 500 }), call('GET', 'bindings'), call('GET', 'resource-keys'), this.#listProviders(),
    ]);
    const resources = new Map();
    for (const b of bindings) resources.set(place(b), { resource_type: b.resource_type, resource_id: b.resource_id, keyed: false });
    for (const k of keys) {
      if (!valid(k)) continue;
      resources.set(place(k), { resource_type: k.resource_type, resource_id: k.resource_id, keyed: true });
    }
    const sorted = [...resources.values()].sort((a, b) => place(a).localeCompare(place(b), undefined, { numeric: true }));
    const took = await taken(sorted);
    if (load !== this.#loads) return false;
    secrets.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }) || a.created_at.localeCompare(b.created_at));
    Object.assign(this, { secrets, bindings, keys, resources: sorted, providers, taken: took, at: new Date() });
    this.#byID = new Map(secrets.map((s) => [s.id, s]));
    this.#byName = Map.groupBy(secrets, (s) => s.name);
    this.#bound = Map.groupBy(bindings, (b) => b.secret_id);
    const text = JSON.stringify([secrets, secrets.map(expired), bindings, keys, sorted, providers, [...took]]);
    const changed = text !== this.#text;
    this.#text = text;
    return changed;
  }
}
