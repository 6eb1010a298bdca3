/** The only place that talks to the server: its addresses, and what it answers. */

import { ServerConnection } from '@jupyterlab/services';

import type { Client, Verb } from '../shared/client.js';
import { textOf } from '../shared/problem.js';
import { REAL_TIME } from '../shared/store.js';
import type { Time } from '../shared/store.js';
import type { Action, FormOption, Overview } from '../shared/wire.js';

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

/** A deployment to be started: models, and options of `GET options` by name, as texts or typed. */
export interface DeployRequest {
  readonly models: readonly string[];
  readonly provider?: string;
  readonly max_usd?: number | string;
  readonly [option: string]: unknown;
}

const LOG_LINES = 200;
/** A log that is open is read again after so long. */
const LOGS_EVERY_MS = 5_000;

/** An answer that is no success. `status` 0: there was none. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly hint: string | null = null,
    readonly param: string | null = null,
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
export class HttpClient implements Client {
  constructor(
    private readonly settings: ServerConnection.ISettings,
    private readonly request: Request,
    private readonly time: Time = REAL_TIME,
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

  async options(): Promise<readonly FormOption[]> {
    return (await this.ask<{ options: readonly FormOption[] }>('GET', 'options')).options;
  }

  async logs(key: string, tail = LOG_LINES): Promise<readonly string[]> {
    const path = `deployments/${encodeURIComponent(key)}/logs?tail=${tail}`;
    return (await this.ask<{ lines: readonly string[] }>('GET', path)).lines;
  }

  /** Reads the log again and again; what keeps it from being read stands in its place. */
  watchLog(key: string, heard: (lines: readonly string[]) => void): () => void {
    let isOver = false;
    let cancel = (): void => undefined;
    const read = async (): Promise<void> => {
      const lines = await this.logs(key).catch((error: unknown) => [wordsOf(error)]);
      // It may have been closed meanwhile.
      if (!isOver) {
        heard(lines);
        cancel = this.time.after(LOGS_EVERY_MS, () => void read());
      }
    };
    void read();
    return () => {
      isOver = true;
      cancel();
    };
  }

  act(key: string, verb: Verb): Promise<Action> {
    return this.ask<Action>('POST', `deployments/${encodeURIComponent(key)}/${verb}`, {});
  }

  deploy(request: DeployRequest): Promise<Action> {
    return this.ask<Action>('POST', 'deployments', request);
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
export function connect(settings: ServerConnection.ISettings): HttpClient {
  return new HttpClient(settings, ServerConnection.makeRequest);
}

/** What an error says, and what to do. */
export function wordsOf(error: unknown): string {
  if (error instanceof ApiError) {
    return textOf(error);
  }
  return textOf({ message: error instanceof Error ? error.message : String(error) });
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
  const param = ours['param'];
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
    typeof param === 'string' ? param : null,
  );
}

function fields(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
