/** What people do: asks where it cannot be undone, calls the server, tells how it went. */

import { ApiError } from './api.js';
import type { Action, Api, DeployRequest, Deployment, Offering, Offerings, Word } from './api.js';
import { cellFor, cellForOffering } from './cells.js';
import type { Store } from './store.js';
import { plain, usd } from './words.js';

/** What JupyterLab does for us. */
export interface Lab {
  confirm(title: string, body: string, accept: string): Promise<boolean>;
  tell(message: string, kind: 'info' | 'success' | 'error'): void;
  /** Puts a cell into the notebook in front; false where there is none. */
  insertCell(text: string): Promise<boolean>;
  copy(text: string): Promise<void>;
}

const DONE: Readonly<Record<Word, string>> = {
  start: 'Starting',
  stop: 'Stopping',
  restart: 'Restarting',
  terminate: 'Terminating',
  extend: 'Extending the lease of',
};

export class Controller {
  private readonly told = new Set<string>();
  private readonly mine = new Set<string>();

  /** US dollars that a deployment started from here may spend; null is the server's own cap. */
  maxUsd: number | null = null;

  constructor(
    private readonly api: Pick<Api, 'act' | 'deploy' | 'logs' | 'offerings' | 'stopAll'>,
    readonly store: Store,
    private readonly lab: Lab,
  ) {
    store.subscribe((state) => {
      this.report(state.actions);
    });
  }

  async stopAll(): Promise<void> {
    const { deployments, usdPerHour } = this.store.state;
    if (deployments.length === 0) {
      this.lab.tell('Nothing runs.', 'info');
      return;
    }
    const names = deployments.map((deployment) => plain(deployment.name, 80)).join(', ');
    const body = `This ends ${names}, for good. It costs ${usd(usdPerHour)} an hour now.`;
    if (await this.lab.confirm('Stop all?', body, 'Stop all')) {
      await this.send(() => this.api.stopAll(), 'Stopping all');
    }
  }

  async act(key: string, word: Word): Promise<void> {
    const deployment = this.find(key);
    if (!deployment) {
      return;
    }
    const name = plain(deployment.name, 80);
    if (word === 'terminate' || word === 'stop') {
      const body =
        word === 'terminate'
          ? `${name} ends for good, with what is on its disks.`
          : `${name} answers no more until it is started again.`;
      const title = word === 'terminate' ? `Terminate ${name}?` : `Stop ${name}?`;
      if (!(await this.lab.confirm(title, body, word === 'terminate' ? 'Terminate' : 'Stop'))) {
        return;
      }
    }
    const body = word === 'extend' ? { hours: 1 } : {};
    await this.send(() => this.api.act(key, word, body), `${DONE[word]} ${name}`);
  }

  async deploy(request: DeployRequest): Promise<void> {
    // This machine costs nothing; a cap would make a deployment of what is the sidecar's.
    const isHere = request.provider === undefined || request.provider === 'local';
    const capped = this.maxUsd === null || isHere ? request : { ...request, max_usd: this.maxUsd };
    const names = request.models.map((model) => plain(model, 80)).join(', ');
    await this.send(() => this.api.deploy(capped), `Deploying ${names}`);
  }

  /** Rents what an offering says for a model, after a question where it costs. */
  async deployOffering(offering: Offering, model: string): Promise<void> {
    if (offering.provider === 'local') {
      await this.deploy({ models: [model] });
      return;
    }
    const gpu = offering.accelerator;
    const cap =
      this.maxUsd === null
        ? 'It may spend what CONDUIT_MAX_USD_PER_DEPLOYMENT allows.'
        : `It may spend ${usd(this.maxUsd)} at most.`;
    const body =
      `This rents the cheapest ${plain(gpu ?? 'machine', 80)} of ${plain(offering.provider, 80)}` +
      ` that ${plain(model, 120)} fits, for about ${usd(offering.usd_per_hour)} an hour. ${cap}`;
    const title = `Deploy on ${plain(offering.provider, 80)}?`;
    if (await this.lab.confirm(title, body, 'Deploy')) {
      const where = { models: [model], provider: offering.provider };
      await this.deploy(gpu === null ? where : { ...where, gpu });
    }
  }

  /** The last lines of a log, or the words of what went wrong. */
  async logs(key: string): Promise<readonly string[]> {
    try {
      return await this.api.logs(key);
    } catch (error) {
      return [wordsOf(error)];
    }
  }

  offerings(): Promise<Offerings> {
    return this.api.offerings();
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
    await this.store.refreshAfterChange();
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
        const hint = action.error.hint ? ` ${plain(action.error.hint)}` : '';
        this.lab.tell(`${what}: ${plain(action.error.message)}${hint}`, 'error');
      } else {
        this.lab.tell(`${what}: done.`, 'success');
      }
    }
  }
}

function wordsOf(error: unknown): string {
  if (error instanceof ApiError) {
    return plain(error.hint ? `${error.message} ${error.hint}` : error.message);
  }
  return plain(error instanceof Error ? error.message : String(error));
}
