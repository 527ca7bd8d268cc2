// The API's client. The key stands in this module alone, in a variable that nothing hands out.
let key = '';
let ended = null;

// Refusal is an answer that isn't what was hoped for. status 0: there was none.
export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// use takes a key for the calls that follow; forget wipes it. once is called when the vault has ended
// that key in the middle of a session.
export function use(text) { key = text; }
export function whenEnded(once) { ended = once; }
export function forget() { key = ''; ended = null; }
export const known = () => key !== '';

// call makes one call of the API and gives the answer's body. query's empty fields are left out.
// Throws a Refusal.
export async function call(method, path, { query = {}, body } = {}) {
  const fields = Object.entries(query).filter(([, value]) => value !== '' && value != null);
  const search = fields.length ? `?${new URLSearchParams(fields)}` : '';
  const used = key;
  let answer;
  let content;
  try {
    answer = await fetch(`api/v1/egress/${path}${search}`, {
      method,
      headers: { Authorization: `Bearer ${used}`, ...(body && { 'Content-Type': 'application/json' }) },
      body: body && JSON.stringify(body),
      cache: 'no-store', credentials: 'omit', redirect: 'error', referrerPolicy: 'no-referrer',
      signal: AbortSignal.timeout(30_000),
    });
    content = await answer.json();
  } catch {
    if (!answer || answer.ok) {
      throw new Refusal(0, 'The vault does not answer. Is it running, and is the network up? Nothing is lost: try again.');
    }
    content = {};
  }
  if (used !== key) throw new Refusal(0, 'You signed out meanwhile.');
  if (answer.status === 401) ended?.();
  if (!answer.ok) throw new Refusal(answer.status, sentence(answer, content));
  return content;
}

// sentence says a refusal in plain words: the API's own where they are about what was asked.
function sentence(answer, content) {
  switch (answer.status) {
    case 401: return 'This key is unknown, or it was revoked or has expired.';
    case 403: return 'This key may not do that.';
    case 413: return 'That is more than the vault takes at once.';
    case 429: return `Too many requests at once: try again in ${content.retry_after || 1} s.`;
    case 500: return `Something went wrong in the vault. If it happens again, tell the vault’s operator: ${content.request_id}`;
  }
  const said = [content.error?.message, content.error, content.message].find((s) => typeof s === 'string' && s)
    || `The vault answered ${answer.status}.`;
  return said.charAt(0).toUpperCase() + said.slice(1) + (/[.!?]$/.test(said) ? '' : '.');
}

// all gives every item of a list, page by page, up to most.
export async function all(path, name, query = {}, most = Infinity) {
  const items = [];
  for (let cursor = ''; ;) {
    const page = await call('GET', path, { query: { ...query, cursor } });
    items.push(...page[name]);
    cursor = page.next_cursor;
    if (!cursor || items.length >= most) return items;
  }
}
