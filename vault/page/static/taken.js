// What each sandbox and computer last took from the vault, as the audit tells it.
import { all, call } from './client.js';

const page = 200;

// Last is, for each resource ("sandbox sb_1"), its last reveal and its last refused one, where there
// are such: audit events, or null.
let last = new Map();
let seen = ''; // the id of the newest event that is in last

export function forgetTaken() {
  last = new Map();
  seen = '';
}

const name = (r) => `${r.resource_type} ${r.resource_id}`;

// A reveal that found nothing new leaves no event, so the newest event of a resource says what it has.
function note(map, events) {
  for (const event of events) { // newest first
    const known = map.get(name(event)) || { ok: null, denied: null };
    known[event.outcome === 'ok' ? 'ok' : 'denied'] ??= event;
    map.set(name(event), known);
  }
}

// taken gives that map for resources. It asks for the newest reveals of all at once, and then for
// those one by one that aren't among them and were never asked for.
export async function taken(resources) {
  const answer = await call('GET', 'audit', { query: { action: 'reveal', limit: page } });
  const fresh = new Map();
  note(fresh, answer.events);
  const whole = !answer.next_cursor;
  const joins = whole || answer.events.some((event) => event.id === seen);
  const now = new Map();
  const ask = [];
  for (const resource of resources) {
    const it = name(resource);
    const [newer, older] = [fresh.get(it), joins ? last.get(it) : null];
    if (newer?.ok || older || whole) {
      now.set(it, { ok: newer?.ok || older?.ok || null, denied: newer?.denied || older?.denied || null });
    } else {
      ask.push(resource);
    }
  }
  const workers = Array.from({ length: 4 }, async () => {
    for (let resource; (resource = ask.pop());) {
      const { resource_type, resource_id } = resource;
      const one = new Map([[name(resource), { ok: null, denied: null }]]);
      note(one, await all('audit', 'events', { action: 'reveal', resource_type, resource_id, limit: 20 }, 100));
      now.set(name(resource), one.get(name(resource)));
    }
  });
  await Promise.all(workers);
  last = now;
  seen = answer.events[0]?.id || '';
  return now;
}

// standing compares a binding with what its resource took: {word, kind, version}. word is one of
// current, stale, untaken, expired and placeholder; version is the one taken, null where none was.
export function standing(binding, secret, took) {
  const ref = took?.ok?.bindings?.find((b) => b.id === binding.id);
  const version = ref?.version ?? null;
  if (secret && secret.expires_at && new Date(secret.expires_at) <= Date.now()) return { word: 'expired', kind: 'bad', version };
  if (version === null) return { word: 'untaken', kind: 'none', version };
  if (binding.delivery === 'placeholder') return { word: 'placeholder', kind: 'good', version };
  return version < binding.version ? { word: 'stale', kind: 'stale', version } : { word: 'current', kind: 'good', version };
}

// leftovers are the things a resource took that are no longer bound to it.
export function leftovers(bindings, took) {
  const bound = new Set(bindings.map((b) => b.id));
  return (took?.ok?.bindings || []).filter((ref) => !bound.has(ref.id));
}
