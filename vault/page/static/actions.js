// The dialogs that change secrets and bindings. m is the model.
import { h } from './dom.js';
import { all, call, forEach } from './client.js';
import { form, openAfter } from './dialog.js';
import { choice, delivery, moment, resource, secretChoice, text, value, variable, variableOf } from './field.js';
import { ruleFields } from './egress.js';
import { place, plural, scopes, types } from './words.js';

const path = encodeURIComponent;
const beside = (...fields) => h('div', { class: 'beside' }, fields.map((f) => f.node));
const which = (kind, id) => h('div', { class: 'beside which-one' }, kind.node, id.node);
const optional = () => h('span', { class: 'optional' }, ' optional');

// setSecret stores a secret, and optionally binds it. The field for the resource starts with r.
export function setSecret(m, opener, r) {
  const binds = m.may('bindings:write');
  const type = choice('type', 'Type', Object.entries(types).filter(([t]) => !/^oauth_(connect|machine)$/.test(t)));
  const scope = choice('scope', 'Belongs to', m.allowed(Object.entries(scopes).map(([s, { label }]) => [s, label]), 'scopes'));
  const whose = text('owner_user_id', 'User id', { mono: true });
  const expires = moment('expires_at', 'Expires', { hint: 'It is not delivered after this time. Empty: it never expires.' });
  const named = () => {
    const { field, id } = scopes[scope.read()];
    whose.node.hidden = !field;
    if (field) whose.rename(field, id);
  };
  scope.input.addEventListener('change', named);
  named();
  const [kind, id] = resource({ value: r, known: m.resources });
  const env = variable({
    needed: () => id.read() !== '' && 'Variable is needed to bind it.',
    suggest: () => id.read() !== '' && variableOf(name.read()),
  });
  id.fault = () => (id.read() === '' && binds && env.read() !== '' ? 'Id is needed for the variable.' : '');
  const how = delivery();
  const name = text('name', 'Name', { required: true, hint: 'Setting a name that exists replaces its value.' });
  const secret = value('value', 'Value');
  const rule = ruleFields(null, 'For example api.example.com or *.example.com. Empty: nowhere, or as before.');

  form({
    title: 'Set a secret', submit: 'Set the secret', opener, after: m.refresh,
    fields: [name, secret, kind, id, ...(binds ? [env, how, ...rule.fields] : []), type, scope, whose, expires],
    body: [name.node, secret.node,
      !binds ? h('fieldset', {}, h('legend', {}, 'Of a resource', optional()), which(kind, id)) : h('fieldset', {}, h('legend', {}, 'Bind it', optional()), which(kind, id), beside(env, how)),
      h('details', {}, h('summary', {}, 'Type, owner and expiry'),
        h('div', { class: 'more' }, type.node, beside(scope, whose), expires.node)),
      binds && h('details', {}, h('summary', {}, 'Where a broker may send it'), h('div', { class: 'more' }, rule.nodes))],
    async run(values) {
      const egress = rule.take(values);
      if (egress) values.egress = egress;
      if (!values.resource_id) {
        delete values.resource_type;
        delete values.delivery;
      }
      const { data, binding } = await call('POST', 'secrets', { body: values });
      const done = data.version === 1 ? `${data.name} is set` : `${data.name} has a new value: it is version ${data.version} now`;
      return { message: binding ? `${done}. It is bound to ${place(binding)} as ${binding.expose_as_env}.` : `${done}.`, added: data.id };
    },
  });
}

// rotate replaces a secret's value.
export function rotate(m, opener, secret) {
  const fresh = value('value', 'New value');
  const expiry = choice('expiry', 'Expiry', [['keep', 'unchanged'], ['never', 'never'], ['at', 'at a time']]);
  const at = moment('expires_at', 'Expires', { required: true });
  at.node.hidden = true;
  expiry.input.addEventListener('change', () => { at.node.hidden = expiry.read() !== 'at'; });
  const places = m.bound(secret).length;
  form({
    title: `Rotate ${secret.name}`, submit: 'Rotate', opener, after: m.refresh,
    fields: [fresh, expiry, at],
    body: [h('p', {}, `It becomes version ${secret.version + 1}. `,
      places ? `${plural(places, 'binding')} will receive the new value immediately.` : 'It is not bound yet.'),
    fresh.node, beside(expiry, at)],
    async run({ value: v, expiry: how, expires_at }) {
      const body = { value: v };
      if (how === 'never') body.expires_at = null;
      if (how === 'at') body.expires_at = expires_at;
      const { data } = await call('PATCH', `secrets/${path(secret.id)}`, { body });
      return `${data.name} is rotated: it is version ${data.version} now.`;
    },
  });
}

// rotateAll replaces the values of several secrets.
export function rotateAll(m, opener, secrets) {
  const fields = secrets.map((s, i) => value(`value_${i}`, s.name));
  form({
    title: `Rotate ${plural(secrets.length, 'secret')}`, submit: 'Rotate', opener, after: m.refresh, fields,
    async run(values) {
      await forEach(secrets.map((s, i) => [s, values[`value_${i}`]]), ([s, v]) => call('PATCH', `secrets/${path(s.id)}`, { body: { value: v } }));
      m.list('#secrets').selected.clear();
      return `${plural(secrets.length, 'secret')} ${secrets.length === 1 ? 'is' : 'are'} rotated.`;
    },
  });
}

// bind binds a secret to a resource. It has no field for a secret or resource that is given. If there are no secrets, it sets one.
export function bind(m, opener, { secret, resource: r } = {}) {
  if (m.secrets.length === 0) return setSecret(m, opener, r);
  const chosen = secret ? null : secretChoice(m, 'secret_id', 'Secret');
  const [kind, id] = resource({ value: r, known: m.resources, required: true });
  const suggest = () => variableOf(secret?.name ?? m.secret(chosen.read())?.name ?? '');
  const [env, how] = [variable({ required: true, suggest }), delivery()];
  const rule = ruleFields(null, 'Empty: wherever the secret may be sent.');
  const narrowed = h('details', {}, h('summary', {}, 'Where a broker may send it'), h('div', { class: 'more' }, rule.nodes));
  const chosenHow = () => { narrowed.hidden = how.read() !== 'placeholder'; };
  how.input.addEventListener('change', chosenHow);
  chosenHow();
  return form({
    title: `Bind ${secret?.name ?? 'a secret'}${r ? ` to ${place(r)}` : ''}`, submit: 'Bind', opener, after: m.refresh,
    fields: [chosen, kind, id, env, how, ...rule.fields].filter(Boolean),
    body: [chosen?.node, r ? null : which(kind, id), beside(env, how), narrowed],
    async run(values) {
      const egress = rule.take(values);
      const { data } = await call('POST', 'bindings', {
        body: { ...values, secret_id: secret?.id || values.secret_id, ...(egress && { egress }), ...(r && { resource_type: r.resource_type, resource_id: r.resource_id }) },
      });
      return { message: `${data.secret_name} is bound to ${place(data)} as ${data.expose_as_env}.`, added: data.id };
    },
  });
}

// someOf lists the first bindings.
export function someOf(bindings) {
  const shown = bindings.slice(0, 8);
  return h('ul', {}, shown.map((b) => h('li', {}, h('code', {}, b.expose_as_env), ` on ${place(b)}`)),
    bindings.length > shown.length && h('li', {}, `and ${bindings.length - shown.length} more`));
}

// remove deletes a secret. It first requests its bindings, because the model may be out of date.
export function remove(m, opener, secret) {
  const load = () => m.attempt(() => all('bindings', 'bindings', { secret_id: secret.id }));
  return openAfter(opener, load, (bindings) => form({
    title: `Delete ${secret.name}?`, danger: true, opener, after: m.refresh,
    submit: bindings.length ? `Delete it and ${plural(bindings.length, 'binding')}` : 'Delete',
    body: [
      h('p', {}, bindings.length ? `${plural(bindings.length, 'binding')} will be deleted with it:` : 'It is not bound.'),
      bindings.length ? someOf(bindings) : null,
      h('p', {}, 'Its value cannot be restored.')],
    async run() {
      await call('DELETE', `secrets/${path(secret.id)}`);
      return `${secret.name} is deleted${bindings.length ? `, and ${plural(bindings.length, 'binding')} with it` : ''}.`;
    },
  }));
}
