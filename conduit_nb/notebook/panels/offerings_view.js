/**
 * A table of offerings that sorts, filters and searches by itself, and draws only the rows that are
 * in sight: ten thousand cost what forty cost.
 *
 * @typedef {import('./offering_rows.js').Offering} Offering
 * @typedef {import('./offering_rows.js').Column} Column
 * @typedef {import('./offering_rows.js').Field} Field
 *
 * @typedef {object} Table
 * @property {string} title
 * @property {string} at
 * @property {boolean} has_plan
 * @property {boolean} can_deploy
 * @property {string[]} columns
 * @property {unknown[][]} rows
 * @property {(import('./elements.js').Problem & { provider: string })[]} failures
 */

import {
  button,
  clock,
  confirm,
  element,
  fill,
  labelled,
  named,
  offer,
  problemLine,
  usd,
} from './elements.js';
import { COLUMNS, WATCHED, compare, offering, verdict } from './offering_rows.js';

/** Rows above and below what is in sight. */
const MARGIN = 8;
/** Rows that are drawn at most, however high the table has become. */
const MOST_ROWS = 200;
/** Until a row is drawn, its height is guessed. */
const ROW_PX = 26;

/**
 * Draws an empty table into `place`.
 *
 * @param {Element} place
 * @param {{ deploy: (key: string) => void, refresh: () => void }} asks What the table asks for.
 */
export function offeringsView(place, asks) {
  /** @type {Offering[]} */ let all = [];
  /** @type {Offering[]} */ let shown = [];
  /** @type {Map<string, Map<Field, string>>} */ let changes = new Map();
  /** @type {Table | null} */ let table = null;
  /** @type {{ field: Field, isDown: boolean } | null} */ let order = null;
  let selected = '';
  let rowPx = ROW_PX;
  let news = '';
  let canAsk = true;

  const title = element('strong', { class: 'conduit-title' });
  const search = element('input', { type: 'search', placeholder: 'GPU, region, provider' });
  const provider = element('select');
  const onlyFits = element('input', { type: 'checkbox' });
  const onlyHere = element('input', { type: 'checkbox' });
  const deploy = button('Deploy …', askDeploy, 'Deploy on the selected offering');
  const refresh = button('Refresh', asks.refresh, 'Ask every provider again');
  const question = element('div');
  const status = element('p', { class: 'conduit-status', role: 'status' });
  const problems = element('div');
  const heads = COLUMNS.map(head);
  const above = element(
    'tr',
    { 'aria-hidden': 'true' },
    element('td', { colspan: `${COLUMNS.length}` }),
  );
  const below = element(
    'tr',
    { 'aria-hidden': 'true' },
    element('td', { colspan: `${COLUMNS.length}` }),
  );
  const body = element('tbody', {}, above, below);
  const grid = element(
    'table',
    { role: 'grid', 'aria-label': 'Offerings', tabindex: '0' },
    element('thead', {}, element('tr', { 'aria-rowindex': '1' }, ...heads)),
    body,
  );
  const scroller = element('div', { class: 'conduit-scroller' }, grid);
  const bar = element(
    'div',
    { class: 'conduit-bar', role: 'group', 'aria-label': 'Filter and act' },
    labelled('search', search),
    labelled('provider', provider),
    labelled('only what fits', onlyFits),
    labelled('only what can be started', onlyHere),
    refresh,
    deploy,
  );
  place.append(title, bar, question, scroller, status, problems);

  search.addEventListener('input', arrange);
  for (const control of [provider, onlyFits, onlyHere]) {
    control.addEventListener('change', arrange);
  }
  scroller.addEventListener('scroll', draw);
  grid.addEventListener('keydown', pressed);
  body.addEventListener('click', (event) => {
    const row = event.target instanceof Element ? event.target.closest('tr[data-key]') : null;
    pick(row?.getAttribute('data-key') ?? selected);
  });
  body.addEventListener('dblclick', askDeploy);
  arrange();

  return {
    /** @param {Table} told */
    show(told) {
      const before = new Map(all.map((one) => [one.key, one]));
      all = told.rows.map((row) => offering(told.columns, row));
      changes = new Map();
      let fresh = 0;
      for (const one of all) {
        const old = before.get(one.key);
        before.delete(one.key);
        if (!old) {
          fresh += 1;
          continue;
        }
        for (const field of WATCHED) {
          if (old[field] !== one[field]) {
            const marks = changes.get(one.key) ?? new Map();
            changes.set(one.key, marks.set(field, `${old[field]}`));
          }
        }
      }
      news = table ? newsOf(changes.size, fresh, before.size) : '';
      table = told;
      title.textContent = told.title;
      deploy.hidden = !told.can_deploy;
      for (const control of [onlyFits, onlyHere]) {
        /** @type {HTMLElement} */ (control.parentElement).hidden =
          !told.has_plan && control === onlyFits;
      }
      offerProviders();
      fill(
        problems,
        ...told.failures.map((one) =>
          problemLine({ ...one, message: `${one.provider}: ${one.message}` }),
        ),
      );
      arrange();
    },
    /** Says that nothing of it can be relied on or done any more, or that it can again. @param {boolean} isAlive */
    setAlive(isAlive) {
      canAsk = isAlive;
      deploy.disabled = !isAlive;
      refresh.disabled = !isAlive;
      if (!isAlive) {
        fill(question); // what it offers to do cannot be done now
      }
      say();
    },
    /** How many rows pass the filters. */
    count: () => shown.length,
  };

  /** @param {Column} column */
  function head(column) {
    const cell = element('th', {
      scope: 'col',
      'aria-sort': 'none',
      class: column.isNumber ? 'conduit-number' : '',
    });
    cell.append(button(column.head, () => sortBy(column.field), `${column.about}: sort`));
    return cell;
  }

  /** @param {Field} field */
  function sortBy(field) {
    const isSame = order?.field === field;
    order = isSame && order?.isDown ? null : { field, isDown: isSame };
    COLUMNS.forEach((column, index) => {
      const sorted =
        order?.field === column.field ? (order.isDown ? 'descending' : 'ascending') : 'none';
      heads[index]?.setAttribute('aria-sort', sorted);
    });
    arrange();
  }

  function offerProviders() {
    const names = [...new Set(all.map((one) => one.provider))].sort();
    offer(provider, [['', 'all'], ...names.map(named)]);
  }

  /** Sorts and filters, then draws. */
  function arrange() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    shown = all.filter(
      (one) =>
        (!provider.value || one.provider === provider.value) &&
        (!onlyFits.checked || one.fits === true) &&
        (!onlyHere.checked || one.launchable) &&
        words.every((word) =>
          `${one.gpu} ${one.region} ${one.provider}`.toLowerCase().includes(word),
        ),
    );
    if (order) {
      const { field, isDown } = order;
      shown.sort((one, other) => compare(one[field], other[field], isDown));
    }
    grid.setAttribute('aria-rowcount', `${shown.length + 1}`);
    say();
    draw();
  }

  function say() {
    if (!table) {
      status.textContent = canAsk
        ? 'Asking every provider …'
        : 'Without a kernel nothing is asked; what was offered stands below, where it was saved.';
      return;
    }
    const hidden = all.length - shown.length;
    const parts = [
      hidden
        ? `${shown.length.toLocaleString()} of ${all.length.toLocaleString()} offerings`
        : `${all.length.toLocaleString()} offering${all.length === 1 ? '' : 's'}`,
      `as of ${clock(table.at)}`,
      news,
    ];
    status.textContent = parts.filter(Boolean).join('; ');
  }

  /** Draws the rows in sight. */
  function draw() {
    const first = Math.max(0, Math.floor(scroller.scrollTop / rowPx) - MARGIN);
    const inSight = Math.ceil((scroller.clientHeight || 10 * ROW_PX) / rowPx) + 2 * MARGIN;
    const last = Math.min(shown.length, first + Math.min(inSight, MOST_ROWS));
    const now = Date.now();
    const rows = shown.slice(first, last).map((one, index) => row(one, first + index, now));
    above.hidden = first === 0;
    below.hidden = last === shown.length;
    cellOf(above).style.height = `${first * rowPx}px`;
    cellOf(below).style.height = `${(shown.length - last) * rowPx}px`;
    body.replaceChildren(above, ...rows, below);
    const drawn = rows[0]?.offsetHeight;
    if (drawn && Math.abs(drawn - rowPx) > 0.5) {
      rowPx = drawn;
      draw();
    }
  }

  /**
   * @param {Offering} one
   * @param {number} index
   * @param {number} now
   */
  function row(one, index, now) {
    const marks = changes.get(one.key);
    const cells = COLUMNS.map((column) => {
      const was = marks?.get(column.field);
      const text = column.text(one, now);
      return element(
        'td',
        {
          class: [column.isNumber && 'conduit-number', was !== undefined && 'conduit-changed']
            .filter(Boolean)
            .join(' '),
          title:
            was !== undefined
              ? `was ${was}`
              : column.field === 'tokens_per_s' && one.speed_range
                ? one.speed_range
                : text,
        },
        text,
      );
    });
    return element(
      'tr',
      {
        'data-key': one.key,
        'aria-rowindex': `${index + 2}`,
        'aria-selected': `${one.key === selected}`,
        class: one.fits === false ? 'conduit-out' : '',
      },
      ...cells,
    );
  }

  /** @param {KeyboardEvent} event */
  function pressed(event) {
    const page = Math.max(1, Math.floor(scroller.clientHeight / rowPx) - 2);
    const at = shown.findIndex((one) => one.key === selected);
    /** @type {Record<string, number>} */
    const targets = {
      ArrowDown: at + 1,
      ArrowUp: Math.max(0, at - 1),
      PageDown: at + page,
      PageUp: Math.max(0, at - page),
      Home: 0,
      End: shown.length - 1,
    };
    const target = targets[event.key];
    if (target !== undefined) {
      event.preventDefault();
      goTo(Math.min(target, shown.length - 1));
    } else if (event.key === 'Enter' && !(event.target instanceof HTMLButtonElement)) {
      event.preventDefault(); // else the same key presses the button that gets the focus now
      askDeploy();
    }
  }

  /** @param {number} index */
  function goTo(index) {
    const one = shown[index];
    if (!one) {
      return;
    }
    const head = /** @type {HTMLElement} */ (grid.tHead).offsetHeight;
    const top = index * rowPx;
    const room = scroller.clientHeight - head - rowPx;
    if (top < scroller.scrollTop) {
      scroller.scrollTop = top;
    } else if (top > scroller.scrollTop + room) {
      scroller.scrollTop = top - room;
    }
    pick(one.key);
  }

  /** @param {string} key */
  function pick(key) {
    selected = key;
    draw();
    const one = all.find((other) => other.key === key);
    if (one) {
      status.textContent = `${one.gpu}, ${usd(one.usd_per_hour)}/h at ${one.provider}: ${verdict(one)}`;
    }
  }

  function askDeploy() {
    const one = all.find((other) => other.key === selected);
    if (!table?.can_deploy || deploy.disabled) {
      return;
    }
    if (!one) {
      fill(
        question,
        problemLine({
          message: 'No offering is selected.',
          hint: 'Click a row, or use the arrow keys.',
        }),
      );
      return;
    }
    if (one.fits === false || !one.launchable) {
      fill(question, problemLine({ message: `It cannot be started here: ${verdict(one)}.` }));
      return;
    }
    const where = `${one.count > 1 ? `${one.count} x ` : ''}${one.gpu} at ${one.provider}${one.region ? `, ${one.region}` : ''}`;
    confirm(
      question,
      `Deploy on ${where} for ${usd(one.usd_per_hour)}/h?`,
      'Deploy',
      () => asks.deploy(one.key),
      () => grid.focus(),
    );
  }
}

/**
 * @param {number} changed
 * @param {number} fresh
 * @param {number} gone
 */
function newsOf(changed, fresh, gone) {
  return [counted(changed, 'changed'), counted(fresh, 'new'), counted(gone, 'gone')]
    .filter(Boolean)
    .join(', ');
}

/**
 * @param {number} count
 * @param {string} what
 */
function counted(count, what) {
  return count ? `${count.toLocaleString()} ${what}` : '';
}

/** @param {HTMLTableRowElement} row */
function cellOf(row) {
  return /** @type {HTMLTableCellElement} */ (row.cells[0]);
}
