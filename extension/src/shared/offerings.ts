/**
 * A table of offerings that sorts, filters and searches by itself, and draws only the rows that are
 * in sight: ten thousand cost what forty cost.
 */

import { button, element, meantBy, show } from './dom.js';
import type { Child } from './dom.js';
import { WATCHED, compare, verdict } from './offering_rows.js';
import type { Column, Field, Offered, OfferingRow } from './offering_rows.js';
import { problemView } from './problem.js';
import { plain } from './text.js';
import type { Problem } from './wire.js';
import { clock, count, usd } from './words.js';

/** Rows above and below what is in sight. */
const MARGIN = 8;
/** Rows that are drawn at most, however high the table has become. */
const MOST_ROWS = 200;
/** Until a row is drawn, its height is guessed. */
const ROW_PX = 26;
const LONGEST_CELL = 400;

/** Who shows the table, and what is done with what is picked in it. */
export interface TableHost {
  readonly columns: readonly Column[];
  /** Deploys on the offering that is picked; it fits, and can be launched. */
  readonly deploy?: (one: OfferingRow) => void;
  /** Asks every provider again. */
  readonly refresh?: () => void;
  /** What stands in a last column, `Use`. */
  readonly tools?: (one: OfferingRow) => Child[];
}

export class OfferingsTable {
  private all: readonly OfferingRow[] = [];
  private shown: OfferingRow[] = [];
  private offered: Offered | null = null;
  private order: { field: Field; isDown: boolean } | null = null;
  /** What stood where something has changed, by key and field. */
  private changes = new Map<string, Map<Field, string>>();
  private news = '';
  private selected = '';
  private rowPx = ROW_PX;
  private canAsk = true;

  private readonly title = element('strong', { class: 'conduit-title' });
  private readonly search = element('input', {
    type: 'search',
    placeholder: 'GPU, region, provider',
  });
  private readonly provider = element('select');
  private readonly onlyFits = element('input', { type: 'checkbox' });
  private readonly onlyLaunchable = element('input', { type: 'checkbox' });
  private readonly fitsLabel = labelled('only what fits', this.onlyFits);
  private readonly deployButton = button('Deploy …', 'deploy', 'Deploy on the selected offering');
  private readonly refreshButton = button('Refresh', 'refresh', 'Ask every provider again');
  private readonly bar = element(
    'div',
    { class: 'conduit-bar', role: 'group', 'aria-label': 'Filter and act' },
    labelled('search', this.search),
    labelled('provider', this.provider),
    this.fitsLabel,
    labelled('only what can be started', this.onlyLaunchable),
    this.refreshButton,
    this.deployButton,
  );
  private readonly refusal = element('div');
  /** Where a question about an offering may be drawn. */
  readonly question = element('div');
  private readonly heads: HTMLTableCellElement[];
  private readonly above: HTMLTableRowElement;
  private readonly below: HTMLTableRowElement;
  private readonly body: HTMLTableSectionElement;
  private readonly grid: HTMLTableElement;
  private readonly scroller: HTMLDivElement;
  private readonly status = element('p', { class: 'conduit-status', role: 'status' });
  private readonly problems = element('div');
  readonly root: HTMLElement;

  constructor(private readonly host: TableHost) {
    this.heads = host.columns.map((column) =>
      element(
        'th',
        { scope: 'col', 'aria-sort': 'none', 'data-key': column.field, class: classOf(column) },
        button(column.head, 'sort', `${column.about}: sort`),
      ),
    );
    const use = host.tools ? [element('th', { scope: 'col' }, 'Use')] : [];
    const width = `${host.columns.length + use.length}`;
    const spacer = (): HTMLTableRowElement =>
      element('tr', { 'aria-hidden': 'true' }, element('td', { colspan: width }));
    this.above = spacer();
    this.below = spacer();
    this.body = element('tbody', {}, this.above, this.below);
    this.grid = element(
      'table',
      { role: 'grid', 'aria-label': 'Offerings', tabindex: '0' },
      element('thead', {}, element('tr', { 'aria-rowindex': '1' }, ...this.heads, ...use)),
      this.body,
    );
    this.scroller = element('div', { class: 'conduit-scroller' }, this.grid);
    this.bar.hidden = !host.refresh;
    this.root = element(
      'div',
      { class: 'conduit-offerings' },
      this.title,
      this.bar,
      this.refusal,
      this.question,
      this.scroller,
      this.status,
      this.problems,
    );
    this.listen();
    this.arrange();
  }

  /** Shows what is offered now, and marks what of it has changed. */
  show(offered: Offered): void {
    const before = new Map(this.all.map((one) => [one.key, one]));
    let fresh = 0;
    this.changes = new Map();
    for (const one of offered.rows) {
      const old = before.get(one.key);
      before.delete(one.key);
      if (!old) {
        fresh += 1;
        continue;
      }
      const changed = WATCHED.filter((field) => old[field] !== one[field]);
      if (changed.length > 0) {
        this.changes.set(one.key, new Map(changed.map((field) => [field, String(old[field])])));
      }
    }
    this.news = this.offered ? newsOf(this.changes.size, fresh, before.size) : '';
    this.all = offered.rows;
    this.offered = offered;
    this.title.textContent = plain(offered.title);
    this.deployButton.hidden = !offered.can_deploy;
    this.fitsLabel.hidden = !offered.has_plan;
    this.offerProviders();
    const problems = offered.failures.map((one) =>
      problemView({ ...one, message: `${one.provider}: ${one.message}` }, 'alert'),
    );
    show(this.problems, ...problems);
    this.arrange();
  }

  /** Says that nothing of it can be relied on or done any more, or that it can again. */
  setAlive(isAlive: boolean): void {
    this.canAsk = isAlive;
    this.deployButton.disabled = !isAlive;
    this.refreshButton.disabled = !isAlive;
    this.say();
  }

  private listen(): void {
    this.bar.addEventListener('input', () => this.arrange());
    this.scroller.addEventListener('scroll', () => this.draw());
    this.root.addEventListener('click', (event) => {
      const meant = meantBy(event);
      if (meant?.action === 'sort') {
        this.sortBy(meant.key as Field);
      } else if (meant?.action === 'refresh') {
        this.host.refresh?.();
      } else if (meant?.action === 'deploy') {
        this.deploy();
      }
    });
    this.grid.addEventListener('keydown', (event) => this.press(event));
    this.body.addEventListener('click', (event) => {
      const row = event.target instanceof Element ? event.target.closest('tr[data-key]') : null;
      if (row && !meantBy(event)) {
        this.pick(row.getAttribute('data-key') ?? '');
      }
    });
    this.body.addEventListener('dblclick', (event) => {
      if (!meantBy(event)) {
        this.deploy();
      }
    });
  }

  private sortBy(field: Field): void {
    const isSame = this.order?.field === field;
    this.order = isSame && this.order?.isDown ? null : { field, isDown: isSame };
    for (const head of this.heads) {
      const isSorted = this.order?.field === head.getAttribute('data-key');
      const way = this.order?.isDown ? 'descending' : 'ascending';
      head.setAttribute('aria-sort', isSorted ? way : 'none');
    }
    this.arrange();
  }

  private offerProviders(): void {
    const names = [...new Set(this.all.map((one) => one.provider))].sort();
    offer(this.provider, [['', 'all'], ...names.map((name): [string, string] => [name, name])]);
  }

  /** Sorts and filters, then draws. */
  private arrange(): void {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    this.shown = this.all.filter(
      (one) =>
        (!this.provider.value || one.provider === this.provider.value) &&
        (!this.onlyFits.checked || one.fits === true) &&
        (!this.onlyLaunchable.checked || one.launchable) &&
        words.every((word) =>
          `${one.gpu} ${one.region} ${one.provider}`.toLowerCase().includes(word),
        ),
    );
    if (this.order) {
      const { field, isDown } = this.order;
      this.shown.sort((one, other) => compare(one[field], other[field], isDown));
    }
    this.grid.setAttribute('aria-rowcount', `${this.shown.length + 1}`);
    this.say();
    this.draw();
  }

  private say(): void {
    if (!this.offered) {
      this.status.textContent = this.canAsk
        ? 'Asking every provider …'
        : 'Without a kernel nothing is asked; what was offered stands below, where it was saved.';
      return;
    }
    const all = count(this.all.length, 'offering');
    const isWhole = this.shown.length === this.all.length;
    const parts = [
      isWhole ? all : `${this.shown.length.toLocaleString('en-US')} of ${all}`,
      `as of ${clock(this.offered.at)}`,
      this.news,
    ];
    this.status.textContent = parts.filter(Boolean).join('; ');
  }

  /** Draws the rows in sight. */
  private draw(): void {
    const { above, below, rowPx, scroller, shown } = this;
    const first = Math.max(0, Math.floor(scroller.scrollTop / rowPx) - MARGIN);
    const inSight = Math.ceil((scroller.clientHeight || 10 * ROW_PX) / rowPx) + 2 * MARGIN;
    const last = Math.min(shown.length, first + Math.min(inSight, MOST_ROWS));
    const now = Date.now();
    const rows = shown.slice(first, last).map((one, index) => this.row(one, first + index, now));
    setHeight(above, first * rowPx);
    setHeight(below, (shown.length - last) * rowPx);
    show(this.body, above, ...rows, below);
    const drawn = this.body.querySelector<HTMLElement>('tr[data-key]')?.offsetHeight;
    if (drawn && Math.abs(drawn - rowPx) > 0.5) {
      this.rowPx = drawn;
      this.draw();
    }
  }

  private row(one: OfferingRow, index: number, now: number): HTMLElement {
    const marks = this.changes.get(one.key);
    const cells = this.host.columns.map((column) => {
      const was = marks?.get(column.field);
      const text = plain(column.text(one, now), LONGEST_CELL);
      const range = column.field === 'tokens_per_s' ? one.speed_range : '';
      const classes = [classOf(column), was !== undefined && 'conduit-changed'];
      return element(
        'td',
        {
          class: classes.filter(Boolean).join(' '),
          title: was === undefined ? range || text : `was ${was}`,
        },
        text,
      );
    });
    const { tools } = this.host;
    return element(
      'tr',
      {
        'data-key': one.key,
        'aria-rowindex': `${index + 2}`,
        'aria-selected': `${one.key === this.selected}`,
        class: one.fits === false ? 'conduit-out' : '',
      },
      ...cells,
      tools && element('td', { class: 'conduit-tools' }, ...tools(one)),
    );
  }

  private press(event: KeyboardEvent): void {
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / this.rowPx) - 2);
    const at = this.shown.findIndex((one) => one.key === this.selected);
    const targets: Readonly<Record<string, number>> = {
      ArrowDown: at + 1,
      ArrowUp: at - 1,
      PageDown: at + page,
      PageUp: at - page,
      Home: 0,
      End: this.shown.length - 1,
    };
    const target = targets[event.key];
    if (target !== undefined) {
      event.preventDefault();
      this.goTo(Math.max(0, Math.min(target, this.shown.length - 1)));
    } else if (event.key === 'Enter' && !(event.target instanceof HTMLButtonElement)) {
      event.preventDefault(); // else the same key presses the button that gets the focus now
      this.deploy();
    }
  }

  private goTo(index: number): void {
    const one = this.shown[index];
    if (!one) {
      return;
    }
    const { rowPx, scroller } = this;
    const top = index * rowPx;
    const room = scroller.clientHeight - (this.grid.tHead?.offsetHeight ?? 0) - rowPx;
    if (top < scroller.scrollTop) {
      scroller.scrollTop = top;
    } else if (top > scroller.scrollTop + room) {
      scroller.scrollTop = top - room;
    }
    this.pick(one.key);
  }

  private find(key: string): OfferingRow | undefined {
    return this.all.find((one) => one.key === key);
  }

  private pick(key: string): void {
    this.selected = key;
    this.draw();
    const one = this.find(key);
    if (one) {
      const text = `${one.gpu}, ${usd(one.usd_per_hour)}/h at ${one.provider}`;
      this.status.textContent = plain([text, verdict(one)].filter(Boolean).join(': '));
    }
  }

  private deploy(): void {
    if (!this.host.deploy || !this.offered?.can_deploy || !this.canAsk) {
      return;
    }
    const one = this.find(this.selected);
    let refusal: Problem | null = null;
    if (!one) {
      refusal = {
        message: 'No offering is selected.',
        hint: 'Click a row, or use the arrow keys.',
      };
    } else if (one.fits === false || !one.launchable) {
      refusal = { message: `It cannot be started here: ${verdict(one)}.` };
    } else {
      this.host.deploy(one);
    }
    show(this.refusal, refusal && problemView(refusal, 'alert'));
  }
}

/** A control with its name beside it. */
export function labelled(label: string, control: HTMLElement): HTMLLabelElement {
  return element('label', {}, element('span', {}, label), control);
}

/** Lets people choose among values and their names; what was chosen stays, where it is there. */
export function offer(
  control: HTMLSelectElement,
  choices: readonly (readonly [string, string])[],
): void {
  const before = control.value;
  const options = choices.map(([value, name]) => element('option', { value }, plain(name, 80)));
  control.replaceChildren(...options);
  control.value = choices.some(([value]) => value === before) ? before : (choices[0]?.[0] ?? '');
}

function classOf(column: Column): string {
  return column.isNumber ? 'conduit-number' : '';
}

function setHeight(row: HTMLTableRowElement, height: number): void {
  row.hidden = height === 0;
  const cell = row.cells[0];
  if (cell) {
    cell.style.height = `${height}px`;
  }
}

function newsOf(changed: number, fresh: number, gone: number): string {
  const counted = (number: number, what: string): string =>
    number ? `${number.toLocaleString('en-US')} ${what}` : '';
  return [counted(changed, 'changed'), counted(fresh, 'new'), counted(gone, 'gone')]
    .filter(Boolean)
    .join(', ');
}
