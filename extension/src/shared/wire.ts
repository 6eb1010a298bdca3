/** What both wires carry, HTTP and a widget's comm: `conduit_nb/desk/wire.py` is the other side. */

/** Amounts are US dollars, times ISO 8601. */
export interface Deployment {
  /** Its id, or of a shared server `sidecar:` and its name. */
  readonly key: string;
  readonly id: string | null;
  readonly name: string;
  readonly provider: string;
  readonly runtime: string;
  readonly status: string;
  readonly device: string | null;
  readonly region: string | null;
  readonly nodes: string | null;
  readonly models: Readonly<Record<string, string>>;
  readonly usd_per_hour: number | null;
  readonly started_at: string | null;
  readonly lease_until: string | null;
  readonly detail: string | null;
}

/** What went wrong, and what to do. */
export interface Problem {
  readonly message: string;
  readonly hint?: string | null;
  /** The option or argument at fault. */
  readonly param?: string | null;
}

/** One option of a deployment, as a form draws it. */
export interface FormOption {
  readonly name: string;
  readonly label: string;
  readonly kind: OptionKind;
  /** Where there are any, the value is one of them. */
  readonly choices: readonly string[];
  /** What holds where it is left out; null where that is nothing. */
  readonly default: string | number | boolean | null;
  readonly help: string;
  readonly units: string | null;
  /** Basic options come first. */
  readonly is_basic: boolean;
}

/** What a value is: `conduit_nb/options.py` describes each. */
export type OptionKind =
  | 'text'
  | 'texts'
  | 'names'
  | 'count'
  | 'whole'
  | 'number'
  | 'usd'
  | 'hours'
  | 'seconds'
  | 'flag'
  | 'switch'
  | 'range'
  | 'command';

/** Something long that was begun. */
export interface Action {
  readonly id: string;
  readonly word: string;
  readonly target: string;
  readonly state: 'running' | 'done' | 'failed';
  readonly error: Problem | null;
  readonly began_at: string;
  readonly ended_at: string | null;
}

/** What runs. With `whole` it is everything, else `deployments` are those that have changed. */
export interface Overview {
  readonly revision: string;
  readonly whole: boolean;
  readonly deployments: readonly Deployment[];
  /** The keys of everything that is there, in order. */
  readonly live: readonly string[];
  readonly nodes: number;
  readonly usd_per_hour: number;
  /** What each has cost by `as_of`, by key; it grows, and is no change. */
  readonly spent: Readonly<Record<string, number>>;
  readonly today_usd: number;
  readonly day_cap_usd: number;
  /** When the state was read, and when the providers were last asked, by the server's clock. */
  readonly as_of: string;
  readonly looked_at: string | null;
  readonly look_failures: readonly string[];
  readonly actions: readonly Action[];
  /** Endpoints by key; panels are told them, the sidebar is not. */
  readonly urls?: Readonly<Record<string, string>>;
}
