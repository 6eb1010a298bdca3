/** What is known of all that runs: merged by revision, with the age of it all. */

import type { Action, Deployment, Overview } from './wire.js';

/** What is known, and since when. */
export interface State {
  readonly deployments: readonly Deployment[];
  readonly nodes: number;
  readonly usdPerHour: number;
  readonly spent: Readonly<Record<string, number>>;
  /** Endpoints by key, where they are told. */
  readonly urls: Readonly<Record<string, string>>;
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
  /** Why nothing newer comes; what is shown is old then. */
  readonly problem: string | null;
}

export const NOTHING: State = {
  deployments: [],
  nodes: 0,
  usdPerHour: 0,
  spent: {},
  urls: {},
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

/** Takes overviews as they come and tells what is known by now; where they come from is not its. */
export class Store {
  private told: State = NOTHING;
  private known = new Map<string, Deployment>();
  private readonly listeners = new Set<(state: State) => void>();

  /** From where on the next overview may hold changes alone; null where it must be whole. */
  revision: string | null = null;

  constructor(private readonly time: Pick<Time, 'now'> = REAL_TIME) {}

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

  /** Marks what is known as old, with the reason why nothing newer comes. */
  lose(problem: string): void {
    this.tell({ ...this.told, problem });
  }

  take(overview: Overview): void {
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
      urls: overview.urls ?? {},
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

/** Whether what is shown is what was, because no news comes. */
export function isStale(state: State): boolean {
  return state.problem !== null;
}
