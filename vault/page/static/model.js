// The tenant's data, from the API.
import { all, call } from './client.js';
import { ListState } from './list.js';
import { standing, taken } from './taken.js';
import { expired, place, valid } from './words.js';

const permissionsFor = {
  secrets: ['secrets:read'], bindings: ['bindings:write', 'secrets:read'], keys: ['keys:write'], providers: ['oauth'], audit: ['audit:read'],
  network: ['network:write'],
};

// Model is filled by load. Its lists are the API's own objects.
export class Model {
  own = null; // the key's description
  secrets = [];
  bindings = [];
  keys = [];
  resources = []; // {resource_type, resource_id, keyed}: those with a binding or a valid key; keyed is null if unknown
  providers = null; // null: the vault has no OAuth
  taken = new Map(); // by place, from taken; null if unknown
  denied = new Map(); // sentences for what the key may not list: secrets, bindings, keys, audit, providers
  log = null; // of the audit view
  network = null; // of the network view
  at = null; // the time of the last load
  #text = ''; // to detect changes
  #loads = 0;
  #lists = new Map();
  #byID = new Map();
  #byName = new Map();
  #bound = new Map();

  // may reports whether the key has one of the permissions. Views leave out what it may not do.
  may(...permissions) { return !this.own.permissions || permissions.some((p) => this.own.permissions.includes(p)); }

  // lacks says that the key may not list something; '': it may.
  lacks(what) { return this.may(...permissionsFor[what]) ? '' : `This key is restricted: it lacks the permission ${permissionsFor[what].join(' or ')}.`; }

  // allowed returns the choices [value, label] whose value is in a list of the key, such as scopes, or all if that restricts nothing.
  allowed(items, list) { return items.filter(([it]) => !this.own[list] || this.own[list].includes(it)); }

  // binds reports whether the key may bind a secret that it may list, or set and bind one.
  get binds() { return this.may('bindings:write') && (this.secrets.length > 0 || this.may('secrets:write')); }

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

  // tookBy returns what a resource received, or null if that is unknown.
  tookBy(r) { return this.taken && (this.taken.get(place(r)) || {}); }

  // stale returns on how many resources a secret has an older version.
  stale(secret) { return this.bound(secret).filter((b) => standing(b, secret, this.tookBy(b)).word === 'stale').length; }

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

  // #permitted returns what list returns, or otherwise if the key has none of the permissions for it.
  async #permitted(what, list, otherwise) {
    const why = this.lacks(what);
    if (!why) return list();
    this.denied.set(what, why);
    return otherwise;
  }

  // load requests everything again and returns whether anything has changed. Of concurrent loads, only the result of the
  // last one started is used: the others may have been answered before the latest change.
  async load() {
    const load = ++this.#loads;
    const [secrets, bindings, keys, providers] = await Promise.all([
      this.#permitted('secrets', () => all('secrets', 'secrets', { limit: 500 }), []),
      this.#permitted('bindings', () => all('bindings', 'bindings'), []),
      this.#permitted('keys', () => all('keys', 'keys'), []),
      this.#permitted('providers', () => this.#listProviders(), []),
    ]);
    const resources = new Map();
    const keyed = this.denied.has('keys') ? null : false;
    for (const b of bindings) resources.set(place(b), { resource_type: b.resource_type, resource_id: b.resource_id, keyed });
    for (const k of keys) {
      if (!k.resource_id || !valid(k)) continue;
      resources.set(place(k), { resource_type: k.resource_type, resource_id: k.resource_id, keyed: true });
    }
    const sorted = [...resources.values()].sort((a, b) => place(a).localeCompare(place(b), undefined, { numeric: true }));
    const took = await this.#permitted('audit', () => taken(sorted), null);
    if (load !== this.#loads) return false;
    secrets.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }) || a.created_at.localeCompare(b.created_at));
    Object.assign(this, { secrets, bindings, keys, resources: sorted, providers, taken: took, at: new Date() });
    this.#byID = new Map(secrets.map((s) => [s.id, s]));
    this.#byName = Map.groupBy(secrets, (s) => s.name);
    this.#bound = Map.groupBy(bindings, (b) => b.secret_id);
    const unused = keys.map((k) => ({ ...k, last_used_at: null })); // which changes all the time
    const text = JSON.stringify([secrets, secrets.map(expired), bindings, unused, sorted, providers, took && [...took]]);
    const changed = text !== this.#text;
    this.#text = text;
    return changed;
  }
}
