// Signing in: the key goes from the field into the client's variable, and nowhere else.
import { h, command } from './dom.js';
import { Refusal, call, forget, use } from './client.js';
import { value } from './field.js';

export const title = 'Sign in';

const resourceKey = 'That is a resource key: it is for the agent on one sandbox or computer, and can manage nothing. Sign in with the tenant key, which begins with msk_u_.';

// view asks for a key. why says what ended the session before, where something did.
export function view(entered, why) {
  const key = value('key', 'Tenant key', { single: true });
  let busy = false;
  const submitted = async (event) => {
    event.preventDefault();
    if (busy) return;
    const given = key.read().trim();
    key.wipe();
    key.problem('');
    const fault = given === '' ? 'Tenant key is needed.' : given.startsWith('msk_r_') ? resourceKey
      : /^msk_[a-z]{1,8}_[A-Za-z0-9_-]{16,512}$/.test(given) ? '' : 'That is not a key: a tenant key begins with msk_u_ and has no spaces.';
    if (fault) return refused(fault);
    busy = true;
    use(given);
    try {
      await call('GET', 'secrets', { query: { limit: 1 } });
    } catch (refusal) {
      if (!(refusal instanceof Refusal)) throw refusal;
      forget();
      return refused(refusal.status === 403 ? resourceKey : refusal.message);
    } finally {
      busy = false;
    }
    entered();
  };
  const refused = (sentence) => {
    key.problem(sentence);
    key.input.focus();
  };
  return [h('div', { class: 'sign-in' },
    h('img', { src: 'page/icon.svg', alt: '', width: 44, height: 44 }),
    h('h1', { tabindex: '-1' }, 'miosa-vault'),
    h('p', { class: 'lead' }, 'Secrets for your sandboxes and computers.'),
    why ? h('p', { class: 'why', role: 'alert' }, why) : null,
    h('form', { novalidate: true, autocomplete: 'off', onsubmit: submitted }, key.node,
      h('button', { type: 'submit', class: 'primary wide' }, 'Sign in')),
    h('p', { class: 'small' }, 'The key stays in the memory of this page. It is stored nowhere, and gone when you sign out, reload or leave.'),
    h('details', {}, h('summary', {}, 'Where do I get a key?'),
      h('p', { class: 'small' }, 'Whoever runs the vault makes one for your tenant:'),
      command('miosa-vault keys create --tenant NAME')))];
}
