/** Answers of the server, and a clock that stands still, for tests. */

import type { Offering } from '../src/lab/api.js';
import { Store } from '../src/shared/store.js';
import type { Time } from '../src/shared/store.js';
import type { Deployment, FormOption, Overview } from '../src/shared/wire.js';

export const NOW = Date.parse('2026-11-27T12:00:00Z');

/** Text that would do harm if it became markup, or would change how other text is read. */
export const HOSTILE: readonly string[] = [
  '<script>window.harmed = true</script>',
  '<img src=x onerror="window.harmed = true">',
  '"><svg onload="window.harmed = true">',
  '<a href="javascript:window.harmed = true">press</a>',
  '<iframe src="data:text/html,<script>parent.harmed = true</script>"></iframe>',
  '\u001b[31mred\u001b[0m \u001b]8;;https://example.org\u0007link\u001b]8;;\u0007',
  'safe\u202egnp.exe\u202c and \u2066isolated\u2069',
  `${'long '.repeat(1_000_000)}<b>end</b>`,
  'nul\u0000bell\u0007 and \u009bC1',
];

export function deployment(changes: Partial<Deployment> = {}): Deployment {
  return {
    key: 'abcd1234',
    id: 'abcd1234',
    name: 'smollm2-abcd',
    provider: 'runpod',
    runtime: 'lmlite',
    status: 'running',
    device: 'L4',
    region: 'EU-RO-1',
    nodes: '1/1',
    models: { 'HuggingFaceTB/SmolLM2-135M-Instruct': 'ready' },
    usd_per_hour: 0.42,
    started_at: '2026-11-27T11:00:00Z',
    lease_until: '2026-11-27T12:38:00Z',
    detail: null,
    ...changes,
  };
}

export function offering(changes: Partial<Offering> = {}): Offering {
  return {
    rank: 1,
    provider: 'runpod',
    id: 'l4',
    region: null,
    accelerator: 'L4',
    count: 1,
    total_gib: 24,
    usd_per_hour: 0.42,
    usd_per_gib_hour: 0.0175,
    availability: 'high',
    availability_as_of: null,
    launchable: true,
    ...changes,
  };
}

export function overview(changes: Partial<Overview> = {}): Overview {
  const deployments = changes.deployments ?? [deployment()];
  return {
    revision: 'e.1',
    whole: true,
    deployments,
    live: deployments.map((one) => one.key),
    nodes: 1,
    usd_per_hour: 0.42,
    spent: Object.fromEntries(deployments.map((one) => [one.key, 1.26])),
    today_usd: 1.26,
    day_cap_usd: 10,
    as_of: '2026-11-27T12:00:00Z',
    looked_at: '2026-11-27T11:59:58Z',
    look_failures: [],
    actions: [],
    ...changes,
  };
}

export function option(name: string, changes: Partial<FormOption> = {}): FormOption {
  return {
    name,
    label: name.replaceAll('_', ' '),
    kind: 'text',
    choices: [],
    default: null,
    help: `What ${name} means.`,
    units: null,
    is_basic: false,
    ...changes,
  };
}

/** The options of a deployment that tests fill in. */
export const OPTIONS: readonly FormOption[] = [
  option('image'),
  option('hours', { kind: 'hours', units: 'h', is_basic: true }),
  option('provider', { default: 'local', is_basic: true }),
  option('dtype', { choices: ['auto', 'float16'], default: 'auto' }),
  option('enterprise', { kind: 'flag', default: false }),
];

/** Types into the field of an option, or chooses, or checks it. */
export function fill(root: ParentNode, name: string, value: string | boolean): void {
  const control = found(root, `.conduit-field [name=${name}]`) as HTMLInputElement;
  if (typeof value === 'boolean') {
    control.checked = value;
  } else {
    control.value = value;
  }
}

/** A clock that tests move, with the timers that wait for it. */
export class StoppedTime implements Time {
  at = NOW;
  private timers: { due: number; then: () => void }[] = [];

  now(): number {
    return this.at;
  }

  after(milliseconds: number, then: () => void): () => void {
    const timer = { due: this.at + milliseconds, then };
    this.timers.push(timer);
    return () => {
      this.timers = this.timers.filter((one) => one !== timer);
    };
  }

  get pauses(): number[] {
    return this.timers.map((timer) => timer.due - this.at);
  }

  pass(milliseconds: number): void {
    this.at += milliseconds;
    const due = this.timers.filter((timer) => timer.due <= this.at);
    this.timers = this.timers.filter((timer) => timer.due > this.at);
    for (const timer of due) {
      timer.then();
    }
  }
}

/** A store that has been told this overview. */
export function storeOf(told: Overview, time: Time = new StoppedTime()): Store {
  const store = new Store(time);
  store.take(told);
  return store;
}

/** Presses the button of that action, of the thing with that key where one is given. */
export function press(root: ParentNode, action: string, key?: string): void {
  const within = key === undefined ? root : found(root, `[data-key="${key}"]`);
  found(within, `[data-do="${action}"]`).click();
}

/** Lets everything that is promised by now come true. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) {
    await Promise.resolve();
  }
}

/** The element that a selector finds, which must be there. */
export function found(root: ParentNode, selector: string): HTMLElement {
  const element = root.querySelector<HTMLElement>(selector);
  if (!element) {
    throw new Error(`nothing is ${selector}`);
  }
  return element;
}
