/** The sidebar's list of what runs: deployments and sidecars, each with what can be done to it. */

import type { Action, Deployment, Word } from '../api.js';
import { button, element } from '../dom.js';
import type { Child } from '../dom.js';
import { ageOf, isStale, spentBy, todayBy, untilMoment } from '../store.js';
import type { State } from '../store.js';
import { clock, count, plain, span, usd } from '../words.js';

export const WORDS: readonly Word[] = ['start', 'stop', 'restart', 'terminate', 'extend'];

const LABELS: Readonly<Record<Word, string>> = {
  start: 'Start',
  stop: 'Stop',
  restart: 'Restart',
  terminate: 'Terminate',
  extend: '+1 h',
};

/** What can be done to a deployment in its state; a sidecar is started by whoever needs it. */
export function wordsFor(deployment: Deployment): readonly Word[] {
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

export function deploymentsView(
  state: State,
  now: number,
  logs: ReadonlyMap<string, readonly string[]>,
): Child[] {
  return [
    summary(state, now),
    ...notes(state),
    state.deployments.length > 0
      ? element(
          'ul',
          { class: 'jp-Conduit-list', 'aria-label': 'Deployments' },
          ...state.deployments.map((one) => item(one, state, now, logs.get(one.key))),
        )
      : element(
          'p',
          { class: 'jp-Conduit-empty' },
          state.receivedAt === null ? 'Looking …' : 'Nothing runs, and nothing costs.',
        ),
    actionsView(state.actions),
  ];
}

function summary(state: State, now: number): Child {
  if (state.receivedAt === null) {
    return null;
  }
  const age = ageOf(state, now) ?? 0;
  const seen = isStale(state)
    ? `no answer, last seen ${clock(state.receivedAt)}`
    : `seen ${span(age / 1000)} ago`;
  return element(
    'p',
    { class: 'jp-Conduit-summary' },
    element('strong', {}, `${usd(state.usdPerHour)}/h`),
    ` · ${count(state.nodes, 'node')} · ${usd(todayBy(state, now))} today of ${usd(state.dayCapUsd)}`,
    element('span', { class: 'jp-Conduit-age' }, seen),
  );
}

function notes(state: State): Child[] {
  const said = [...state.lookFailures, ...(state.problem === null ? [] : [state.problem])];
  return said.map((text) =>
    element('p', { class: 'jp-Conduit-problem', role: 'status' }, plain(text, 500)),
  );
}

function item(
  one: Deployment,
  state: State,
  now: number,
  log: readonly string[] | undefined,
): HTMLElement {
  const name = plain(one.name, 120);
  // A server that does not answer cannot say that anything runs.
  const status = isStale(state) ? `last seen ${plain(one.status, 40)}` : plain(one.status, 40);
  return element(
    'li',
    { class: 'jp-Conduit-item', 'data-key': one.key },
    element(
      'div',
      { class: 'jp-Conduit-head' },
      element('strong', { class: 'jp-Conduit-name' }, name),
      element('span', { class: 'jp-Conduit-status', 'data-status': plain(one.status, 40) }, status),
    ),
    element('div', { class: 'jp-Conduit-facts' }, factsOf(one, state, now).join(' · ')),
    one.detail ? element('div', { class: 'jp-Conduit-detail' }, plain(one.detail, 500)) : null,
    element(
      'div',
      { class: 'jp-Conduit-buttons', role: 'group', 'aria-label': `What to do with ${name}` },
      ...wordsFor(one).map((word) => button(LABELS[word], word, `${LABELS[word]}: ${name}`)),
      button('Logs', 'logs', `${log ? 'Hide' : 'Show'} logs: ${name}`, {
        'aria-expanded': log ? 'true' : 'false',
      }),
      button('Insert cell', 'insert-cell', `Insert a cell that uses ${name}`),
      button('Copy cell', 'copy-cell', `Copy a cell that uses ${name}`),
    ),
    log
      ? element(
          'pre',
          { class: 'jp-Conduit-log', tabindex: '0', 'aria-label': `Log of ${name}` },
          log.length > 0 ? log.map((line) => plain(line)).join('\n') : 'The log is empty.',
        )
      : null,
  );
}

function factsOf(one: Deployment, state: State, now: number): string[] {
  const spent = spentBy(state, one, now);
  const left = one.lease_until === null ? null : untilMoment(state, one.lease_until, now);
  const facts = [
    one.id === null ? 'sidecar' : one.provider,
    one.device,
    one.region,
    one.nodes === null ? null : `${one.nodes} ready`,
    Object.keys(one.models).join(', '),
    one.usd_per_hour === null ? null : `${usd(one.usd_per_hour)}/h`,
    spent === null || one.id === null ? null : `${usd(spent)} so far`,
    left === null ? null : left > 0 ? `ends in ${span(left / 1000)}` : 'its lease is over',
  ];
  return facts.filter((fact): fact is string => Boolean(fact)).map((fact) => plain(fact, 200));
}

function actionsView(actions: readonly Action[]): Child {
  const worth = actions.filter((action) => action.state !== 'done').slice(-5);
  if (worth.length === 0) {
    return null;
  }
  return element(
    'ul',
    { class: 'jp-Conduit-actions', 'aria-label': 'What is under way', 'aria-live': 'polite' },
    ...worth.map((action) =>
      element(
        'li',
        { 'data-state': action.state },
        `${action.word} ${plain(action.target, 80)}: `,
        action.error
          ? plain(`${action.error.message} ${action.error.hint ?? ''}`.trim(), 500)
          : 'under way …',
      ),
    ),
  );
}
