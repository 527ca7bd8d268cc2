// Connecting an account: a dialog to say where its token goes, then one that waits for the user to
// have been at the provider.
import { h, button, say } from './dom.js';
import { Refusal, call } from './client.js';
import { form, show } from './dialog.js';
import { resource, variable } from './field.js';

const pause = 2000; // between two looks at how it goes

const kept = ['scope', 'owner_user_id', 'external_user_id', 'external_workspace_id', 'resource_type', 'resource_id'];

// connect begins at provider. With a secret it is connected again: in the same name and place.
export function connect(m, opener, provider, secret) {
  if (secret) {
    const again = Object.fromEntries(kept.filter((f) => secret[f]).map((f) => [f, secret[f]]));
    const begin = () => m.attempt(() => start({ ...again, provider: provider.name }));
    return begin().then((flow) => flow && wait(m, opener, provider, flow));
  }
  const [kind, id] = resource({ known: m.resources });
  const env = variable({ needed: () => id.read() !== '' && 'Variable is needed to bind it.' });
  id.fault = () => (id.read() === '' && env.read() !== '' ? 'Say which one the variable is for.' : '');
  let flow;
  return form({
    title: `Connect ${provider.display_name}`, submit: 'Go on', opener,
    fields: [kind, id, env],
    body: [
      h('p', {}, `You will sign in at ${provider.display_name} in a new tab. The vault keeps the token and renews it.`),
      h('fieldset', {}, h('legend', {}, 'Bind its token', h('span', { class: 'optional' }, ' optional')),
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
  throw new Refusal(0, 'The vault gave an address to sign in at that is not safe to open.');
}

// wait offers the link, looks how it goes every two seconds, and says how it ended.
function wait(m, opener, provider, flow) {
  let timer;
  let over = false;
  const progress = h('p', { role: 'status' }, 'Waiting for you to sign in there.');
  const link = h('a', { class: 'button primary', href: flow.authorize_url, target: '_blank', rel: 'noopener noreferrer' },
    `Sign in at ${provider.display_name}`, h('span', { class: 'unseen' }, ' in a new tab'));
  const dismiss = button('Cancel', () => close());
  const close = show(`Connect ${provider.display_name}`, h('div', { class: 'wait' },
    h('p', {}, `Sign in at ${provider.display_name} in the tab that opens, and come back here.`), progress, h('div', { class: 'buttons' }, dismiss, link)), { opener, ended: () => { over = true; clearTimeout(timer); } });
  link.focus();

  const end = async (words, good) => {
    over = true;
    await m.refresh();
    progress.textContent = words;
    progress.className = good ? '' : 'error';
    link.remove();
    dismiss.textContent = 'Close';
    dismiss.focus();
    if (!progress.isConnected) say(words); // the dialog was closed meanwhile
  };
  const look = async () => {
    let now;
    try {
      now = await call('GET', 'oauth/status', { query: { state: flow.state } });
    } catch (refusal) {
      if (refusal.status === 404) return end(refusal.message, false);
      now = { status: 'pending' }; // the next look may find the vault again
    }
    if (over) return;
    if (now.status === 'pending') timer = setTimeout(look, pause);
    else await end(...outcome(provider, now));
  };
  timer = setTimeout(look, pause);
}

function outcome(provider, now) {
  const who = provider.display_name;
  switch (now.status) {
    case 'completed': return [`${who} is connected.`, true];
    case 'denied': return [now.message || `${who} was told no: nothing was connected.`, false];
  }
  if (now.error === 'expired') return [`The time for it ran out. Begin again to connect ${who}.`, false];
  return [now.message || `${who} could not be connected${now.error ? `: ${now.error}` : ''}.`, false];
}
