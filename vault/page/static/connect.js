// Connecting an account: a dialog for where its token is bound, then one that waits until the user has signed in at the
// provider.
import { h, button, say } from './dom.js';
import { RequestError, call } from './client.js';
import { form, openAfter, show } from './dialog.js';
import { resource, variable } from './field.js';

const pollInterval = 2000; // ms

const attribution = ['scope', 'owner_user_id', 'external_user_id', 'external_workspace_id', 'resource_type', 'resource_id'];

// connect starts a flow at a provider. With a secret, it reconnects that account with the same attribution and binding.
export function connect(m, opener, provider, secret) {
  if (secret) {
    const again = Object.fromEntries(attribution.filter((f) => secret[f]).map((f) => [f, secret[f]]));
    const begin = () => m.attempt(() => start({ ...again, provider: provider.name }));
    return openAfter(opener, begin, (flow) => wait(m, opener, provider, flow));
  }
  const binds = m.may('bindings:write');
  const [kind, id] = resource({ known: m.resources });
  const env = variable({ needed: () => id.read() !== '' && 'Variable is needed to bind it.' });
  id.fault = () => (id.read() === '' && env.read() !== '' ? 'Id is needed for the variable.' : '');
  let flow;
  return form({
    title: `Connect ${provider.display_name}`, submit: 'Continue', opener,
    fields: binds ? [kind, id, env] : [],
    body: [
      h('p', {}, `You will sign in at ${provider.display_name} in a new tab. The vault stores the token and renews it.`),
      binds && h('fieldset', {}, h('legend', {}, 'Bind its token', h('span', { class: 'optional' }, ' optional')),
        h('div', { class: 'beside which-one' }, kind.node, id.node), env.node)],
    async run(values) {
      if (!values.resource_id) delete values.resource_type;
      flow = await start({ ...values, provider: provider.name });
      return '';
    },
    after: () => {},
    then: () => wait(m, opener, provider, flow),
  });
}

async function start(body) {
  const flow = await call('POST', 'oauth/start', { body });
  const { protocol, hostname } = new URL(flow.authorize_url);
  if (protocol === 'https:' || (protocol === 'http:' && /^(localhost|127\.|\[::1\])/.test(hostname))) return flow;
  throw new RequestError(0, 'The vault returned a sign-in address that is not safe to open.');
}

// wait shows the link, polls the flow's status, and shows the result.
function wait(m, opener, provider, flow) {
  let timer;
  let over = false;
  const progress = h('p', { role: 'status' }, 'Waiting for you to sign in.');
  const link = h('a', { class: 'button primary', href: flow.authorize_url, target: '_blank', rel: 'noopener noreferrer' },
    `Sign in at ${provider.display_name}`, h('span', { class: 'unseen' }, ' in a new tab'));
  const dismiss = button('Cancel', () => close());
  const close = show(`Connect ${provider.display_name}`, h('div', { class: 'wait' },
    h('p', {}, `Sign in at ${provider.display_name} in the tab that opens, then return to this page.`), progress, h('div', { class: 'buttons' }, dismiss, link)), { opener, ended: () => { over = true; clearTimeout(timer); } });
  link.focus();

  const end = async (words, good) => {
    over = true;
    await m.refresh();
    progress.textContent = words;
    progress.className = good ? '' : 'error';
    link.remove();
    dismiss.textContent = 'Close';
    dismiss.focus();
    if (!progress.isConnected) say(words); // the dialog has been closed
  };
  const poll = async () => {
    let now;
    try {
      now = await call('GET', 'oauth/status', { query: { state: flow.state } });
    } catch (error) {
      if (error.status === 404) return end(error.message, false);
      now = { status: 'pending' }; // the vault may be back at the next poll
    }
    if (over) return;
    if (now.status === 'pending') timer = setTimeout(poll, pollInterval);
    else await end(...outcome(provider, now));
  };
  timer = setTimeout(poll, pollInterval);
}

function outcome(provider, now) {
  const who = provider.display_name;
  switch (now.status) {
    case 'completed': return [`${who} is connected.`, true];
    case 'denied': return [now.message || `Access was declined at ${who}. Nothing was connected.`, false];
  }
  if (now.error === 'expired') return [`The time to sign in has run out. Start again to connect ${who}.`, false];
  return [now.message || `${who} could not be connected${now.error ? `: ${now.error}` : ''}.`, false];
}
