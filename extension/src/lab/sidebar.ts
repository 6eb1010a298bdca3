/** The sidebar: what runs with what can be done to it, and what compute costs. */

import { DeploymentList, actionsView, notesView, summaryView } from '../shared/deployments.js';
import { button, element, meantBy, show } from '../shared/dom.js';
import type { Child } from '../shared/dom.js';
import { terminateAllButton } from '../shared/verbs.js';
import type { Controller } from './controller.js';
import { cellFor } from './cells.js';
import { Prices } from './prices.js';
import { StartForm } from './start.js';

export class Sidebar {
  private readonly above = element('div');
  private readonly below = element('div');
  private readonly list: DeploymentList;
  private readonly start = new StartForm(() => void this.startHere());
  private readonly prices: Prices;
  private readonly end: () => void;

  constructor(
    readonly root: HTMLElement,
    private readonly controller: Controller,
  ) {
    this.list = new DeploymentList(controller.store, controller, controller.ask, {
      tools: toolsOf,
    });
    this.prices = new Prices(controller, this.start);
    root.classList.add('jp-Conduit-sidebar');
    root.append(
      element(
        'header',
        { class: 'jp-Conduit-header' },
        element('h2', {}, 'Conduit'),
        button('Refresh', 'refresh'),
        terminateAllButton(),
      ),
      element('section', { 'aria-label': 'What runs' }, this.above, this.list.root, this.below),
      element('h3', {}, 'Start a model'),
      this.start.root,
      element('h3', {}, 'Prices'),
      this.prices.root,
    );
    root.addEventListener('click', (event) => {
      const meant = meantBy(event);
      if (meant) {
        void this.carryOut(meant.action, meant.key);
      }
    });
    this.end = controller.store.subscribe(() => this.update());
    this.update();
  }

  update(): void {
    const { store } = this.controller;
    show(this.above, summaryView(store.state, store.now()), ...notesView(store.state));
    this.list.update();
    show(this.below, actionsView(store.state.actions));
  }

  /** The cell that is dragged with an item of the list; null for anything else. */
  draggedCell(target: EventTarget | null): string | null {
    const item = target instanceof Element ? target.closest('.conduit-item[data-key]') : null;
    const key = item?.getAttribute('data-key');
    const { deployments } = this.controller.store.state;
    const deployment = deployments.find((one) => one.key === key);
    return deployment ? cellFor(deployment) : null;
  }

  dispose(): void {
    this.list.close();
    this.end();
  }

  /** Does what is neither the list's nor the prices' own. */
  private async carryOut(action: string, key: string): Promise<void> {
    if (action === 'refresh') {
      await this.controller.refresh();
    } else if (action === 'terminate-all') {
      await this.controller.terminateAll();
    } else if (action === 'insert-cell') {
      await this.controller.insertCellFor(key);
    } else if (action === 'copy-cell') {
      await this.controller.copyCell(key);
    } else if (action === 'start-here') {
      await this.startHere();
    }
  }

  private async startHere(): Promise<void> {
    const model = this.start.wanted();
    if (model !== null) {
      await this.controller.deploy({ models: [model] });
    }
  }
}

function toolsOf(name: string): Child[] {
  return [
    button('Insert cell', 'insert-cell', `Insert a cell that uses ${name}`),
    button('Copy cell', 'copy-cell', `Copy a cell that uses ${name}`),
  ];
}
