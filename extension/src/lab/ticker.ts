/** The status bar's line: what it costs an hour, on how many nodes, and "Terminate all". */

import { element, meantBy, show } from '../shared/dom.js';
import type { Child } from '../shared/dom.js';
import { ageOf, isStale, todayBy } from '../shared/store.js';
import type { State, Store } from '../shared/store.js';
import { plain } from '../shared/text.js';
import { terminateAllButton } from '../shared/verbs.js';
import { clock, count, span, usd } from '../shared/words.js';

export interface TickerActions {
  open(): void;
  terminateAll(): void;
}

/** Providers are asked every half minute; what is older than two of these is worth a word. */
export const OLD_AFTER_MS = 60_000;

export class Ticker {
  private readonly end: () => void;

  constructor(
    private readonly root: HTMLElement,
    private readonly store: Store,
    actions: TickerActions,
    public showsIdle = true,
  ) {
    root.classList.add('jp-Conduit-ticker');
    root.setAttribute('role', 'group');
    root.setAttribute('aria-label', 'Conduit: what runs and what it costs');
    root.addEventListener('click', (event) => {
      const meant = meantBy(event);
      if (meant?.action === 'open') {
        actions.open();
      } else if (meant?.action === 'terminate-all') {
        actions.terminateAll();
      }
    });
    this.end = store.subscribe(() => this.update());
    this.update();
  }

  /** Draws anew: also to let the age grow while no answer comes. */
  update(): void {
    show(this.root, ...tickerView(this.store.state, this.store.now(), this.showsIdle));
  }

  dispose(): void {
    this.end();
  }
}

/** What stands in the ticker. */
export function tickerView(state: State, now: number, showsIdle = true): Child[] {
  const age = ageOf(state, now);
  const isIdle = state.deployments.length === 0 && state.usdPerHour === 0;
  if (isIdle && !isStale(state) && !showsIdle) {
    return [];
  }
  const said = tickerText(state, now);
  const open = element(
    'button',
    {
      type: 'button',
      class: 'conduit-button jp-Conduit-cost',
      'data-do': 'open',
      'data-age-ms': age === null ? undefined : String(Math.round(age)),
      'data-stale': isStale(state) ? 'true' : undefined,
      title: tickerTitle(state, now),
    },
    said,
  );
  return [open, isIdle ? null : terminateAllButton()];
}

function tickerText(state: State, now: number): string {
  if (state.receivedAt === null) {
    return state.problem === null ? 'Conduit …' : 'Conduit: no answer';
  }
  const amount = `${usd(state.usdPerHour)}/h · ${count(state.nodes, 'node')}`;
  if (isStale(state)) {
    return `${amount} · last seen ${clock(state.receivedAt)}`;
  }
  const age = ageOf(state, now) ?? 0;
  return age > OLD_AFTER_MS ? `${amount} · ${span(age / 1000)} old` : amount;
}

function tickerTitle(state: State, now: number): string {
  const age = ageOf(state, now);
  const lines = [
    `${usd(todayBy(state, now))} today, of ${usd(state.dayCapUsd)} at most`,
    age === null ? 'Not seen yet' : `Seen ${span(age / 1000)} ago`,
    ...state.lookFailures.map((failure) => plain(failure, 300)),
    ...(state.problem === null ? [] : [`No answer: ${plain(state.problem, 300)}`]),
  ];
  return lines.join('\n');
}
