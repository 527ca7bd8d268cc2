// The page: signing in and out, the current view, and refreshing it.
import { focusOn, h, say } from './dom.js';
import { RequestError, forget, known, whenEnded } from './client.js';
import { isOpen } from './dialog.js';
import { Model } from './model.js';
import { forgetTaken } from './taken.js';
import { updateTimes } from './words.js';
import * as signin from './signin.js';
import * as secrets from './secrets.js';
import * as resources from './resources.js';
import * as connections from './connections.js';
import * as keys from './keys.js';
import * as audit from './audit.js';

const refreshInterval = 15_000; // ms, while the page is visible
const views = { '#secrets': secrets, '#resources': resources, '#connections': connections, '#keys': keys, '#audit': audit };
const main = document.getElementById('main');
const top = document.querySelector('.top');
const fresh = document.getElementById('fresh');
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'short' });

let model = null; // null before sign-in

const view = () => views[location.hash.split('?')[0]] || secrets;

// search applies the search of a link, such as #resources?find=sec_1, to the list of its view.
function search() {
  const [hash, query] = location.hash.split('?');
  const find = new URLSearchParams(query).get('find');
  if (find && views[hash]) Object.assign(model.list(hash), { search: find, filter: '', limit: 0 });
}

function render() {
  const focused = document.activeElement?.closest('main [data-key]')?.dataset.key;
  document.title = `${view().title} · miosa-vault`;
  for (const link of top.querySelectorAll('nav a')) {
    if (views[link.hash] === view()) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  const nodes = model.at ? view().view(model) : notLoaded();
  main.replaceChildren(...nodes.flat(Infinity).filter(Boolean));
  if (focused && !isOpen()) focusOn(focused);
}

// notLoaded replaces a view until the first response of the vault, because an empty list would be wrong.
const notLoaded = () => [secrets.heading(view().title, h('p', { class: 'lead' }, 'The vault has not responded yet. Refresh tries again.'))];

// refresh reloads the model. It renders the view again only if something has changed, to keep focus, selection and the
// position of a screen reader.
async function refresh(added) {
  const current = model;
  if (added) current.showAdded(added);
  let changed;
  try {
    changed = await current.load();
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    if (current !== model) return;
    showStale(error.message);
    return;
  }
  if (current !== model || !current.at) return;
  fresh.classList.remove('stale');
  fresh.textContent = `As of ${clock.format(current.at)}`;
  if (changed || added) render();
  else updateTimes();
}

function showStale(message) {
  const first = !fresh.classList.contains('stale');
  fresh.classList.add('stale');
  fresh.textContent = model.at ? `Out of date: as of ${clock.format(model.at)}` : 'Out of date';
  if (first) say(message);
}

// attempt runs fn, which calls the vault outside a form. It announces an error and then returns undefined.
async function attempt(fn) {
  try {
    return await fn();
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    if (model) say(error.message);
    return undefined;
  }
}

async function enter() {
  model = Object.assign(new Model(), { refresh, attempt });
  top.hidden = document.querySelector('.skip').hidden = false;
  whenEnded(() => leave('The key is no longer valid: it was revoked or has expired.'));
  search();
  await refresh();
  if (model) {
    if (!model.at) render();
    focusOn();
  }
}

// leave removes the key and everything that was loaded.
function leave(why) {
  forget();
  forgetTaken();
  model = null;
  for (const dialog of document.querySelectorAll('dialog')) {
    dialog.close();
    dialog.remove();
  }
  fresh.textContent = '';
  fresh.classList.remove('stale');
  say('');
  top.hidden = document.querySelector('.skip').hidden = true;
  document.title = `${signin.title} · miosa-vault`;
  main.replaceChildren(...signin.view(enter, why));
  main.querySelector('input').focus();
}

document.getElementById('refresh').addEventListener('click', async () => {
  await refresh();
  if (model && view() === audit) await attempt(() => model.log.load(model.log.filter).then(render));
  if (model && !fresh.classList.contains('stale')) say('The page is up to date.');
});
document.getElementById('sign-out').addEventListener('click', () => leave());
document.getElementById('dismiss').addEventListener('click', () => {
  say('');
  focusOn();
});
document.querySelector('.skip').addEventListener('click', (event) => {
  event.preventDefault();
  focusOn();
});
window.addEventListener('hashchange', () => {
  if (!model) return;
  for (const dialog of document.querySelectorAll('dialog')) dialog.close();
  say('');
  search();
  render();
  window.scrollTo(0, 0);
  focusOn();
});
// A browser may cache the page of a tab that navigates away and restore it later. Remove the key first.
window.addEventListener('pagehide', () => { if (known()) leave(); });
document.addEventListener('visibilitychange', refreshQuietly);
setInterval(refreshQuietly, refreshInterval);

function refreshQuietly() {
  if (model && !document.hidden && !isOpen()) refresh();
}

leave();
