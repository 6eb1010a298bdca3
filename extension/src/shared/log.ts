/** The logs that people have opened, and how one is drawn. */

import type { Client } from './client.js';
import { element } from './dom.js';
import { plain } from './text.js';

interface OpenLog {
  lines: readonly string[] | null;
  readonly end: () => void;
}

/** Which logs are open, with what has come of each. */
export class Logs {
  private readonly opened = new Map<string, OpenLog>();

  constructor(
    private readonly client: Pick<Client, 'watchLog'>,
    private readonly changed: () => void,
  ) {}

  isOpen(key: string): boolean {
    return this.opened.has(key);
  }

  open(key: string): void {
    if (this.opened.has(key)) {
      return;
    }
    const end = this.client.watchLog(key, (lines) => {
      const log = this.opened.get(key);
      if (log) {
        log.lines = lines;
        this.changed();
      }
    });
    this.opened.set(key, { lines: null, end });
  }

  close(key: string): void {
    this.opened.get(key)?.end();
    this.opened.delete(key);
  }

  /** Closes those whose deployments are gone. */
  keep(keys: ReadonlySet<string>): void {
    for (const key of this.opened.keys()) {
      if (!keys.has(key)) {
        this.close(key);
      }
    }
  }

  /** The log of a deployment that is called `name`; null where it is not open. */
  view(key: string, name: string): HTMLElement | null {
    const log = this.opened.get(key);
    if (!log) {
      return null;
    }
    const text = log.lines?.map((line) => plain(line)).join('\n');
    return element(
      'pre',
      { class: 'conduit-log', tabindex: '0', 'aria-label': `Log of ${name}` },
      text === undefined ? 'Reading …' : text || 'The log is empty.',
    );
  }
}

/** Draws, and leaves each log at its end, but for those that were scrolled away from it. */
export function keepingEnds(root: Element, draw: () => void): void {
  const logs = (): HTMLElement[] => [...root.querySelectorAll<HTMLElement>('.conduit-log')];
  const scrolled = logs().filter(
    (log) => log.scrollTop + log.clientHeight < log.scrollHeight - 4, // pixels may be fractions
  );
  draw();
  for (const log of logs()) {
    if (!scrolled.includes(log)) {
      log.scrollTop = log.scrollHeight;
    }
  }
}
