// Signing in. The key is only passed from the field to the client.
import { h } from './dom.js';
import { RequestError, call, forget, use } from './client.js';
import { value } from './field.js';

export const title = 'Sign in';

const resourceKey = 'This is a resource key, for the agent of one sandbox or computer. Sign in with a tenant key, which begins with msk_u_.';

// view returns the form for the key. entered gets the key's description. why is the reason for which the last session ended, if any.
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
      : /^msk_[a-z]{1,8}_[A-Za-z0-9_-]{16,512}$/.test(given) ? '' : 'This is not a key: a tenant key begins with msk_u_ and has no spaces.';
    if (fault) return showError(fault);
    busy = true;
    use(given);
    try {
      await entered((await call('GET', 'keys/self')).data);
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      forget();
      return showError(error.message);
    } finally {
      busy = false;
    }
  };
  const showError = (sentence) => {
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
    h('p', { class: 'small' }, 'The key is kept in the memory of this page only. It is gone when you sign out, reload or leave.'),
    h('details', {}, h('summary', {}, 'Where do I get a key?'),
      h('p', { class: 'small' }, 'The vault’s operator creates one for your tenant on the vault’s machine, with ', h('code', {}, 'miosa-vault keys create'),
        '. ', h('code', {}, 'miosa-vault dev'), ' prints one when it starts.')))];
}
