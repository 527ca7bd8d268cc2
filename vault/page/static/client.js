// The client of the API. Only this module has the key, in a variable that it does not export.
let key = '';
let ended = null;

// RequestError is an error response, or status 0 for none. retryAfter is in seconds.
export class RequestError extends Error {
  constructor(status, message, retryAfter = 1) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

// use sets the key of the following calls, and forget removes it. whenEnded sets a function that is called when the vault
// rejects the key during a session.
export function use(text) { key = text; }
export function whenEnded(fn) { ended = fn; }
export function forget() { key = ''; ended = null; }
export const known = () => key !== '';

// call makes one API call and returns the body of the response. It omits empty fields of query. Throws RequestError.
export async function call(method, path, { query = {}, body } = {}) {
  const fields = Object.entries(query).filter(([, value]) => value !== '' && value != null);
  const search = fields.length ? `?${new URLSearchParams(fields)}` : '';
  const used = key;
  let response;
  let content;
  try {
    response = await fetch(`api/v1/egress/${path}${search}`, {
      method,
      headers: { Authorization: `Bearer ${used}`, ...(body && { 'Content-Type': 'application/json' }) },
      body: body && JSON.stringify(body),
      cache: 'no-store', credentials: 'omit', redirect: 'error', referrerPolicy: 'no-referrer',
      signal: AbortSignal.timeout(30_000),
    });
    content = await response.json();
  } catch {
    if (!response || response.ok) {
      throw new RequestError(0, 'The vault does not respond. Check that it is running and that the network works, then try again.');
    }
    content = {};
  }
  if (used !== key) throw new RequestError(0, 'You have signed out.');
  if (response.status === 401) ended?.();
  if (!response.ok) throw new RequestError(response.status, sentence(response, content), content.retry_after);
  return content;
}

// sentence returns the text for an error response: the API's message if it is about the request.
function sentence(response, content) {
  switch (response.status) {
    case 401: return 'This key is unknown, revoked or expired.';
    case 413: return 'The request is too large.';
    case 500: return `Internal error in the vault. If it happens again, report this id to the vault’s operator: ${content.request_id}`;
  }
  const message = [content.error?.message, content.error, content.message].find((s) => typeof s === 'string' && s)
    || `The vault responded with status ${response.status}.`;
  const wait = response.status === 429 ? `: try again in ${content.retry_after || 1} s` : '';
  return message.charAt(0).toUpperCase() + message.slice(1) + wait + (/[.!?]$/.test(message) && !wait ? '' : '.');
}

// all returns the items of a list from all of its pages, and stops after a page once there are max.
export async function all(path, name, query = {}, max = Infinity) {
  const items = [];
  for (let cursor = ''; ;) {
    const page = await call('GET', path, { query: { ...query, cursor } });
    items.push(...page[name]);
    cursor = page.next_cursor;
    if (!cursor || items.length >= max) return items;
  }
}

// patiently calls fn, and waits and calls it again, up to five times, when the vault's rate limit is reached.
export async function patiently(fn) {
  for (let attempts = 1; ; attempts++) {
    try {
      return await fn();
    } catch (error) {
      if (error.status !== 429 || attempts > 5) throw error;
      await new Promise((resume) => { setTimeout(resume, error.retryAfter * 1000); });
    }
  }
}

// forEach calls fn patiently for each item in turn. The message of an error begins with the number of items done.
export async function forEach(items, fn) {
  for (const [done, item] of items.entries()) {
    try {
      await patiently(() => fn(item));
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      throw new RequestError(error.status, `${done} of ${items.length} done. ${error.message}`);
    }
  }
}
