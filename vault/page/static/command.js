// Command lines that the reader can paste. They name this vault, and expect keys in variables or files.
import { h, button, say } from './dom.js';
import { here } from './words.js';

const flag = () => `--base-url ${here('api/v1')}`;
const keyFile = (k) => `${k.resource_id || 'tenant'}.key`;

// The tenant key is in MIOSA_TENANT_KEY.
export const allEvents = () => `miosa-env audit ${flag()} --limit 0`;
export const newKey = (r) => `miosa-env keys create ${r.resource_type}:${r.resource_id} ${flag()} --out ${keyFile(r)}`;

// storeKey reads a key from the terminal. run starts a shell with a resource key, and useTenantKey sets miosa-env's variables.
export const storeKey = (k) => `(umask 077; head -n 1 > ${keyFile(k)})`;
export const useTenantKey = (k) => `export MIOSA_BASE_URL=${here('api/v1')} MIOSA_TENANT_KEY="$(cat ${keyFile(k)})"`;
export const run = (r) => `miosa-env run ${flag()} --${r.resource_type} ${r.resource_id} --key-file ${keyFile(r)} -- sh`;

// command returns a command line with a button to copy it.
export function command(text) {
  const copy = navigator.clipboard && button('Copy', async () => {
    try {
      await navigator.clipboard.writeText(text);
      say('Copied.');
    } catch {
      say('The browser does not allow copying: select the line instead.');
    }
  }, { about: text });
  // So that a line breaks between words only, not after a hyphen.
  const words = text.split(' ').flatMap((word, i) => [i > 0 && ' ', h('span', {}, word)]);
  return h('div', { class: 'command' }, h('code', {}, words), copy || null);
}
