// Names and times in words.
import { h } from './dom.js';

export const plural = (n, one, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;

const steps = [['min', 60], ['hour', 3600], ['day', 86400]];

function distance(seconds) {
  if (seconds < 60) return '';
  const [unit, size] = steps.findLast(([, s]) => seconds >= s);
  const n = Math.floor(seconds / size);
  return unit === 'min' ? `${n} min` : plural(n, unit);
}

const exact = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });
const date = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium' });

export const day = 86_400_000; // ms

function relative(moment) {
  const seconds = (Date.now() - moment) / 1000;
  const far = distance(Math.abs(seconds));
  if (Math.abs(seconds) > 30 * 86400) return date.format(moment);
  if (!far) return seconds >= 0 ? 'just now' : 'in a moment';
  return seconds > 0 ? `${far} ago` : `in ${far}`;
}

// when returns an element with a time relative to now. updateTimes updates all of them.
export function when(text) {
  const moment = new Date(text);
  return h('time', { datetime: text, title: exact.format(moment) }, relative(moment));
}

export function updateTimes() {
  for (const time of document.querySelectorAll('time')) {
    time.textContent = relative(new Date(time.getAttribute('datetime')));
  }
}

// expired reports whether a secret or key has expired, valid whether a key can be used.
export const expired = ({ expires_at }) => Boolean(expires_at) && new Date(expires_at) <= Date.now();
export const valid = (key) => !key.revoked_at && !expired(key);

export const types = {
  api_key: 'API key', env_var: 'Variable', bearer: 'Bearer token', basic: 'Basic login', oauth_token: 'OAuth token',
  generic: 'Generic', oauth_connect: 'Connected account', oauth_machine: 'OAuth client',
};

export const kinds = { sandbox: 'Sandbox', computer: 'Computer' };

// scopes are the kinds of owners of a secret. field is the API's field with the owner's id.
export const scopes = {
  user: { label: 'A user', field: 'owner_user_id', id: 'User id' },
  workspace: { label: 'A workspace', field: 'workspace_id', id: 'Workspace id' },
  tenant: { label: 'The whole tenant' },
  external_user: { label: 'A user of your own', field: 'external_user_id', id: 'Your user id' },
  external_workspace: { label: 'A workspace of your own', field: 'external_workspace_id', id: 'Your workspace id' },
};

const owners = {
  workspace_id: 'workspace', owner_user_id: 'user', external_user_id: 'your user', external_workspace_id: 'your workspace',
};

// permissions are those of a tenant key.
export const permissions = [
  ['secrets:read', 'list secrets'], ['secrets:write', 'set, rotate and delete secrets'], ['bindings:write', 'bind and unbind'],
  ['keys:write', 'create and revoke keys'], ['network:write', 'set network policies'], ['audit:read', 'read the audit log'],
  ['oauth', 'connect accounts'],
];

// keyName returns a key's name in a sentence.
export const keyName = (k) => k.label || (k.resource_id ? `of ${place(k)}` : k.id);

// owner returns a secret's scope, and its attribution in words, the owner's id first.
export function owner(secret) {
  const own = scopes[secret.scope]?.field;
  const named = Object.keys(owners).filter((f) => secret[f]).sort((a, b) => (b === own) - (a === own))
    .map((f) => (f === own ? secret[f] : `${owners[f]} ${secret[f]}`));
  if (secret.resource_id) named.push(place(secret));
  return { scope: secret.scope.replaceAll('_', ' '), named };
}

// place returns a resource's name in a sentence.
export const place = (r) => `${r.resource_type} ${r.resource_id}`;

// here returns the full URL of a path on this vault.
export const here = (path) => new URL(path, document.baseURI).href;
