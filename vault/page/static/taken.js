// The versions that each sandbox and computer last received, from the audit log.
import { all, call, patiently } from './client.js';
import { expired } from './words.js';

const pageSize = 200;

// last maps each resource ("sandbox sb_1") to the audit events of its last reveal and its last denied reveal, or null.
let last = new Map();
let seen = ''; // the id of the newest event in last

export function forgetTaken() {
  last = new Map();
  seen = '';
}

const name = (r) => `${r.resource_type} ${r.resource_id}`;

// lastTime returns when an event happened last.
export const lastTime = (event) => Date.parse(event.last_at || event.timestamp);

const later = (a, b) => (a && b ? lastTime(a) >= lastTime(b) ? a : b : a || b || null);

// A reveal without changes has no event, so the last event of a resource has the versions it received.
function addEvents(map, events) {
  for (const event of events) {
    const known = map.get(name(event)) || { ok: null, denied: null };
    const outcome = event.outcome === 'ok' ? 'ok' : 'denied';
    known[outcome] = later(known[outcome], event);
    map.set(name(event), known);
  }
}

// taken returns that map. It requests the newest reveals of all resources, then those of each resource that has none among
// them and none in last.
export async function taken(resources) {
  const answer = await call('GET', 'audit', { query: { action: 'reveal', limit: pageSize } });
  const fresh = new Map();
  addEvents(fresh, answer.events);
  const complete = !answer.next_cursor;
  const overlaps = complete || answer.events.some((event) => event.id === seen);
  const now = new Map();
  const ask = [];
  for (const resource of resources) {
    const it = name(resource);
    const [newer, older] = [fresh.get(it), overlaps ? last.get(it) : null];
    if (newer?.ok || older || complete) {
      now.set(it, { ok: later(newer?.ok, older?.ok), denied: later(newer?.denied, older?.denied) });
    } else {
      ask.push(resource);
    }
  }
  const workers = Array.from({ length: 4 }, async () => {
    for (let resource; (resource = ask.pop());) {
      const { resource_type, resource_id } = resource;
      const one = new Map([[name(resource), { ok: null, denied: null }]]);
      addEvents(one, await patiently(() => all('audit', 'events', { action: 'reveal', resource_type, resource_id, limit: 20 }, 100)));
      now.set(name(resource), one.get(name(resource)));
    }
  });
  await Promise.all(workers);
  last = now;
  seen = answer.events[0]?.id || '';
  return now;
}

// standing compares a binding with what its resource received, or null: {word, kind, version}. word is current, stale, untaken,
// expired, placeholder or unknown; version is the version received, or null.
export function standing(binding, secret, took) {
  if (!took) return { word: 'unknown', kind: 'none', version: null };
  const ref = took.ok?.bindings?.find((b) => b.id === binding.id);
  const version = ref?.version ?? null;
  if (secret && expired(secret)) return { word: 'expired', kind: 'bad', version };
  if (version === null) return { word: 'untaken', kind: 'none', version };
  if (binding.delivery === 'placeholder') return { word: 'placeholder', kind: 'good', version };
  return version < binding.version ? { word: 'stale', kind: 'stale', version } : { word: 'current', kind: 'good', version };
}

// leftovers returns the bindings that a resource received and that have been deleted since.
export function leftovers(bindings, took) {
  const bound = new Set(bindings.map((b) => b.id));
  return (took?.ok?.bindings || []).filter((ref) => !bound.has(ref.id));
}
