/** The rows of a table of offerings: what stands in each column, and in which order they go. */

import type { Problem } from './wire.js';
import { digits, span } from './words.js';

/** Amounts are US dollars, sizes GiB; null is what nobody knows. */
export interface OfferingRow {
  readonly key: string;
  /** Null where there is no plan to be held. */
  readonly fits: boolean | null;
  readonly why: string;
  readonly gpu: string;
  readonly count: number;
  readonly gib: number;
  readonly usd_per_hour: number;
  readonly usd_per_gib: number;
  readonly usd_per_mtok: number | null;
  readonly tokens_per_s: number | null;
  readonly speed_range: string;
  readonly availability: string;
  readonly as_of: string | null;
  readonly region: string;
  readonly provider: string;
  readonly launchable: boolean;
}

export type Field = keyof OfferingRow;

/** What a table shows. */
export interface Offered {
  readonly title: string;
  /** When the providers were asked. */
  readonly at: string;
  readonly has_plan: boolean;
  readonly can_deploy: boolean;
  readonly rows: readonly OfferingRow[];
  readonly failures: readonly (Problem & { readonly provider: string })[];
}

/** The same as a panel is told it: `columns` names what stands in each row. */
export interface OfferedRows extends Omit<Offered, 'rows'> {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly unknown[])[];
  /** What is deployed on an offering. */
  readonly models: readonly string[];
}

export interface Column {
  readonly field: Field;
  readonly head: string;
  readonly about: string;
  readonly isNumber?: boolean;
  readonly text: (one: OfferingRow, now: number) => string;
}

const LONGEST_WHY = 160;

function number(
  field: Field,
  head: string,
  about: string,
  text: (one: OfferingRow) => string,
): Column {
  return { field, head, about, isNumber: true, text };
}

const GIB = number('gib', 'GiB', 'Memory of all devices', (one) => one.gib.toFixed(1));
const PER_HOUR = number('usd_per_hour', '$/h', 'Dollars per hour', (one) =>
  digits(one.usd_per_hour),
);
const AVAILABILITY: Column = {
  field: 'availability',
  head: 'availability',
  about: 'Stock, and how old that is',
  text: stock,
};
const PROVIDER: Column = {
  field: 'provider',
  head: 'provider',
  about: 'Provider',
  text: (one) => one.provider,
};

export const COLUMNS: readonly Column[] = [
  { field: 'fits', head: 'fits', about: 'Whether it holds the plan', text: verdict },
  { field: 'gpu', head: 'GPU', about: 'Device', text: (one) => one.gpu },
  number('count', 'count', 'Devices', (one) => `${one.count}`),
  GIB,
  PER_HOUR,
  number('usd_per_gib', '$/h per GiB', 'Dollars per hour and GiB', (one) =>
    one.usd_per_gib.toFixed(4),
  ),
  number('usd_per_mtok', '$/1M tokens', 'Dollars per million tokens, an estimate', (one) =>
    one.usd_per_mtok === null ? '' : digits(one.usd_per_mtok),
  ),
  number('tokens_per_s', 'tokens/s', 'Tokens per second, an estimate', (one) =>
    one.tokens_per_s === null ? '' : one.tokens_per_s.toFixed(0),
  ),
  AVAILABILITY,
  { field: 'region', head: 'region', about: 'Region', text: (one) => one.region },
  PROVIDER,
];

/** What fits beside a notebook. */
export const NARROW: readonly Column[] = [
  PROVIDER,
  { field: 'gpu', head: 'GPU', about: 'Device', text: devices },
  GIB,
  PER_HOUR,
  AVAILABILITY,
];

/** What may change between two looks; a change of it is marked. */
export const WATCHED: readonly Field[] = ['fits', 'usd_per_hour', 'availability'];

export function rowsOf({ columns, rows }: OfferedRows): OfferingRow[] {
  const fields = (row: readonly unknown[]): unknown =>
    Object.fromEntries(columns.map((name, index) => [name, row[index]]));
  return rows.map((row) => fields(row) as OfferingRow);
}

/** Says how many devices of which kind: "8 x H100". */
export function devices(one: OfferingRow): string {
  return one.count > 1 ? `${one.count} x ${one.gpu}` : one.gpu;
}

export function verdict(one: OfferingRow): string {
  if (one.fits === false || one.why) {
    return one.why.length > LONGEST_WHY ? `${one.why.slice(0, LONGEST_WHY)} …` : one.why;
  }
  return [one.fits ? 'fits' : '', one.launchable ? '' : 'price only'].filter(Boolean).join(', ');
}

function stock(one: OfferingRow, now: number): string {
  return one.as_of
    ? `${one.availability}, ${span((now - Date.parse(one.as_of)) / 1000)} ago`
    : one.availability;
}

/** What is not known stands last, whichever way is sorted. */
export function compare(
  one: string | number | boolean | null,
  other: string | number | boolean | null,
  isDown: boolean,
): number {
  if (one === null || other === null) {
    return Number(one === null) - Number(other === null);
  }
  const order = one < other ? -1 : one > other ? 1 : 0;
  return isDown ? -order : order;
}
