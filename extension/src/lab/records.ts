/** Our documents as elements: tables and receipts that a notebook keeps and shows by itself. */

import { element } from '../shared/dom.js';
import { plain } from '../shared/text.js';

export const TABLE_TYPE = 'application/vnd.conduit.table+json';
export const RECEIPT_TYPE = 'application/vnd.conduit.receipt+json';

const MOST_ROWS = 500;
const MOST_COLUMNS = 50;

/**
 * Draws a document of that type; null where it is none, so that something else may show it.
 * `line` is what the same output says as text: a receipt stands folded below it.
 */
export function recordView(mimeType: string, data: unknown, line = ''): HTMLElement | null {
  const document = fields(data);
  if (!document) {
    return null;
  }
  return mimeType === TABLE_TYPE ? tableView(document) : receiptView(document, line);
}

/** A table: `{columns: [text], rows: [[text]], caption?: text}`. */
function tableView(document: Record<string, unknown>): HTMLElement | null {
  const { columns, rows, caption } = document;
  if (!Array.isArray(columns) || !Array.isArray(rows)) {
    return null;
  }
  const heads = columns.slice(0, MOST_COLUMNS).map(said);
  const body = rows.slice(0, MOST_ROWS).filter((row): row is unknown[] => Array.isArray(row));
  const left = rows.length - body.length;
  return element(
    'div',
    { class: 'jp-Conduit-record' },
    element(
      'table',
      { class: 'jp-Conduit-table' },
      typeof caption === 'string' ? element('caption', {}, plain(caption)) : null,
      element(
        'thead',
        {},
        element('tr', {}, ...heads.map((head) => element('th', { scope: 'col' }, head))),
      ),
      element(
        'tbody',
        {},
        ...body.map((row) =>
          element('tr', {}, ...heads.map((_, column) => element('td', {}, said(row[column])))),
        ),
      ),
    ),
    left > 0 ? element('p', {}, `${left} rows more.`) : null,
  );
}

/** A receipt: names and plain values, in the order in which they were written. */
function receiptView(document: Record<string, unknown>, line: string): HTMLElement {
  const rows = Object.entries(document).slice(0, MOST_ROWS);
  return element(
    'div',
    { class: 'jp-Conduit-record' },
    line ? element('pre', {}, plain(line)) : null,
    element(
      'details',
      {},
      element('summary', {}, 'Receipt'),
      element(
        'table',
        { class: 'jp-Conduit-table' },
        element(
          'tbody',
          {},
          ...rows.map(([name, value]) =>
            element(
              'tr',
              {},
              element('th', { scope: 'row' }, plain(name.replaceAll('_', ' '), 80)),
              element('td', {}, said(value)),
            ),
          ),
        ),
      ),
    ),
  );
}

function said(value: unknown): string {
  if (value === null || value === undefined) {
    return '';
  }
  return plain(typeof value === 'string' ? value : JSON.stringify(value));
}

function fields(value: unknown): Record<string, unknown> | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : null;
}
