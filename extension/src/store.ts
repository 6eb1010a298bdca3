/** What the panels show: asked again and again, merged by revision, with the age of it all. */

import type { Action, Api, Deployment, Overview } from './api.js';

/** What is known, and since when. */
export interface State {
  readonly deployments: readonly Deployment[];
  readonly nodes: number;
  readonly usdPerHour: number;
  readonly spent: Readonly<Record<string, number>>;
  readonly todayUsd: number;
  readonly dayCapUsd: number;
  readonly actions: readonly Action[];
  readonly lookFailures: readonly string[];
  /** When the answer came, by this clock; null while there was none. */
  readonly receivedAt: number | null;
  /** Milliseconds that the providers' word was old then; null where none had to be asked. */
  readonly lookAge: number | null;
  /** What spent amounts are told as of, by the server's clock. */
  readonly asOf: number | null;
  /** Why the last question had no answer; what is shown is old then. */
  readonly problem: string | null;
}

export const NOTHING: State = {
  deployments: [],
  nodes: 0,
  usdPerHour: 0,
  spent: {},
  todayUsd: 0,
  dayCapUsd: 0,
  actions: [],
  lookFailures: [],
  receivedAt: null,
  lookAge: null,
  asOf: null,
  problem: null,
};

/** The clock and the timer, so that tests need not wait. */
export interface Time {
  now(): number;
  after(milliseconds: number, then: () => void): () => void;
}

export const REAL_TIME: Time = {
  now: () => Date.now(),
  after: (milliseconds, then) => {
    const timer = setTimeout(then, milliseconds);
    return () => {
      clearTimeout(timer);
    };
  },
};

/** What the settings say too: a change is told within twice this and what an answer takes. */
export const DEFAULT_REFRESH_S = 2;

const LONGEST_PAUSE_MS = 30_000;
/** A server that answers slowly is left in peace for so long at least. */
const SHORTEST_PAUSE_MS = 500;

export class Store {
  private told: State = NOTHING;
  private revision: string | null = null;
  private known = new Map<string, Deployment>();
  private readonly listeners = new Set<(state: State) => void>();
  private cancelTimer: (() => void) | null = null;
  private asking: Promise<void> | null = null;
  private failures = 0;
  private beganAt = 0;
  private isRunning = false;

  constructor(
    private readonly api: Pick<Api, 'overview'>,
    private everyMs: number,
    private readonly time: Time = REAL_TIME,
  ) {}

  get state(): State {
    return this.told;
  }

  now(): number {
    return this.time.now();
  }

  /** Hears of every new state; call what is returned to end it. */
  subscribe(listener: (state: State) => void): () => void {
    this.listeners.add(listener);
    return () => {
      this.listeners.delete(listener);
    };
  }

  start(): void {
    if (!this.isRunning) {
      this.isRunning = true;
      void this.refresh();
    }
  }

  stop(): void {
    this.isRunning = false;
    this.cancelTimer?.();
    this.cancelTimer = null;
  }

  /** Changes how often it asks, from now on. */
  pace(everyMs: number): void {
    this.everyMs = everyMs;
    if (this.isRunning) {
      void this.refresh();
    }
  }

  /** Asks now. Who calls while a question is under way gets the next answer as well. */
  refresh(): Promise<void> {
    this.cancelTimer?.();
    this.cancelTimer = null;
    this.asking ??= this.ask().finally(() => {
      this.asking = null;
      this.plan();
    });
    return this.asking;
  }

  /** Asks after what is under way: for who has just changed something. */
  async refreshAfterChange(): Promise<void> {
    await this.asking;
    await this.refresh();
  }

  private plan(): void {
    if (!this.isRunning || this.cancelTimer) {
      return;
    }
    const pause = Math.min(this.everyMs * 2 ** Math.min(this.failures, 5), LONGEST_PAUSE_MS);
    // From question to question, so that a slow answer does not make the next one later.
    const left = Math.max(pause, this.everyMs) - (this.time.now() - this.beganAt);
    this.cancelTimer = this.time.after(Math.max(left, SHORTEST_PAUSE_MS), () => {
      this.cancelTimer = null;
      void this.refresh();
    });
  }

  private async ask(): Promise<void> {
    this.beganAt = this.time.now();
    try {
      const overview = await this.api.overview(this.revision);
      this.failures = 0;
      this.take(overview);
    } catch (error) {
      this.failures += 1;
      this.tell({ ...this.told, problem: error instanceof Error ? error.message : String(error) });
    }
  }

  private take(overview: Overview): void {
    if (overview.whole) {
      this.known = new Map();
    }
    for (const deployment of overview.deployments) {
      this.known.set(deployment.key, deployment);
    }
    const live = overview.live.flatMap((key) => this.known.get(key) ?? []);
    if (live.length !== overview.live.length) {
      this.revision = null; // something was missed: the next answer is whole
    } else {
      this.revision = overview.revision;
      this.known = new Map(live.map((deployment) => [deployment.key, deployment]));
    }
    const asOf = Date.parse(overview.as_of);
    this.tell({
      deployments: live,
      nodes: overview.nodes,
      usdPerHour: overview.usd_per_hour,
      spent: overview.spent,
      todayUsd: overview.today_usd,
      dayCapUsd: overview.day_cap_usd,
      actions: overview.actions,
      lookFailures: overview.look_failures,
      receivedAt: this.time.now(),
      lookAge: overview.looked_at === null ? null : asOf - Date.parse(overview.looked_at),
      asOf,
      problem: null,
    });
  }

  private tell(state: State): void {
    this.told = state;
    for (const listener of this.listeners) {
      listener(state);
    }
  }
}

/** How old, in milliseconds, the oldest of what is shown is; null while nothing is known. */
export function ageOf(state: State, now: number): number | null {
  return state.receivedAt === null ? null : now - state.receivedAt + (state.lookAge ?? 0);
}

/** What one deployment has cost by now, if nothing has changed since it was told. */
export function spentBy(state: State, deployment: Deployment, now: number): number | null {
  const spent = state.spent[deployment.key];
  if (spent === undefined || state.receivedAt === null) {
    return null;
  }
  const hours = Math.max(now - state.receivedAt, 0) / 3_600_000;
  return spent + hours * (deployment.usd_per_hour ?? 0);
}

/** What all costs by now today, if nothing has changed since it was told. */
export function todayBy(state: State, now: number): number {
  const hours = state.receivedAt === null ? 0 : Math.max(now - state.receivedAt, 0) / 3_600_000;
  return state.todayUsd + hours * state.usdPerHour;
}

/** Milliseconds until a moment of the server's clock, by what has passed on this one since. */
export function untilMoment(state: State, moment: string, now: number): number | null {
  if (state.asOf === null || state.receivedAt === null) {
    return null;
  }
  return Date.parse(moment) - state.asOf - (now - state.receivedAt);
}

/** Whether what is shown is what was, because the server does not answer. */
export function isStale(state: State): boolean {
  return state.problem !== null;
}
