/** The kernel's end of a widget, and what it says of offerings, for tests of panels. */

import { expect } from 'vitest';

export const COLUMNS = [
  'key',
  'fits',
  'why',
  'gpu',
  'count',
  'gib',
  'usd_per_hour',
  'usd_per_gib',
  'usd_per_mtok',
  'tokens_per_s',
  'speed_range',
  'availability',
  'as_of',
  'region',
  'provider',
  'launchable',
];

type Listener = (...told: never[]) => void;

/** The kernel's end of a widget. */
export class Kernel {
  readonly said: Record<string, unknown>[] = [];
  readonly el = document.createElement('div');
  private readonly listeners = new Map<string, Listener[]>();

  readonly model = {
    get: (): string => '2026-11-27T14:02:00Z',
    send: (message: object): void => void this.said.push({ ...message }),
    on: (name: string, listener: Listener): void => {
      this.listeners.set(name, [...(this.listeners.get(name) ?? []), listener]);
    },
    off: (name: string, listener: Listener): void => {
      const left = (this.listeners.get(name) ?? []).filter((one) => one !== listener);
      this.listeners.set(name, left);
    },
  };

  /** What was asked for, without the name of the view and without that it is seen. */
  asked(): Record<string, unknown>[] {
    const asked = this.said.filter(({ kind }) => kind !== 'seen' && kind !== 'gone');
    return asked.map((message) => {
      const { view, ...rest } = message;
      expect(view).toBe(this.said[0]?.['view']);
      return rest;
    });
  }

  constructor() {
    document.body.replaceChildren(this.el);
  }

  tell(kind: string, content: object): void {
    this.fire('msg:custom', { kind, ...content });
  }

  fire(name: string, told?: unknown): void {
    for (const listener of this.listeners.get(name) ?? []) {
      listener(told as never);
    }
  }

  find(selector: string): HTMLElement {
    const found = this.el.querySelector<HTMLElement>(selector);
    if (!found) {
      throw new Error(`there is no ${selector}`);
    }
    return found;
  }

  press(name: RegExp): void {
    const buttons = [...this.el.querySelectorAll('button')];
    const found = buttons.find((one) =>
      name.test(one.getAttribute('aria-label') ?? one.textContent),
    );
    if (!found) {
      throw new Error(`there is no button ${String(name)}`);
    }
    found.click();
  }

  rows(column: number): string[] {
    const rows = [...this.el.querySelectorAll('tr[data-key]')];
    return rows.map((row) => row.children[column]?.textContent ?? '');
  }
}

export function row(key: string, usd: number, rest: Record<string, unknown> = {}): unknown[] {
  const one: Record<string, unknown> = {
    key,
    fits: true,
    why: '',
    gpu: `GPU ${key}`,
    count: 1,
    gib: 22,
    usd_per_hour: usd,
    usd_per_gib: usd / 22,
    usd_per_mtok: null,
    tokens_per_s: null,
    speed_range: '',
    availability: 'high',
    as_of: null,
    region: 'EU',
    provider: 'runpod',
    launchable: true,
    ...rest,
  };
  return COLUMNS.map((name) => one[name]);
}

export function table(rows: unknown[][]): object {
  return {
    title: 'offerings',
    at: '2026-11-27T14:02:00Z',
    has_plan: true,
    can_deploy: true,
    columns: COLUMNS,
    rows,
    models: ['owner/m'],
    failures: [],
  };
}
