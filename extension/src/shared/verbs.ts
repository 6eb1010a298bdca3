/** What can be done to deployments, how it is called, and what is asked before. */

import { ALL } from './client.js';
import type { Client, Verb } from './client.js';
import type { Ask, Question } from './confirm.js';
import { button } from './dom.js';
import type { State } from './store.js';
import { plain } from './text.js';
import type { Deployment } from './wire.js';
import { usd } from './words.js';

export const LABELS: Readonly<Record<Verb, string>> = {
  start: 'Start',
  stop: 'Stop',
  restart: 'Restart',
  terminate: 'Terminate',
  extend: 'Extend 1 h',
};

const LONGEST_NAME = 80;

export function isVerb(action: string): action is Verb {
  return Object.hasOwn(LABELS, action);
}

/** What can be done to a deployment in its state; the shared server is started by whoever needs it. */
export function verbsFor(deployment: Deployment): readonly Verb[] {
  if (deployment.id === null) {
    return ['stop'];
  }
  if (deployment.status === 'stopped') {
    return ['start', 'terminate'];
  }
  if (['terminating', 'stopping', 'starting', 'launching'].includes(deployment.status)) {
    return ['terminate'];
  }
  return ['extend', 'restart', 'stop', 'terminate'];
}

/** The button that ends everything, after a question. */
export function terminateAllButton(): HTMLButtonElement {
  return button('Terminate all', 'terminate-all', 'Terminate all: end everything that runs', {
    class: 'conduit-button conduit-danger',
  });
}

/** Does what the verb says, after a question where it ends something. */
export async function carryOut(
  client: Pick<Client, 'act'>,
  ask: Ask,
  state: State,
  key: string,
  verb: Verb,
): Promise<void> {
  const meant = state.deployments.filter((one) => key === ALL || one.key === key);
  if (meant.length === 0) {
    return;
  }
  const question = questionBefore(verb, meant, key === ALL ? state.usdPerHour : null);
  if (question === null || (await ask(question, key))) {
    await client.act(key, verb);
  }
}

/** `ofAll` is what all costs an hour where all is meant, else null. */
function questionBefore(
  verb: Verb,
  meant: readonly Deployment[],
  ofAll: number | null,
): Question | null {
  const isAll = ofAll !== null;
  const names = meant.map((one) => plain(one.name, LONGEST_NAME)).join(', ');
  if (verb === 'terminate') {
    const rate = ofAll ?? meant[0]?.usd_per_hour ?? 0;
    const billing = rate > 0 ? `Billing of ${usd(rate)}/h stops.` : 'Nothing of it is billed.';
    return {
      title: isAll ? 'Terminate all?' : `Terminate ${names}?`,
      body: `This ends ${isAll ? names : 'it'} for good and deletes the disks. ${billing}`,
      accept: isAll ? 'Terminate all' : 'Terminate',
    };
  }
  if (verb === 'stop') {
    const body = meant.some((one) => one.id === null)
      ? 'The next block that needs it starts it again.'
      : 'It is unavailable until you start it. Its disks are kept, and may be billed.';
    return { title: `Stop ${names}?`, body, accept: 'Stop' };
  }
  return null;
}
