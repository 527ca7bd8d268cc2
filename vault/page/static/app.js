// The page: signing in and out, the current view, and refreshing it.
import { button, focusOn, h, say } from './dom.js';
import { RequestError, forget, known, whenEnded } from './client.js';
import { closeAll, isOpen } from './dialog.js';
import { Model } from './model.js';
import { forgetTaken } from './taken.js';
import { updateTimes } from './words.js';
import * as signin from './signin.js';
import * as secrets from './secrets.js';

const refreshInterval = 15_000; // ms, while the page is visible
// views are loaded when they are first shown. Each exports title and view(m), and refresh(m) if its data isn't in the model.
const views = {
  '#secrets': async () => secrets,
  '#resources': () => import('./resources.js'),
  '#connections': () => import('./connections.js'),
  '#keys': () => import('./keys.js'),
  '#network': () => import('./network.js'),
  '#audit': () => import('./audit.js'),
};
const main = document.getElementById('main');
const top = document.querySelector('.top');
const fresh = document.getElementById('fresh');
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'short' });

let model = null; // null before sign-in
let shown = { hash: '#secrets', view: secrets };

// open loads the view that the address names, and applies the search of a link such as #resources?find=sec_1 to its list.
// It returns false if another view was chosen, or the user signed out, meanwhile.
async function open() {
  const address = location.hash;
  const [named, query] = address.split('?');
  const hash = views[named] ? named : '#secrets';
  const view = await views[hash]().catch(() => notLoadable(hash));
  if (!model || address !== location.hash) return false;
  shown = { hash, view };
  const find = new URLSearchParams(query).get('find');
  if (find) Object.assign(model.list(hash), { search: find, filter: '', limit: 0 });
  return true;
}

async function go() {
  if (!await open()) return;
  render();
  window.scrollTo(0, 0);
  focusOn();
}

// notLoadable replaces a view whose script could not be loaded.
function notLoadable(hash) {
  const title = hash.charAt(1).toUpperCase() + hash.slice(2);
  const lead = h('p', { class: 'lead' }, 'This view could not be loaded. Check that the vault is running and that the network works.');
  return { title, view: () => [secrets.heading(title, lead, button('Try again', go, { kind: 'secondary' }))] };
}

function render() {
  const focused = document.activeElement?.closest('main [data-key]')?.dataset.key;
  document.title = `${shown.view.title} · miosa-vault`;
  for (const link of top.querySelectorAll('nav a')) {
    if (link.hash === shown.hash) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  const nodes = model.at ? shown.view.view(model) : notLoaded();
  main.replaceChildren(...nodes.flat(Infinity).filter(Boolean));
  top.hidden = document.querySelector('.skip').hidden = false;
  if (focused && !isOpen()) focusOn(focused);
}

// notLoaded replaces a view until the first response of the vault, because an empty list would be wrong.
const notLoaded = () => [secrets.heading(shown.view.title, h('p', { class: 'lead' }, 'The vault has not responded yet. Refresh tries again.'))];

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

async function enter(own) {
  model = Object.assign(new Model(), { own, refresh, attempt });
  whenEnded(() => leave('The key is no longer valid: it was revoked or has expired.'));
  await open();
  if (model) await refresh();
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
  closeAll();
  for (const dialog of document.querySelectorAll('dialog')) dialog.remove();
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
  if (model && shown.view.refresh) await attempt(async () => { await shown.view.refresh(model); render(); });
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
  closeAll();
  say('');
  go();
});
// A browser may cache the page of a tab that navigates away and restore it later. Remove the key first.
window.addEventListener('pagehide', () => { if (known()) leave(); });
document.addEventListener('visibilitychange', refreshQuietly);
setInterval(refreshQuietly, refreshInterval);

function refreshQuietly() {
  if (model && !document.hidden && !isOpen()) refresh();
}

leave();
