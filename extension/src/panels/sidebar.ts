/** The sidebar: what runs with what can be done to it, and what compute costs. */

import { ApiError } from '../api.js';
import type { Offering, Word } from '../api.js';
import type { Controller } from '../controller.js';
import { button, element, meantBy, show } from '../dom.js';
import { cellFor } from '../cells.js';
import { WORDS, deploymentsView } from './deployments.js';
import { offeringsView } from './offerings.js';
import type { OfferingsState } from './offerings.js';
import { StartForm } from './start.js';

/** Logs that are open are read again with every so many states. */
const LOGS_EVERY_MS = 5_000;

export class Sidebar {
  private readonly deployments = element('section', { 'aria-label': 'What runs' });
  private readonly market = element('section', { 'aria-label': 'Prices' });
  private readonly start = new StartForm(() => void this.startHere());
  private readonly logs = new Map<string, readonly string[]>();
  private offered: OfferingsState = 'unasked';
  private logsReadAt = 0;
  private readonly end: () => void;

  constructor(
    readonly root: HTMLElement,
    private readonly controller: Controller,
  ) {
    root.classList.add('jp-Conduit-sidebar');
    root.append(
      element(
        'header',
        { class: 'jp-Conduit-header' },
        element('h2', {}, 'Conduit'),
        button('Refresh', 'refresh'),
        button('Stop all', 'stop-all', 'Stop all: end all that costs'),
      ),
      this.deployments,
      element('h3', {}, 'Start a model'),
      this.start.root,
      element('h3', {}, 'Prices'),
      this.market,
    );
    root.addEventListener('click', (event) => {
      const meant = meantBy(event);
      if (meant) {
        void this.carryOut(meant.action, meant.key);
      }
    });
    this.end = controller.store.subscribe(() => {
      this.update();
    });
    this.update();
  }

  update(): void {
    const { store } = this.controller;
    const keys = new Set(store.state.deployments.map((deployment) => deployment.key));
    for (const key of this.logs.keys()) {
      if (!keys.has(key)) {
        this.logs.delete(key);
      }
    }
    show(this.deployments, ...deploymentsView(store.state, store.now(), this.logs));
    show(this.market, ...offeringsView(this.offered));
    if (this.logs.size > 0 && store.now() - this.logsReadAt >= LOGS_EVERY_MS) {
      this.logsReadAt = store.now();
      void this.readLogs([...this.logs.keys()]);
    }
  }

  /** The cell that is dragged with an item of the list; null for anything else. */
  draggedCell(target: EventTarget | null): string | null {
    const item = target instanceof Element ? target.closest('.jp-Conduit-item[data-key]') : null;
    const key = item?.getAttribute('data-key');
    const { deployments } = this.controller.store.state;
    const deployment = deployments.find((one) => one.key === key);
    return deployment ? cellFor(deployment) : null;
  }

  dispose(): void {
    this.end();
  }

  private async carryOut(action: string, key: string): Promise<void> {
    const word = WORDS.find((one): one is Word => one === action);
    if (word) {
      await this.controller.act(key, word);
    } else if (action === 'refresh') {
      await this.controller.store.refresh();
    } else if (action === 'stop-all') {
      await this.controller.stopAll();
    } else if (action === 'logs') {
      await this.toggleLogs(key);
    } else if (action === 'insert-cell') {
      await this.controller.insertCellFor(key);
    } else if (action === 'copy-cell') {
      await this.controller.copyCell(key);
    } else if (action === 'offerings') {
      await this.askOfferings();
    } else if (action === 'start-here') {
      await this.startHere();
    } else if (action === 'copy-offering') {
      await this.copyOffering(key);
    } else if (action === 'deploy-offering') {
      await this.deployOffering(key);
    }
  }

  private async toggleLogs(key: string): Promise<void> {
    if (this.logs.delete(key)) {
      this.update();
      return;
    }
    this.logs.set(key, ['Reading …']);
    this.logsReadAt = this.controller.store.now();
    this.update();
    await this.readLogs([key]);
  }

  private async readLogs(keys: readonly string[]): Promise<void> {
    for (const key of keys) {
      const lines = await this.controller.logs(key);
      if (this.logs.has(key)) {
        this.logs.set(key, lines);
      }
    }
    this.update();
  }

  private async askOfferings(): Promise<void> {
    this.offered = 'asking';
    this.update();
    try {
      this.offered = await this.controller.offerings();
    } catch (error) {
      this.offered = error instanceof ApiError ? error : new ApiError(0, String(error));
    }
    this.update();
  }

  private async startHere(): Promise<void> {
    const model = this.start.wanted();
    if (model !== null) {
      await this.controller.deploy({ models: [model] });
    }
  }

  private async copyOffering(key: string): Promise<void> {
    const offering = this.offeringOf(key);
    if (offering) {
      await this.controller.copyOffering(offering, this.start.typed);
    }
  }

  private async deployOffering(key: string): Promise<void> {
    const offering = this.offeringOf(key);
    const model = this.start.wanted();
    if (offering && model !== null) {
      await this.controller.deployOffering(offering, model);
    }
  }

  private offeringOf(key: string): Offering | undefined {
    if (this.offered instanceof ApiError || typeof this.offered === 'string') {
      return undefined;
    }
    return this.offered.offerings[Number(key.replace('offering:', ''))];
  }
}
