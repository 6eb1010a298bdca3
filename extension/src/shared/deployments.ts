/** What runs: a summary with its age, what went wrong, and a list with what can be done to each. */

import type { Client } from './client.js';
import type { Ask } from './confirm.js';
import { button, element, meantBy, show } from './dom.js';
import type { Child } from './dom.js';
import { Logs, keepingEnds } from './log.js';
import { problemView, textOf } from './problem.js';
import { ageOf, isStale, spentBy, todayBy, untilMoment } from './store.js';
import type { State, Store } from './store.js';
import { plain } from './text.js';
import { LABELS, carryOut, isVerb, verbsFor } from './verbs.js';
import type { Action, Deployment } from './wire.js';
import { clock, count, span, usd } from './words.js';

/** States in which a log says more than a word. */
const BOOTING = ['launching', 'starting', 'booting'];

/** What one host shows of each deployment, and the other does not. */
export interface Extras {
  /** More buttons, beside what can be done to it. */
  readonly tools?: (name: string) => Child[];
  /** What stands below it, such as a question. */
  readonly below?: (one: Deployment, name: string) => Child[];
  /** Whether the log of what boots is opened by itself. */
  readonly opensBootLogs?: boolean;
}

/** The list of deployments and shared servers, drawn in place at every `update`. */
export class DeploymentList {
  readonly root = element('div');
  private readonly logs: Logs;
  private readonly seen = new Set<string>();

  constructor(
    private readonly store: Store,
    client: Client,
    ask: Ask,
    private readonly extras: Extras = {},
  ) {
    this.logs = new Logs(client, () => this.update());
    this.root.addEventListener('click', (event) => {
      const meant = meantBy(event);
      if (meant && isVerb(meant.action)) {
        void carryOut(client, ask, store.state, meant.key, meant.action);
      } else if (meant?.action === 'logs') {
        this.toggleLog(meant.key);
      }
    });
  }

  update(): void {
    const { deployments } = this.store.state;
    const keys = new Set(deployments.map((one) => one.key));
    this.logs.keep(keys);
    for (const one of deployments) {
      if (this.extras.opensBootLogs && BOOTING.includes(one.status) && !this.seen.has(one.key)) {
        this.logs.open(one.key);
      }
      this.seen.add(one.key);
    }
    keepingEnds(this.root, () => show(this.root, this.list()));
  }

  /** Watches no log any more. */
  close(): void {
    this.logs.keep(new Set());
  }

  private toggleLog(key: string): void {
    if (this.logs.isOpen(key)) {
      this.logs.close(key);
    } else {
      this.logs.open(key);
    }
    this.update();
  }

  private list(): Child {
    const { deployments, receivedAt, problem } = this.store.state;
    if (deployments.length > 0) {
      const items = deployments.map((one) => this.item(one));
      return element('ul', { class: 'conduit-list', 'aria-label': 'Deployments' }, ...items);
    }
    if (receivedAt === null && problem !== null) {
      return null;
    }
    const text = receivedAt === null ? 'Looking …' : 'Nothing runs, and nothing costs.';
    return element('p', { class: 'conduit-empty' }, text);
  }

  private item(one: Deployment): HTMLElement {
    const { state } = this.store;
    const name = plain(one.name, 120);
    const url = state.urls[one.key];
    const part = (kind: string, text: string | null | undefined): Child =>
      text && element('div', { class: `conduit-${kind}` }, plain(text, 500));
    return element(
      'li',
      { class: 'conduit-item', 'data-key': one.key },
      element(
        'div',
        { class: 'conduit-head' },
        element('strong', { class: 'conduit-name' }, name),
        element('span', { class: 'conduit-state', role: 'status' }, statusOf(one, state)),
      ),
      part('facts', factsOf(one, state, this.store.now()).join(' · ')),
      part('detail', one.detail),
      part('endpoint', url && `Endpoint: ${url}`),
      element(
        'div',
        { class: 'conduit-buttons', role: 'group', 'aria-label': `What to do with ${name}` },
        ...verbsFor(one).map((verb) => button(LABELS[verb], verb, `${LABELS[verb]}: ${name}`)),
        button('Logs', 'logs', `${this.logs.isOpen(one.key) ? 'Hide' : 'Show'} logs: ${name}`, {
          'aria-expanded': String(this.logs.isOpen(one.key)),
        }),
        ...(this.extras.tools?.(name) ?? []),
      ),
      this.logs.view(one.key, name),
      ...(this.extras.below?.(one, name) ?? []),
    );
  }
}

/** What all of it costs, and how old that is. */
export function summaryView(state: State, now: number): Child {
  if (state.receivedAt === null) {
    return null;
  }
  const today = todayBy(state, isStale(state) ? state.receivedAt : now);
  const seen = isStale(state)
    ? `no answer, last seen ${clock(state.receivedAt)}`
    : `seen ${span((ageOf(state, now) ?? 0) / 1000)} ago`;
  return element(
    'p',
    { class: 'conduit-summary' },
    element('strong', {}, `${usd(state.usdPerHour)}/h`),
    ` · ${count(state.nodes, 'node')} · ${usd(today)} today of ${usd(state.dayCapUsd)}`,
    element('span', { class: 'conduit-age' }, seen),
  );
}

/** Who did not answer, and why nothing newer comes. */
export function notesView(state: State): Child[] {
  const said = [...state.lookFailures, ...(state.problem === null ? [] : [state.problem])];
  return said.map((message) => problemView({ message }));
}

/** What is under way, and what of it failed. */
export function actionsView(actions: readonly Action[]): Child {
  const worth = actions.filter((action) => action.state !== 'done').slice(-5);
  if (worth.length === 0) {
    return null;
  }
  return element(
    'ul',
    { class: 'conduit-actions', 'aria-label': 'What is under way', 'aria-live': 'polite' },
    ...worth.map((action) =>
      element(
        'li',
        { 'data-state': action.state },
        `${action.word} ${plain(action.target, 80)}: `,
        action.error ? textOf(action.error) : 'under way …',
      ),
    ),
  );
}

/** Nobody can say of what is not seen that it runs. */
function statusOf(one: Deployment, state: State): string {
  const status = plain(one.status, 40);
  return isStale(state) && state.receivedAt !== null
    ? `last seen ${status} at ${clock(state.receivedAt)}`
    : status;
}

function factsOf(one: Deployment, state: State, now: number): string[] {
  const spent = spentBy(state, one, now);
  const left = one.lease_until === null ? null : untilMoment(state, one.lease_until, now);
  const isNow = !isStale(state);
  const facts = [
    one.id === null ? 'shared server' : one.provider,
    one.runtime,
    one.device,
    one.region,
    one.nodes === null ? null : `${one.nodes} ready`,
    Object.keys(one.models).join(', '),
    one.usd_per_hour === null ? null : `${usd(one.usd_per_hour)}/h`,
    spent === null || one.id === null || !isNow ? null : `${usd(spent)} so far`,
    left === null || !isNow
      ? null
      : left > 0
        ? `ends in ${span(left / 1000)}`
        : 'its lease is over',
  ];
  return facts.filter((fact): fact is string => Boolean(fact)).map((fact) => plain(fact, 200));
}
