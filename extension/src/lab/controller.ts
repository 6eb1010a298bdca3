/** What people do: asks where it cannot be undone, calls the server, tells how it went. */

import { ALL } from '../shared/client.js';
import type { Client, Verb } from '../shared/client.js';
import type { Ask } from '../shared/confirm.js';
import { OptionForm } from '../shared/option_form.js';
import type { Filled } from '../shared/option_form.js';
import { textOf } from '../shared/problem.js';
import type { Store } from '../shared/store.js';
import { plain } from '../shared/text.js';
import { carryOut } from '../shared/verbs.js';
import type { Action, Deployment, Problem } from '../shared/wire.js';
import { usd } from '../shared/words.js';
import { ApiError, wordsOf } from './api.js';
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

/** What a row of the prices says already, and the form does not ask for. */
const OF_THE_ROW: readonly string[] = ['provider', 'providers', 'gpu', 'gpu_count'];

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
  private readonly form = new OptionForm();
  /** The last action that was begun with the form, and what that had. */
  private sent: { readonly id: string; readonly given: Filled } | null = null;

  /** US dollars that a deployment started from here may spend; null is the server's own cap. */
  maxUsd: number | null = null;

  constructor(
    private readonly http: Pick<
      HttpClient,
      'act' | 'deploy' | 'offerings' | 'options' | 'watchLog'
    >,
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
    await this.send(() => this.http.deploy(this.capped(request)), sayingOf(request));
  }

  /** Rents what an offering says for a model, after a question, with a form, where it costs. */
  async deployOffering(offering: Offering, model: string): Promise<void> {
    if (offering.provider === 'local') {
      await this.deploy({ models: [model] });
      return;
    }
    if (!(await this.offerOptions())) {
      return;
    }
    const gpu = offering.accelerator;
    const provider = plain(offering.provider, 80);
    const cap =
      this.maxUsd === null
        ? 'Unless you set max USD, it may spend what CONDUIT_MAX_USD_PER_DEPLOYMENT allows.'
        : `Unless you set max USD, it may spend ${usd(this.maxUsd)} at most.`;
    const body =
      `This rents the cheapest ${plain(gpu ?? 'machine', 80)} of ${provider}` +
      ` that ${plain(model, 120)} fits, for about ${usd(offering.usd_per_hour)} an hour. ${cap}`;
    const { form } = this;
    const question = { title: `Deploy on ${provider}?`, body, accept: 'Deploy', form };
    const where = { models: [model], provider: offering.provider, ...(gpu !== null && { gpu }) };
    while (await this.ask(question, '')) {
      const { given } = form;
      if (given && (await this.deployFilledIn(given, where))) {
        return;
      }
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

  /** Asks the server what the form is to ask for; false where it does not say. */
  private async offerOptions(): Promise<boolean> {
    try {
      const options = await this.http.options();
      this.form.offer(options.filter((one) => !OF_THE_ROW.includes(one.name)));
      return true;
    } catch (error) {
      this.lab.tell(wordsOf(error), 'error');
      return false;
    }
  }

  /** Deploys what the form has; false where it has to be corrected first. */
  private async deployFilledIn(given: Filled, where: DeployRequest): Promise<boolean> {
    const request = { ...given, ...where };
    try {
      const call = (): Promise<Action> => this.http.deploy(this.capped(request));
      this.sent = { id: await this.begin(call, sayingOf(request)), given };
      this.form.fill();
    } catch (error) {
      if (error instanceof ApiError && this.form.blame(error)) {
        return false;
      }
      this.lab.tell(wordsOf(error), 'error');
    }
    await this.poller.refreshAfterChange();
    return true;
  }

  private capped(request: DeployRequest): DeployRequest {
    // This machine costs nothing; a cap would make a deployment of what is the shared server's.
    const isHere = request.provider === undefined || request.provider === 'local';
    if (this.maxUsd === null || isHere || request.max_usd !== undefined) {
      return request;
    }
    return { ...request, max_usd: this.maxUsd };
  }

  private async send(call: () => Promise<Action>, saying: string): Promise<void> {
    try {
      await this.begin(call, saying);
    } catch (error) {
      this.lab.tell(wordsOf(error), 'error');
    }
    await this.poller.refreshAfterChange();
  }

  /** Begins an action, says so, and returns its id. */
  private async begin(call: () => Promise<Action>, saying: string): Promise<string> {
    const action = await call();
    this.mine.add(action.id);
    this.lab.tell(`${saying} …`, 'info');
    return action.id;
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
        this.giveBack(action.id, action.error);
        this.lab.tell(`${what}: ${textOf(action.error)}`, 'error');
      } else {
        this.lab.tell(`${what}: done.`, 'success');
      }
    }
  }

  /** Lets the form have again what was sent with it, where that has failed. */
  private giveBack(id: string, problem: Problem): void {
    if (this.sent?.id === id) {
      this.form.fill(this.sent.given);
      this.form.blame(problem);
      this.sent = null;
    }
  }
}

function sayingOf(request: DeployRequest): string {
  return `Deploying ${request.models.map((model) => plain(model, 80)).join(', ')}`;
}
