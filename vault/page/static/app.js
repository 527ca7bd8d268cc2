// The page: signing in and out, which view is shown, and keeping it fresh.
import { focusOn, h, say } from './dom.js';
import { Refusal, forget, known, whenEnded } from './client.js';
import { isOpen } from './dialog.js';
import { Model } from './model.js';
import { forgetTaken } from './taken.js';
import { retell } from './words.js';
import * as signin from './signin.js';
import * as secrets from './secrets.js';
import * as resources from './resources.js';
import * as connections from './connections.js';

const every = 15_000; // between two looks at the vault while the page is seen
const views = { '#secrets': secrets, '#resources': resources, '#connections': connections };
const main = document.getElementById('main');
const top = document.querySelector('.top');
const fresh = document.getElementById('fresh');
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'short' });

let model = null; // null: nobody is signed in

const view = () => views[location.hash] || secrets;

function render() {
  const focused = document.activeElement?.closest('main [data-key]')?.dataset.key;
  document.title = `${view().title} · miosa-vault`;
  for (const link of top.querySelectorAll('nav a')) {
    if (views[link.hash] === view()) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  const nodes = model.at ? view().view(model) : unread();
  main.replaceChildren(...nodes.flat(Infinity).filter(Boolean));
  if (focused && !isOpen()) focusOn(focused);
}

// unread is shown in place of a view while the vault has told nothing yet: an empty list would be a lie.
const unread = () => [secrets.heading(view().title, h('p', { class: 'lead' }, 'The vault has not told yet what is here. Refresh asks it again.'))];

// refresh asks the vault again. What stands is left alone while it is still right, so that neither focus
// nor selection nor a screen reader is disturbed.
async function refresh() {
  const mine = model;
  let changed;
  try {
    changed = await mine.load();
  } catch (refusal) {
    if (!(refusal instanceof Refusal)) throw refusal;
    if (mine !== model) return;
    stale(refusal.message);
    return;
  }
  if (mine !== model || !mine.at) return;
  fresh.classList.remove('stale');
  fresh.textContent = `As of ${clock.format(mine.at)}`;
  if (changed) render();
  else retell();
}

function stale(message) {
  const first = !fresh.classList.contains('stale');
  fresh.classList.add('stale');
  fresh.textContent = model.at ? `Not fresh: as of ${clock.format(model.at)}` : 'Not fresh';
  if (first) say(message);
}

// attempt runs what asks the vault outside of a form, and says a refusal. It gives undefined then.
async function attempt(fn) {
  try {
    return await fn();
  } catch (refusal) {
    if (!(refusal instanceof Refusal)) throw refusal;
    if (model) say(refusal.message);
    return undefined;
  }
}

async function enter() {
  model = Object.assign(new Model(), { refresh, attempt });
  top.hidden = document.querySelector('.skip').hidden = false;
  whenEnded(() => leave('The key is no longer good: it was revoked or has expired.'));
  await refresh();
  if (model) {
    if (!model.at) render();
    focusOn();
  }
}

// leave forgets the key and everything that was shown.
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
  render();
  window.scrollTo(0, 0);
  focusOn();
});
// A browser may keep the page of a tab that went elsewhere, to bring it back as it was: not the key.
window.addEventListener('pagehide', () => { if (known()) leave(); });
document.addEventListener('visibilitychange', quietly);
setInterval(quietly, every);

function quietly() {
  if (model && !document.hidden && !isOpen()) refresh();
}

leave();
