// The dialogs that say where a broker may send a secret's value. m is the model.
import { h } from './dom.js';
import { call } from './client.js';
import { form } from './dialog.js';
import { text, words } from './field.js';
import { place } from './words.js';

// ruleFields returns the fields of an egress rule, with hint for its hosts, their nodes, and take, which removes the rule from a
// form's values; it is null without hosts. The alphabet of placeholders stays that of rule.
export function ruleFields(rule, hint) {
  const hosts = words('hosts', 'Hosts', { value: rule?.hosts, hint });
  const ports = words('ports', 'Ports', { value: rule?.ports, hint: 'Empty: 443.' });
  const methods = words('methods', 'Methods', { value: rule?.methods, hint: 'For example GET POST. Empty: all.' });
  const paths = words('paths', 'Paths', { value: rule?.paths, hint: 'For example /repos/**. Empty: all.' });
  const slots = words('slots', 'Slots', { value: rule?.slots, hint: 'For example authorization or query:key. Empty: headers that usually have credentials.' });
  const others = [ports, methods, paths, slots];
  const shape = rule?.shape;
  const prefix = text('prefix', 'Placeholders begin with', { value: shape?.prefix, mono: true, hint: 'For example sk-, for clients that check keys.' });
  const length = text('length', 'Their length', { value: shape?.length ? String(shape.length) : '', hint: 'In characters. Empty: the shortest safe one.' });
  const shaped = () => prefix.read() !== (shape?.prefix || '') || length.read() !== String(shape?.length || '');
  hosts.fault = () => (hosts.read() === '' && (others.some((f) => f.read() !== '') || shaped()) ? 'Hosts are needed.' : '');
  length.fault = () => (/^[0-9]{0,4}$/.test(length.read()) ? '' : 'Their length must be a number.');
  ports.fault = () => (ports.read() !== '' && ports.read().some((p) => !/^[0-9]{1,5}$/.test(p)) ? 'Ports must be numbers.' : '');
  const lists = [hosts, ...others];
  const fields = [...lists, prefix, length];
  return {
    fields,
    nodes: [hosts.node, h('div', { class: 'beside' }, ports.node, methods.node), paths.node, slots.node,
      h('div', { class: 'beside' }, prefix.node, length.node)],
    take(values) {
      const given = lists.filter((f) => f.name in values).map((f) => [f.name, values[f.name]]);
      const shaping = {
        ...(values.prefix && { prefix: values.prefix }), ...(values.length && { length: Number(values.length) }),
        ...(shape?.alphabet && { alphabet: shape.alphabet }),
      };
      for (const f of fields) delete values[f.name];
      if (given.length === 0) return null;
      const taken = { ...Object.fromEntries(given), ...(Object.keys(shaping).length > 0 && { shape: shaping }) };
      if (taken.ports) taken.ports = taken.ports.map(Number);
      return taken;
    },
  };
}

// setRule sets the egress rule of a secret.
export function setRule(m, opener, secret) {
  const { fields, nodes, take } = ruleFields(secret.egress, 'For example api.example.com or *.example.com. Empty: it is sent nowhere.');
  form({
    title: `Where a broker may send ${secret.name}`, submit: 'Set the rule', opener, after: m.refresh, fields,
    body: [h('p', {}, 'Sandboxes that have a placeholder of it can use it there, and nowhere else.'), nodes],
    async run(values) {
      const { data } = await call('PATCH', `secrets/${encodeURIComponent(secret.id)}`, { body: { egress: take(values) } });
      return data.egress ? `A broker may send ${data.name} to ${data.egress.hosts.join(', ')}.` : `A broker sends ${data.name} nowhere.`;
    },
  });
}

// narrowRule sets the egress rule of a binding.
export function narrowRule(m, opener, b) {
  const { fields, nodes, take } = ruleFields(b.egress, 'Empty: wherever the secret may be sent.');
  const whole = m.secret(b.secret_id)?.egress;
  form({
    title: `Where a broker may send ${b.expose_as_env} of ${place(b)}`, submit: 'Set the rule', opener, after: m.refresh, fields,
    body: [h('p', {}, whole ? `The rule of the secret ${b.secret_name} applies too: it may be sent to ${whole.hosts.join(', ')}.`
      : `Only where the rule of the secret ${b.secret_name} allows it too.`), nodes],
    async run(values) {
      const { data } = await call('PATCH', `bindings/${encodeURIComponent(b.id)}`, { body: { egress: take(values) } });
      const what = `${data.expose_as_env} of ${place(data)}`;
      return data.egress ? `A broker may send ${what} only to ${data.egress.hosts.join(', ')}.` : `The rule of the secret applies to ${what}.`;
    },
  });
}
