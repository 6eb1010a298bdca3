/**
 * The rows of a table of offerings: what stands in each column, and in which order they go.
 *
 * @typedef {object} Offering Amounts are US dollars, sizes GiB; null is what nobody knows.
 * @property {string} key
 * @property {boolean | null} fits Null where there is no plan to be held.
 * @property {string} why
 * @property {string} gpu
 * @property {number} count
 * @property {number} gib
 * @property {number} usd_per_hour
 * @property {number} usd_per_gib
 * @property {number | null} usd_per_mtok
 * @property {number | null} tokens_per_s
 * @property {string} speed_range
 * @property {string} availability
 * @property {string | null} as_of
 * @property {string} region
 * @property {string} provider
 * @property {boolean} launchable
 *
 * @typedef {keyof Offering} Field
 * @typedef {object} Column
 * @property {Field} field
 * @property {string} head
 * @property {string} about
 * @property {boolean} [isNumber]
 * @property {(one: Offering, now: number) => string} text
 */

import { span } from './elements.js';

const LONGEST_WHY = 160;

/** @type {readonly Column[]} */
export const COLUMNS = [
  { field: 'fits', head: 'fits', about: 'Whether it holds the plan', text: verdict },
  { field: 'gpu', head: 'GPU', about: 'Device', text: (one) => one.gpu },
  {
    field: 'count',
    head: 'count',
    about: 'Devices',
    isNumber: true,
    text: (one) => `${one.count}`,
  },
  {
    field: 'gib',
    head: 'GiB',
    about: 'Memory of all devices',
    isNumber: true,
    text: (one) => one.gib.toFixed(1),
  },
  {
    field: 'usd_per_hour',
    head: '$/h',
    about: 'Dollars per hour',
    isNumber: true,
    text: (one) => one.usd_per_hour.toFixed(2),
  },
  {
    field: 'usd_per_gib',
    head: '$/h per GiB',
    about: 'Dollars per hour and GiB',
    isNumber: true,
    text: (one) => one.usd_per_gib.toFixed(4),
  },
  {
    field: 'usd_per_mtok',
    head: '$/1M tokens',
    about: 'Dollars per million tokens, an estimate',
    isNumber: true,
    text: (one) => (one.usd_per_mtok === null ? '' : one.usd_per_mtok.toFixed(2)),
  },
  {
    field: 'tokens_per_s',
    head: 'tokens/s',
    about: 'Tokens per second, an estimate',
    isNumber: true,
    text: (one) => (one.tokens_per_s === null ? '' : one.tokens_per_s.toFixed(0)),
  },
  { field: 'availability', head: 'availability', about: 'Stock, and how old that is', text: stock },
  { field: 'region', head: 'region', about: 'Region', text: (one) => one.region },
  { field: 'provider', head: 'provider', about: 'Provider', text: (one) => one.provider },
];
/** What may change between two looks; a change of it is marked. @type {readonly Field[]} */
export const WATCHED = ['fits', 'usd_per_hour', 'availability'];

/**
 * @param {readonly string[]} columns
 * @param {readonly unknown[]} row
 */
export function offering(columns, row) {
  return /** @type {Offering} */ (
    /** @type {unknown} */ (Object.fromEntries(columns.map((name, index) => [name, row[index]])))
  );
}

/** @param {Offering} one */
export function verdict(one) {
  if (one.fits === false || one.why) {
    return one.why.length > LONGEST_WHY ? `${one.why.slice(0, LONGEST_WHY)} …` : one.why;
  }
  return [one.fits ? 'fits' : '', one.launchable ? '' : 'price only'].filter(Boolean).join(', ');
}

/**
 * @param {Offering} one
 * @param {number} now
 */
function stock(one, now) {
  return one.as_of
    ? `${one.availability}, ${span((now - Date.parse(one.as_of)) / 1000)} ago`
    : one.availability;
}

/**
 * What is not known stands last, whichever way is sorted.
 *
 * @param {string | number | boolean | null} one
 * @param {string | number | boolean | null} other
 * @param {boolean} isDown
 */
export function compare(one, other, isDown) {
  if (one === null || other === null) {
    return Number(one === null) - Number(other === null);
  }
  const order = one < other ? -1 : one > other ? 1 : 0;
  return isDown ? -order : order;
}
