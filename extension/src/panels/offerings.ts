/** The sidebar's short list of what compute costs now, the best first. */

import { ApiError } from '../api.js';
import type { Offering, Offerings } from '../api.js';
import { button, element } from '../dom.js';
import type { Child } from '../dom.js';
import { plain, usd } from '../words.js';

/** Rows that are shown: the whole table lives in the notebook, `%conduit offerings`. */
export const MOST_ROWS = 50;

export type OfferingsState = 'unasked' | 'asking' | Offerings | ApiError;

export function offeringsView(state: OfferingsState): Child[] {
  const ask = button(
    state === 'asking' ? 'Asking …' : 'Ask for prices',
    'offerings',
    'Ask every provider for its prices',
    state === 'asking' ? { disabled: true } : {},
  );
  if (state === 'unasked' || state === 'asking') {
    return [ask];
  }
  if (state instanceof ApiError) {
    return [ask, problem(state.hint ? `${state.message} ${state.hint}` : state.message)];
  }
  const failures = state.failures.map((one) => problem(`${one.provider}: ${one.message}`));
  if (state.offerings.length === 0) {
    return [ask, ...failures, element('p', { class: 'jp-Conduit-empty' }, 'Nothing is offered.')];
  }
  const shown = state.offerings.slice(0, MOST_ROWS);
  const hidden = state.offerings.length - shown.length;
  return [
    ask,
    ...failures,
    table(shown),
    hidden > 0
      ? element('p', {}, `${hidden} more: %conduit offerings shows all in a notebook.`)
      : null,
  ];
}

function table(offerings: readonly Offering[]): HTMLElement {
  const heads = ['Provider', 'GPU', 'GiB', '$/h', 'Available', 'Use'];
  return element(
    'table',
    { class: 'jp-Conduit-table', 'aria-label': 'Offerings' },
    element(
      'thead',
      {},
      element('tr', {}, ...heads.map((head) => element('th', { scope: 'col' }, head))),
    ),
    element('tbody', {}, ...offerings.map(row)),
  );
}

function row(one: Offering, index: number): HTMLElement {
  const gpu = one.accelerator
    ? `${one.count > 1 ? `${one.count} × ` : ''}${one.accelerator}`
    : 'CPU';
  const cells: string[] = [
    one.provider,
    gpu,
    one.total_gib.toFixed(0),
    usd(one.usd_per_hour),
    one.availability,
  ];
  return element(
    'tr',
    { 'data-key': `offering:${index}` },
    ...cells.map((cell) => element('td', {}, plain(cell, 80))),
    element(
      'td',
      {},
      one.launchable
        ? button('Copy', 'copy-offering', `Copy a cell that deploys on ${plain(gpu, 80)}`)
        : 'price only',
      // How many of them a deployment is to have can be said in a cell only.
      one.launchable && one.count <= 1
        ? button('Deploy', 'deploy-offering', `Deploy the model above on ${plain(gpu, 80)}`)
        : null,
    ),
  );
}

function problem(text: string): HTMLElement {
  return element('p', { class: 'jp-Conduit-problem', role: 'status' }, plain(text, 500));
}
