/** What people do: asks where it cannot be undone, calls the server, tells how it went. */

import { ALL } from '../shared/client.js';
import type { Client, Verb } from '../shared/client.js';
import type { Ask } from '../shared/confirm.js';
import { textOf } from '../shared/problem.js';
import type { Store } from '../shared/store.js';
import { plain } from '../shared/text.js';
import { carryOut } from '../shared/verbs.js';
import type { Action, Deployment } from '../shared/wire.js';
import { usd } from '../shared/words.js';
import { wordsOf } from './api.js';
import type { DeployRequest, HttpClient, Offering, Offerings } from './api.js';
import { cellFor, cellForOffering } from './cells.js';
import type { Poller } from './poller.js';

/** What JupyterLab does for us. */
export interface Lab {
  readonly ask: Ask;
  tell(message: string, kind: 'info' | 'success' | 'error'): void;
  /** Puts a cell into the notebook in front; false where there is none. */
  insertCell(text: string): Promise<boolean>;
  copy(text: string): Promise<void>;
}

const DOING: Readonly<Record<Verb, string>> = {
  start: 'Starting',
  stop: 'Stopping',
  restart: 'Restarting',
  terminate: 'Terminating',
  extend: 'Extending the lease of',
};

/** The client of JupyterLab's views: what is asked for through it is told to the user as well. */
export class Controller implements Client {
  private readonly told = new Set<string>();
  private readonly mine = new Set<string>();

  /** US dollars that a deployment started from here may spend; null is the server's own cap. */
  maxUsd: number | null = null;

  constructor(
    private readonly http: Pick<HttpClient, 'act' | 'deploy' | 'offerings' | 'watchLog'>,
    readonly store: Store,
    private readonly poller: Pick<Poller, 'refresh' | 'refreshAfterChange'>,
    private readonly lab: Lab,
  ) {
    store.subscribe((state) => this.report(state.actions));
  }

  get ask(): Ask {
    return this.lab.ask;
  }

  refresh(): Promise<void> {
    return this.poller.refresh();
  }

  async terminateAll(): Promise<void> {
    const { state } = this.store;
    if (state.deployments.length === 0) {
      this.lab.tell('Nothing runs.', 'info');
    }
    await carryOut(this, this.ask, state, ALL, 'terminate');
  }

  async act(key: string, verb: Verb): Promise<void> {
    const name = key === ALL ? 'all' : plain(this.find(key)?.name ?? key, 80);
    await this.send(() => this.http.act(key, verb), `${DOING[verb]} ${name}`);
  }

  watchLog(key: string, heard: (lines: readonly string[]) => void): () => void {
    return this.http.watchLog(key, heard);
  }

  async deploy(request: DeployRequest): Promise<void> {
    // This machine costs nothing; a cap would make a deployment of what is the shared server's.
    const isHere = request.provider === undefined || request.provider === 'local';
    const capped = this.maxUsd === null || isHere ? request : { ...request, max_usd: this.maxUsd };
    const names = request.models.map((model) => plain(model, 80)).join(', ');
    await this.send(() => this.http.deploy(capped), `Deploying ${names}`);
  }

  /** Rents what an offering says for a model, after a question where it costs. */
  async deployOffering(offering: Offering, model: string): Promise<void> {
    if (offering.provider === 'local') {
      await this.deploy({ models: [model] });
      return;
    }
    const gpu = offering.accelerator;
    const provider = plain(offering.provider, 80);
    const cap =
      this.maxUsd === null
        ? 'It may spend what CONDUIT_MAX_USD_PER_DEPLOYMENT allows.'
        : `It may spend ${usd(this.maxUsd)} at most.`;
    const body =
      `This rents the cheapest ${plain(gpu ?? 'machine', 80)} of ${provider}` +
      ` that ${plain(model, 120)} fits, for about ${usd(offering.usd_per_hour)} an hour. ${cap}`;
    if (await this.ask({ title: `Deploy on ${provider}?`, body, accept: 'Deploy' }, '')) {
      const where = { models: [model], provider: offering.provider };
      await this.deploy(gpu === null ? where : { ...where, gpu });
    }
  }

  offerings(): Promise<Offerings> {
    return this.http.offerings();
  }

  async copyCell(key: string): Promise<void> {
    const deployment = this.find(key);
    if (deployment) {
      await this.copyText(cellFor(deployment));
    }
  }

  async copyOffering(offering: Offering, model?: string): Promise<void> {
    await this.copyText(cellForOffering(offering, model));
  }

  async insertCell(text: string): Promise<void> {
    if (!(await this.lab.insertCell(text))) {
      await this.copyText(text, 'No notebook is in front: the cell is copied instead.');
    }
  }

  async insertCellFor(key: string): Promise<void> {
    const deployment = this.find(key);
    if (deployment) {
      await this.insertCell(cellFor(deployment));
    }
  }

  private find(key: string): Deployment | undefined {
    return this.store.state.deployments.find((deployment) => deployment.key === key);
  }

  private async copyText(text: string, said = 'The cell is copied.'): Promise<void> {
    try {
      await this.lab.copy(text);
      this.lab.tell(said, 'info');
    } catch {
      this.lab.tell('The browser does not allow copying here.', 'error');
    }
  }

  private async send(call: () => Promise<Action>, saying: string): Promise<void> {
    try {
      const action = await call();
      this.mine.add(action.id);
      this.lab.tell(`${saying} …`, 'info');
    } catch (error) {
      this.lab.tell(wordsOf(error), 'error');
    }
    await this.poller.refreshAfterChange();
  }

  /** Tells once how each action that was begun here has ended. */
  private report(actions: readonly Action[]): void {
    for (const action of actions) {
      if (action.state === 'running' || this.told.has(action.id) || !this.mine.has(action.id)) {
        continue;
      }
      this.told.add(action.id);
      const what = `${action.word} ${plain(action.target, 80)}`;
      if (action.error) {
        this.lab.tell(`${what}: ${textOf(action.error)}`, 'error');
      } else {
        this.lab.tell(`${what}: done.`, 'success');
      }
    }
  }
}
