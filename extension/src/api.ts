/** The only place that talks to the server: its addresses, and what it answers. */

import { ServerConnection } from '@jupyterlab/services';

export interface Deployment {
  /** Its id, or `sidecar:` and its name. */
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

export interface Failure {
  readonly message: string;
  readonly hint: string | null;
}

export interface Action {
  readonly id: string;
  readonly word: string;
  readonly target: string;
  readonly state: 'running' | 'done' | 'failed';
  readonly error: Failure | null;
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
}

export interface Offering {
  readonly rank: number | null;
  readonly provider: string;
  readonly id: string;
  readonly region: string | null;
  readonly accelerator: string | null;
  readonly count: number;
  readonly total_gib: number;
  readonly usd_per_hour: number;
  readonly usd_per_gib_hour: number;
  readonly availability: string;
  readonly availability_as_of: string | null;
  readonly launchable: boolean;
}

export interface Offerings {
  readonly offerings: readonly Offering[];
  readonly failures: readonly { readonly provider: string; readonly message: string }[];
}

/** A deployment to be started, in the words of `%conduit deploy`. */
export interface DeployRequest {
  readonly models: readonly string[];
  readonly provider?: string;
  readonly gpu?: string;
  readonly max_usd?: number;
}

export type Word = 'start' | 'stop' | 'restart' | 'terminate' | 'extend';

/** An answer that is no success. `status` 0: there was none. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly hint: string | null = null,
  ) {
    super(message);
    this.name = 'ApiError';
  }
}

export type Request = (
  url: string,
  init: RequestInit,
  settings: ServerConnection.ISettings,
) => Promise<Response>;

/** What the server is asked and told; `request` knows how to be let in. */
export class Api {
  constructor(
    private readonly settings: ServerConnection.ISettings,
    private readonly request: Request,
  ) {}

  overview(since: string | null): Promise<Overview> {
    return this.ask<Overview>(
      'GET',
      since ? `overview?since=${encodeURIComponent(since)}` : 'overview',
    );
  }

  offerings(): Promise<Offerings> {
    return this.ask<Offerings>('GET', 'offerings');
  }

  async logs(key: string, tail = 200): Promise<readonly string[]> {
    const path = `deployments/${encodeURIComponent(key)}/logs?tail=${tail}`;
    return (await this.ask<{ lines: readonly string[] }>('GET', path)).lines;
  }

  act(key: string, word: Word, body: { hours?: number } = {}): Promise<Action> {
    return this.ask<Action>('POST', `deployments/${encodeURIComponent(key)}/${word}`, body);
  }

  deploy(request: DeployRequest): Promise<Action> {
    return this.ask<Action>('POST', 'deployments', request);
  }

  /** Ends everything, so that nothing costs any more. */
  stopAll(): Promise<Action> {
    return this.ask<Action>('POST', 'stop-all', {});
  }

  private async ask<T>(method: string, path: string, body?: object): Promise<T> {
    const init: RequestInit = { method, cache: 'no-store' };
    if (body !== undefined) {
      init.body = JSON.stringify(body);
      init.headers = { 'Content-Type': 'application/json' };
    }
    let answer: Response;
    try {
      answer = await this.request(
        `${this.settings.baseUrl}conduit/api/${path}`,
        init,
        this.settings,
      );
    } catch (error) {
      throw new ApiError(0, error instanceof Error ? error.message : String(error));
    }
    const text = await answer.text();
    const told = parsed(text);
    if (!answer.ok) {
      throw toError(answer.status, told);
    }
    if (told === undefined) {
      throw new ApiError(answer.status, 'The server answered something that is no JSON.');
    }
    return told as T;
  }
}

/** The server that JupyterLab is of, with its token and its XSRF cookie. */
export function connect(settings: ServerConnection.ISettings): Api {
  return new Api(settings, ServerConnection.makeRequest);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** Reads an error of ours, or of Jupyter's own handlers. */
function toError(status: number, told: unknown): ApiError {
  const root = fields(told);
  const ours = fields(root['error']);
  const said = ours['message'] ?? root['message'];
  const hint = ours['hint'];
  if (status === 404 && said === undefined) {
    return new ApiError(
      status,
      'The Jupyter server does not know Conduit.',
      'Install conduit-nb where JupyterLab runs, and start it again.',
    );
  }
  return new ApiError(
    status,
    typeof said === 'string' && said ? said : `The server answered ${status}.`,
    typeof hint === 'string' ? hint : null,
  );
}

function fields(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
